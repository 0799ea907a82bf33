"""Sensors that cannot be telling the truth: clipped, frozen, or against physics."""

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel, Mark, Stored
from gateway.pipeline.rules.condition import (
    BAD,
    CLEAR,
    DAY_MS,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    WARNING,
    Edge,
    Hold,
    Latch,
    Moment,
    Rule,
    Words,
    lasting,
    place,
)

# A motor's start may clip for a second; a minute of clipping means wrong readings.
CLIP_HOLD = Hold(raise_ms=60 * SECOND_MS, clear_ms=10 * MINUTE_MS)
# Rounding breaks |P| ≤ V·I now and then (contract, rule I); for ten minutes it does not.
PHYSICS_HOLD = Hold(raise_ms=10 * MINUTE_MS, clear_ms=10 * MINUTE_MS)
# A probe whose wire is broken shows its scale's end. Oil flashes at about 140 °C (IEC 60296), no
# winding may pass 180 °C (IEC 60076-7), and nowhere that people live is it colder than this.
PROBE_HOLD = Hold(raise_ms=10 * MINUTE_MS, clear_ms=10 * MINUTE_MS)
COLDEST_C, HOTTEST_C = -60.0, 180.0
PROBE = "temp"  # in the name of a measurement of `aux` (contract, section 3: oil_temp)
# A real load follows the voltage: I and P identical to the last digit for an hour and sixty
# readings, while the voltage moved by 1 %, come from a stuck converter or firmware.
FROZEN_MS = HOUR_MS
FROZEN_READINGS = 60
MOVED = 0.01
# Nothing connected is no fault.
LEAST_A, LEAST_W = 0.5, 50.0
# Where only one of the two is measured, as in many tables, rounding alone repeats it: in a month
# of minutes of a real house for half an hour, in eight months of a factory's quarter hours for
# 75 minutes. A whole day of a large value does not repeat, unless its last digit is coarse.
ALONE_MS = DAY_MS
ALONE_READINGS = 24
ROUND_DIGITS = 2
ALONE_A, ALONE_W = 5.0, 500.0


class SensorState(Struct, array_like=True):
    """What the meter's sensor rule remembers."""

    clip: Latch = field(default_factory=Latch)
    physics: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)
    channel: str = ""
    power_w: float = 0.0
    apparent_va: float = 0.0
    probe: Latch = field(default_factory=Latch)
    probe_name: str = ""
    probe_c: float = 0.0

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data."""
        self.clip.gap(hole_ms)
        self.physics.gap(hole_ms)
        self.probe.gap(hole_ms)


class SensorRule(Rule):
    """Clipping flags, physics marks and impossible temperatures that persist.

    A reading does not say whose a flag or mark is. A temperature is what `aux` calls one.
    """

    def __init__(self, meter: str) -> None:
        super().__init__((meter, "", AlertKind.SENSOR_FAULT))
        self.state = SensorState()

    @property
    def quiet(self) -> bool:
        """Return whether a reading without flags and marks would change nothing."""
        state = self.state
        idle = state.clip.idle and state.physics.idle and state.probe.idle
        return idle and not state.edge.severity

    def step(self, moment: Moment) -> Finding | None:
        """Judge one reading."""
        state, reading = self.state, moment.reading
        physics = reading.marks & Mark.PHYSICS
        if physics:
            self._find_worst(reading)
        clip_verdict = BAD if "clip" in reading.flags else GOOD
        probe_verdict = self._judge_probes(reading)
        self.calm = clip_verdict == GOOD and not physics and probe_verdict == GOOD
        state.clip.step(clip_verdict, moment.span_ms, CLIP_HOLD)
        state.physics.step(BAD if physics else GOOD, moment.span_ms, PHYSICS_HOLD)
        state.probe.step(probe_verdict, moment.span_ms, PROBE_HOLD)
        latch = next((one for one in (state.clip, state.physics, state.probe) if one.on), None)
        if latch is None:
            return self.tell(state.edge, CLEAR, moment.at_ms)
        return self.tell(state.edge, WARNING, moment.at_ms, latch.bad_ms)

    def _judge_probes(self, reading: Stored) -> int:
        """Return BAD where a temperature cannot be, and remember which."""
        for name, value in (reading.aux or {}).items():
            if PROBE in name.lower() and not COLDEST_C <= value <= HOTTEST_C:
                self.state.probe_name, self.state.probe_c = name, value
                return BAD
        return GOOD

    def _find_worst(self, reading: Stored) -> None:
        """Remember the channel whose power exceeds V·I the most."""
        worst = 0.0
        for name, channel in reading.ch.items():
            voltage_v = reading.v if channel.v is None else channel.v
            if voltage_v is None or channel.i is None or channel.p is None:
                continue
            excess_w = abs(channel.p) - voltage_v * channel.i
            if excess_w > worst:
                worst, state = excess_w, self.state
                state.channel, state.power_w = name, channel.p
                state.apparent_va = voltage_v * channel.i

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say which sensor is wrong and how we know."""
        state = self.state
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            return Words("Sensor works again", f"The sensor works again after {long}.", {})
        if state.clip.on:
            text = (
                f"The meter has reported a clipped signal for {long}: the current is above what "
                f"its clamp can measure, so power and energy read too low."
            )
            return Words("Sensor clipped", text, {"flag": "clip", "limit_s": 60})
        if not state.physics.on:
            return self._probe_words(long)
        text = (
            f"Power on {state.channel or 'a channel'} has been above voltage times current for "
            f"{long} ({abs(state.power_w):.0f} W of {state.apparent_va:.0f} VA), which is "
            f"impossible: check clamp and calibration."
        )
        evidence: Evidence = {
            "channel": state.channel,
            "power_w": round(state.power_w, 1),
            "limit_va": round(state.apparent_va, 1),
        }
        return Words("Readings against physics", text, evidence)

    def _probe_words(self, long: str) -> Words:
        state = self.state
        end, limit_c = ("above", HOTTEST_C) if state.probe_c > 0 else ("below", COLDEST_C)
        text = (
            f"{state.probe_name} has been at {state.probe_c:g} °C for {long}, {end} the "
            f"{limit_c:g} °C that can be real: the sensor or its wire is broken, the value stuck."
        )
        evidence: Evidence = {
            "sensor": state.probe_name,
            "temperature_c": state.probe_c,
            "limit_c": limit_c,
        }
        return Words("Temperature sensor stuck", text, evidence)


