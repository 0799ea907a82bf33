"""Judges one meter's readings: every rule and model, in commit order, by the data's own time."""

from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from gateway.domain.alerts import Alert, AlertKey, AlertKind, Finding
from gateway.domain.meters import ChannelInfo, MeterInfo, Role, usual_role
from gateway.domain.readings import Channel, Mark, Stored
from gateway.pipeline.late import LateJudge, LateState
from gateway.pipeline.rules.channel import ChannelRules, ChannelState
from gateway.pipeline.rules.condition import MINUTE_MS, Edge, Moment
from gateway.pipeline.rules.consumption import ConsumptionRule, ConsumptionState
from gateway.pipeline.rules.sensor import SensorRule, SensorState
from gateway.pipeline.rules.supply import (
    FrequencyRule,
    FrequencyState,
    OutageRule,
    OutageState,
)
from gateway.pipeline.rules.voltage import VoltageRule, VoltageState
from gateway.settings import DetectSettings
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Model
from tinymodels.detect.pace import Pace

STATE_VERSION = 2
# Data older than this at receipt is judged for the history and is no news (contract, rule J).
HISTORIC_MS = 15 * MINUTE_MS


class JudgeState(Struct, array_like=True):
    """Everything a judge remembers between readings."""

    version: int = STATE_VERSION
    last_ms: int | None = None
    voltage: VoltageState = field(default_factory=VoltageState)
    outage: OutageState = field(default_factory=OutageState)
    frequency: FrequencyState = field(default_factory=FrequencyState)
    sensor: SensorState = field(default_factory=SensorState)
    consumption: ConsumptionState = field(default_factory=ConsumptionState)
    late: LateState = field(default_factory=LateState)
    channels: dict[str, ChannelState] = field(default_factory=dict)


