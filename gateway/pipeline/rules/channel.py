"""All rules of one current channel."""

from zoneinfo import ZoneInfo

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel
from gateway.pipeline.rules.condition import Edge, Moment, place
from gateway.pipeline.rules.current import CurrentRule, CurrentState, FactorRule, FactorState
from gateway.pipeline.rules.direction import DirectionRule, DirectionState
from gateway.pipeline.rules.pattern import PatternRule, PatternState
from gateway.pipeline.rules.sensor import FrozenRule, FrozenState
from gateway.pipeline.rules.supply import OutageRule, OutageState
from gateway.pipeline.rules.voltage import VoltageRule, VoltageState
from gateway.settings import DetectSettings


class ChannelState(Struct, array_like=True):
    """What the rules of one channel remember."""

    current: CurrentState = field(default_factory=CurrentState)
    factor: FactorState = field(default_factory=FactorState)
    direction: DirectionState = field(default_factory=DirectionState)
    frozen: FrozenState = field(default_factory=FrozenState)
    pattern: PatternState = field(default_factory=PatternState)
    voltage: VoltageState | None = None  # only where the channel has a voltage of its own
    outage: OutageState | None = None  # as above

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data."""
        self.current.gap(hole_ms)
        self.factor.latch.gap(hole_ms)
        self.direction.latch.gap(hole_ms)
        self.frozen.ms = self.frozen.readings = 0
        if self.voltage is not None:
            self.voltage.gap(hole_ms)
        if self.outage is not None:
            self.outage.latch.gap(hole_ms)

    def edge(self, kind: AlertKind) -> Edge | None:
        """Return what was last told of a kind of alert of this channel."""
        edges = {
            AlertKind.OVER_CURRENT: self.current.edge,
            AlertKind.LOW_POWER_FACTOR: self.factor.edge,
            AlertKind.REVERSE_CT: self.direction.edge,
            AlertKind.SENSOR_FAULT: self.frozen.edge,
            AlertKind.ANOMALY: self.pattern.edge,
        }
        if self.voltage is not None:
            edges[AlertKind.OVER_VOLTAGE] = self.voltage.over
            edges[AlertKind.UNDER_VOLTAGE] = self.voltage.under
        if self.outage is not None:
            edges[AlertKind.OUTAGE] = self.outage.edge
        return edges.get(kind)


class ChannelRules:
    """Judges one channel of each reading."""

    def __init__(
        self, meter: str, info: ChannelInfo, settings: DetectSettings, zone: ZoneInfo
    ) -> None:
        nominal_v = settings.nominal_voltage
        self.info = info
        self.current = CurrentRule(meter, info)
        self.factor = FactorRule(meter, info)
        self.direction = DirectionRule(meter, info, nominal_v, zone)
        self.frozen = FrozenRule(meter, info)
        self.pattern = PatternRule(meter, info)
        self.voltage = VoltageRule(meter, info.name, place(info), nominal_v)
        self.outage = OutageRule(meter, nominal_v, info.name)
        self.failure: Exception | None = None  # of the model, which is off since
        self.state = ChannelState()
        self.use(self.state)

    def use(self, state: ChannelState) -> None:
        """Go on from this state."""
        self.state = state
        self.current.state = state.current
        self.factor.state = state.factor
        self.direction.state = state.direction
        self.frozen.state = state.frozen
        self.pattern.use(state.pattern)
        if state.voltage is not None:
            self.voltage.use(state.voltage)
        if state.outage is not None:
            self.outage.state = state.outage

    def step(
        self, channel: Channel, generated_w: float | None, moment: Moment, found: list[Finding]
    ) -> None:
        """Judge one reading; add what is news to `found`."""
        voltage_v = channel.v
        if voltage_v is None:
            voltage_v = moment.reading.v
        else:
            self._judge_voltage(voltage_v, moment, found)
        current_a = channel.i
        if current_a is not None:
            news = self.current.step(current_a, moment)
            if news is not None:
                found.append(news)
            if voltage_v is not None:
                news = self.factor.step(channel, voltage_v, moment)
                if news is not None:
                    found.append(news)
        news = self.frozen.step(channel, voltage_v, moment)
        if news is not None:
            found.append(news)
        if channel.p is not None:
            news = self.direction.step(channel.p, generated_w, moment)
            if news is not None:
                found.append(news)
        self._judge_pattern(channel, voltage_v, moment, found)

    def _judge_pattern(
        self, channel: Channel, voltage_v: float | None, moment: Moment, found: list[Finding]
    ) -> None:
        """Have the model judge; one that fails is off until the next fit, and no rule with it."""
        try:
            news = self.pattern.step(channel, voltage_v, moment)
        except Exception as error:  # noqa: BLE001 - a model is data, and any of it may be wrong
            self.pattern.model = None  # without saving what it made of its memory
            self.failure = error
        else:
            found.extend(news)

    def _judge_voltage(self, voltage_v: float, moment: Moment, found: list[Finding]) -> None:
        """Judge the channel's own voltage input."""
        if self.state.voltage is None:
            self.state.voltage = VoltageState()
            self.voltage.use(self.state.voltage)
        if self.state.outage is None:
            self.state.outage = OutageState()
            self.outage.state = self.state.outage
        self.voltage.step(voltage_v, moment, found)
        news = self.outage.step_phase(voltage_v, moment)
        if news is not None:
            found.append(news)