class FrozenState(Struct, array_like=True):
    """What the frozen-value rule remembers of one channel."""

    current_a: float = 0.0
    power_w: float = 0.0
    low_v: float = 0.0
    high_v: float = 0.0
    ms: int = 0
    readings: int = 0
    edge: Edge = field(default_factory=Edge)


class FrozenRule(Rule):
    """A channel that stays the same to the last digit while voltage moves.

    Current and power together, or the one of them that is measured, for much longer. Where
    no voltage is measured, a day of one value is enough.
    """

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.SENSOR_FAULT))
        self.spot = place(channel)
        self.state = FrozenState()

    def step(self, channel: Channel, voltage_v: float | None, moment: Moment) -> Finding | None:
        """Judge one reading of a channel at this voltage."""
        state, current_a, power_w = self.state, channel.i, channel.p
        is_alone = current_a is None or power_w is None
        if is_alone and current_a is power_w:
            return None
        current_a, power_w = current_a or 0.0, power_w or 0.0
        if power_w != state.power_w or current_a != state.current_a:
            state.current_a, state.power_w = current_a, power_w
            if state.readings:
                state.ms = state.readings = 0
            return self.tell(state.edge, CLEAR, moment.at_ms) if state.edge.severity else None
        if is_alone:
            is_frozen = self._stands_alone(voltage_v, moment.span_ms)
        else:
            is_frozen = self._stands_still(voltage_v, moment.span_ms)
        return self.tell(state.edge, WARNING, moment.at_ms, state.ms) if is_frozen else None

    def _stands_still(self, voltage_v: float | None, span_ms: int) -> bool:
        """Count one more reading of the same current and power; tell whether it is too long."""
        state = self.state
        if voltage_v is None or state.current_a < LEAST_A or abs(state.power_w) < LEAST_W:
            return False
        self._count(voltage_v, span_ms)
        if state.ms < FROZEN_MS or state.readings < FROZEN_READINGS:
            return False
        return state.high_v - state.low_v >= MOVED * state.high_v

    def _stands_alone(self, voltage_v: float | None, span_ms: int) -> bool:
        """Count one more reading of the same current or power; tell whether it is too long."""
        state = self.state
        if state.current_a < ALONE_A and abs(state.power_w) < ALONE_W:
            return False
        self._count(voltage_v, span_ms)
        if state.ms < ALONE_MS or state.readings < ALONE_READINGS:
            return False
        value = state.power_w or state.current_a
        if value == float(f"{value:.{ROUND_DIGITS}g}"):
            return False
        return not state.high_v or state.high_v - state.low_v >= MOVED * state.high_v

    def _count(self, voltage_v: float | None, span_ms: int) -> None:
        """Add one more reading of the same, at this voltage."""
        state = self.state
        if not state.readings:
            state.low_v = state.high_v = 0.0
        state.ms += span_ms
        state.readings += 1
        if voltage_v is None:
            return
        if not state.high_v:
            state.low_v = state.high_v = voltage_v
        elif voltage_v < state.low_v:
            state.low_v = voltage_v
        elif voltage_v > state.high_v:
            state.high_v = voltage_v

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say what stands still while what moves."""
        state = self.state
        evidence: Evidence = {
            "power_w": state.power_w,
            "current_a": state.current_a,
            "lowest_v": round(state.low_v, 2),
            "highest_v": round(state.high_v, 2),
            "readings": state.readings,
        }
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            return Words("Sensor works again", f"Values at {self.spot} move again.", evidence)
        still = f"{state.power_w:g} W" if state.power_w else f"{state.current_a:g} A"
        while_v = f" while the voltage moved from {state.low_v:.1f} to {state.high_v:.1f} V"
        text = (
            f"{self.spot[0].upper()}{self.spot[1:]} has shown exactly {still} for "
            f"{long}{while_v if state.high_v else ''}: the sensor seems stuck."
        )
        return Words("Sensor frozen", text, evidence)
