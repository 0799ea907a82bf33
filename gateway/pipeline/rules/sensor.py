"""Sensors that cannot be telling the truth: clipped, frozen, or against physics."""

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel, Mark, Stored
from gateway.pipeline.rules.condition import (
    BAD,
    CLEAR,
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
# A real load follows the voltage: I and P identical to the last digit for an hour and sixty
# readings, while the voltage moved by 1 %, come from a stuck converter or firmware.
FROZEN_MS = HOUR_MS
FROZEN_READINGS = 60
MOVED = 0.01
# Nothing connected is no fault.
LEAST_A, LEAST_W = 0.5, 50.0


class SensorState(Struct, array_like=True):
    """What the meter's sensor rule remembers."""

    clip: Latch = field(default_factory=Latch)
    physics: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)
    channel: str = ""
    power_w: float = 0.0
    apparent_va: float = 0.0

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data."""
        self.clip.gap(hole_ms)
        self.physics.gap(hole_ms)


class SensorRule(Rule):
    """Clipping flags and physics marks that persist; the reading does not say whose they are."""

    def __init__(self, meter: str) -> None:
        super().__init__((meter, "", AlertKind.SENSOR_FAULT))
        self.state = SensorState()

    @property
    def quiet(self) -> bool:
        """Return whether a reading without flags and marks would change nothing."""
        state = self.state
        return not state.edge.severity and state.clip.idle and state.physics.idle

    def step(self, moment: Moment) -> Finding | None:
        """Judge one reading."""
        state, reading = self.state, moment.reading
        physics = reading.marks & Mark.PHYSICS
        if physics:
            self._find_worst(reading)
        clip_verdict = BAD if "clip" in reading.flags else GOOD
        self.calm = clip_verdict == GOOD and not physics
        state.clip.step(clip_verdict, moment.span_ms, CLIP_HOLD)
        state.physics.step(BAD if physics else GOOD, moment.span_ms, PHYSICS_HOLD)
        on = state.clip.on or state.physics.on
        lasted_ms = (state.clip if state.clip.on else state.physics).bad_ms
        return self.tell(state.edge, WARNING if on else CLEAR, moment.at_ms, lasted_ms)

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
    """A channel whose current and power stay the same to the last digit while voltage moves."""

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.SENSOR_FAULT))
        self.spot = place(channel)
        self.state = FrozenState()

    def step(self, channel: Channel, voltage_v: float, moment: Moment) -> Finding | None:
        """Judge one reading of a channel at this voltage."""
        state, current_a, power_w = self.state, channel.i, channel.p
        if current_a is None or power_w is None:
            return None
        if power_w != state.power_w or current_a != state.current_a:
            state.current_a, state.power_w = current_a, power_w
            if state.readings:
                state.ms = state.readings = 0
            return self.tell(state.edge, CLEAR, moment.at_ms) if state.edge.severity else None
        if not state.readings:
            state.low_v = state.high_v = voltage_v
        if current_a < LEAST_A or abs(power_w) < LEAST_W:
            return None
        state.ms += moment.span_ms
        state.readings += 1
        if voltage_v < state.low_v:
            state.low_v = voltage_v
        elif voltage_v > state.high_v:
            state.high_v = voltage_v
        if state.ms < FROZEN_MS or state.readings < FROZEN_READINGS:
            return None
        if state.high_v - state.low_v < MOVED * state.high_v:
            return None
        return self.tell(state.edge, WARNING, moment.at_ms, state.ms)

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say what stands still while what moves."""
        state = self.state
        evidence = {
            "power_w": state.power_w,
            "current_a": state.current_a,
            "lowest_v": round(state.low_v, 2),
            "highest_v": round(state.high_v, 2),
            "readings": state.readings,
        }
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            return Words("Sensor works again", f"Values at {self.spot} move again.", evidence)
        text = (
            f"{self.spot[0].upper()}{self.spot[1:]} has shown exactly {state.power_w:g} W for "
            f"{long} while the voltage moved from {state.low_v:.1f} to {state.high_v:.1f} V: "
            f"the sensor seems stuck."
        )
        return Words("Sensor frozen", text, evidence)