class MeterJudge:
    """All detectors of one meter; deterministic in the readings.

    Findings are edges: raised, worse, renewed at most every five minutes, cleared. The whole
    state round-trips through `dump` and `load`; models are set apart, by `set_model`.
    """

    def __init__(self, meter: MeterInfo, settings: DetectSettings, zone: ZoneInfo) -> None:
        self.meter = meter
        self.settings = settings
        self.zone = zone
        self.models: dict[str, Model] = {}
        self._state = JudgeState()
        self._moment = Moment()
        self._channels: dict[str, ChannelRules] = {}
        self._failed: list[tuple[str, Exception]] = []
        self._build()

    def judge(self, reading: Stored) -> list[Finding]:
        """Return what this reading changes, oldest first.

        Behind the meter's judged time, or marked late, only the stateless rules look at it.
        """
        state, at_ms, span_ms = self._state, reading.at_ms, reading.dt_ms
        last_ms = state.last_ms
        if last_ms is not None:
            since_ms = at_ms - last_ms
            if since_ms < 0 or reading.marks & Mark.LATE:
                return self._late.judge(reading)
            if since_ms < span_ms:
                span_ms = since_ms
            elif since_ms > 2 * span_ms:
                self._gap(since_ms - span_ms)
        state.last_ms = at_ms
        moment = self._moment
        moment.reading, moment.at_ms, moment.span_ms = reading, at_ms, span_ms
        found: list[Finding] = []
        self._judge_supply(moment, found)
        self._judge_channels(moment, found)
        return found

    def take_failures(self) -> list[tuple[str, Exception]]:
        """Return the channels whose model failed in the last reading, and of what; once."""
        if not self._failed:
            return []
        failed, self._failed = self._failed, []
        return failed

    def historic(self, reading: Stored) -> bool:
        """Return whether an alert from this reading is for the history only."""
        return self.meter.recorded or reading.received_ms - reading.at_ms > HISTORIC_MS

    def update_meter(self, meter: MeterInfo) -> None:
        """Take over changed roles and ratings; what was seen so far is kept."""
        metered = self._metered
        self.meter = meter
        self._build()
        self._recount(metered)

    def dump(self) -> bytes:
        """Return the whole state, without models."""
        for rules in self._channels.values():
            rules.pattern.save()
        return msgspec.msgpack.encode(self._state)

    def load(self, state: bytes) -> None:
        """Go on from a dumped state; one of another version is dropped and judging starts fresh.

        After a fresh start, `adopt` the meter's open alerts so that they can clear.
        """
        try:
            loaded = msgspec.msgpack.decode(state, type=JudgeState)
        except msgspec.MsgspecError:
            loaded = JudgeState()
        self._state = loaded if loaded.version == STATE_VERSION else JudgeState()
        self._build()

    def adopt(self, alerts: list[Alert]) -> list[AlertKey]:
        """Take over open alerts this state knows nothing of; they clear once all is well.

        Return the keys that no rule of this judge answers for.
        """
        unknown = []
        for alert in alerts:
            edge = self._edge(alert.key)
            if edge is None:
                unknown.append(alert.key)
            elif not edge.severity:
                edge.severity, edge.since_ms = 1, alert.opened_ms
                edge.told_ms = alert.updated_ms
        return unknown

    def set_model(self, channel: str, model: Model, memory: bytes | None = None) -> None:
        """Have this model judge the channel from now on, `memory` being its state (None: as is).

        The voltage rule judges every reading already: a combined model leaves that to it.
        """
        if isinstance(model, CombinedModel):
            model = model.without_rule()
        self.models[channel] = model
        if channel in self._channels and self.settings.gaussian:
            self._channels[channel].pattern.set_model(model, memory)

    def memory(self, channel: str) -> bytes:
        """Return what a channel's model remembers; b"" where there is none."""
        if channel not in self._channels:
            return b""
        pattern = self._channels[channel].pattern
        pattern.save()
        return pattern.state.memory

    def is_unusual(self, channel: str) -> bool:
        """Tell whether a channel's model is alarmed."""
        return channel in self._channels and self._channels[channel].pattern.state.on

    def pace(self, channel: str) -> Pace:
        """Return how loud what a channel's model says must be by now."""
        known = channel in self._channels
        return self._channels[channel].pattern.state.pace if known else Pace()

    def heed(self, channel: str, opened_ms: int, *, right: bool) -> bool:
        """Take in what somebody said of an anomaly; return whether that changes anything."""
        rules = self._channels.get(channel)
        return rules is not None and rules.pattern.heed(opened_ms, right=right)

    def wants_fit(self) -> list[str]:
        """Return the channels whose model should be fitted now, each asked once a day of data."""
        if not self.settings.gaussian:
            return []
        return [name for name, rules in self._channels.items() if rules.pattern.wants_fit()]

    def open_minute(self, channel: str) -> int:
        """Return when the channel's minute began that is not over yet (UTC ms)."""
        return self._channels[channel].pattern.state.sum.start_ms

    def watches_voltage(self, channel: str) -> bool:
        """Return whether this channel's model should include voltage: one per meter does."""
        names = sorted(self._channels)
        grid = [name for name in names if self._channels[name].info.role is Role.GRID]
        return channel == (grid or names or [channel])[0]

    def _judge_supply(self, moment: Moment, found: list[Finding]) -> None:
        """Judge what is common to all channels."""
        reading = moment.reading
        news = self._outage.step(moment)
        if news is not None:
            found.append(news)
        if reading.v is not None:
            self._voltage.step(reading.v, moment, found)
        if reading.f is not None:
            news = self._frequency.step(reading.f, moment)
            if news is not None:
                found.append(news)
        if reading.marks or reading.flags or reading.aux or not self._sensor.quiet:
            news = self._sensor.step(moment)
            if news is not None:
                found.append(news)

    def _judge_channels(self, moment: Moment, found: list[Finding]) -> None:
        """Judge each channel, then consumption."""
        reading = moment.reading
        channels = self._channels
        generated_w = self._generated(reading) if self._solar else None
        for name, channel in reading.ch.items():
            rules = channels.get(name)
            if rules is None:
                metered = self._metered
                rules = self._add_channel(name)
                self._recount(metered)
            rules.step(channel, generated_w, moment, found)
            if rules.failure is not None:
                self._failed.append((name, rules.failure))
                self.models.pop(name, None)
                rules.failure = None
        if self._consumption is not None:
            total = _total(reading.ch, self._metered)
            news = None if total is None else self._consumption.step(total, moment)
            if news is not None:
                found.append(news)

    def _generated(self, reading: Stored) -> float | None:
        """Return the sum over the solar channels in W, None where one is not measured."""
        total_w = 0.0
        for name in self._solar:
            channel = reading.ch.get(name)
            if channel is None or channel.p is None:
                return None
            total_w += channel.p
        return total_w

    def _gap(self, hole_ms: int) -> None:
        """Tell every rule that something is missing before this reading."""
        state = self._state
        state.voltage.gap(hole_ms)
        state.outage.latch.gap(hole_ms)
        state.frequency.gap(hole_ms)
        state.sensor.gap(hole_ms)
        for channel in state.channels.values():
            channel.gap(hole_ms)

    def _build(self) -> None:
        """Make the rules for the meter as registered, on the state as it is."""
        meter, settings, state = self.meter.id, self.settings, self._state
        self._outage = OutageRule(meter, settings.nominal_voltage)
        self._outage.state = state.outage
        self._voltage = VoltageRule(meter, "", "the grid connection", settings.nominal_voltage)
        self._voltage.use(state.voltage)
        self._frequency = FrequencyRule(meter, settings.nominal_frequency)
        self._frequency.state = state.frequency
        self._sensor = SensorRule(meter)
        self._sensor.state = state.sensor
        self._late = LateJudge(self.meter, settings, state.late, self._edge)
        for rules in self._channels.values():
            rules.pattern.save()
        self._channels = {}
        self._solar: list[str] = []
        self._metered: list[str] = []
        self._consumption: ConsumptionRule | None = None
        for name in dict.fromkeys((*self.meter.channels, *state.channels)):
            self._add_channel(name)

    def _add_channel(self, name: str) -> ChannelRules:
        """Begin to judge a channel; unregistered, its name suggests its role."""
        info = self.meter.channels.get(name) or ChannelInfo(name, usual_role(name))
        state = self._state.channels.setdefault(name, ChannelState())
        rules = ChannelRules(self.meter.id, info, self.settings, self.zone)
        rules.use(state)
        if self.settings.gaussian:
            rules.pattern.set_model(self.models.get(name))
        self._channels[name] = rules
        self._solar = self._named(Role.SOLAR)
        self._choose_metered()
        return rules

    def _choose_metered(self) -> None:
        """Decide whose energy the household's limits are compared with."""
        if not ConsumptionRule.wanted(self.settings):
            return
        self._metered = self._named(Role.GRID) or self._named(Role.LOAD)
        if not self._metered:
            return
        only = self._metered[0] if len(self._metered) == 1 else ""
        info = ChannelInfo(only, Role.GRID)
        self._consumption = ConsumptionRule(self.meter.id, info, self.settings, self.zone)
        self._consumption.state = self._state.consumption

    def _recount(self, metered: list[str]) -> None:
        """Start from new registers where other channels than before are counted."""
        if self._metered != metered:
            self._state.consumption.register_wh = None

    def _named(self, role: Role) -> list[str]:
        """Return the channels of a role."""
        return [name for name, rules in self._channels.items() if rules.info.role is role]

    def _edge(self, key: AlertKey) -> Edge | None:
        """Return what was last told of an alert key, None where no rule answers for it."""
        state = self._state
        _, name, kind = key
        if kind is AlertKind.OVER_CONSUMPTION:
            return state.consumption.edge
        if not name:
            return {
                AlertKind.OUTAGE: state.outage.edge,
                AlertKind.OVER_VOLTAGE: state.voltage.over,
                AlertKind.UNDER_VOLTAGE: state.voltage.under,
                AlertKind.FREQUENCY: state.frequency.edge,
                AlertKind.SENSOR_FAULT: state.sensor.edge,
            }.get(kind)
        channel = state.channels.get(name)
        return None if channel is None else channel.edge(kind)


def _total(channels: dict[str, Channel], names: list[str]) -> Channel | None:
    """Return the sum of some channels as one; a field is None where one of them lacks it."""
    if len(names) == 1:
        return channels.get(names[0])
    parts = [channels[name] for name in names if name in channels]
    if len(parts) < len(names):
        return None
    powers = [part.p for part in parts if part.p is not None]
    registers = [part.wh_in for part in parts if part.wh_in is not None]
    return Channel(
        i=None,
        p=sum(powers) if len(powers) == len(parts) else None,
        wh_in=sum(registers) if len(registers) == len(parts) else None,
        wh_out=None,
    )
