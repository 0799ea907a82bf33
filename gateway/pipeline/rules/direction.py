"""Clamps put on the wrong way round, told from the sign of the power."""

from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import USUAL_CLAMP_A, ChannelInfo, Role
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

# Below half a percent of the clamp's full power its sign is noise (ratio and phase errors of a
# split-core clamp at small currents, METERING: 20 W at 30 A).
NOISE = 0.005
LEAST_NOISE_W = 25.0
# Loads and generators never change sign, so ten minutes against none the other way will do.
ONE_WAY_HOLD = Hold(raise_ms=10 * MINUTE_MS, clear_ms=10 * MINUTE_MS)
# A grid connection may export. It may not export more than is generated; without a clamp on
# the panels, not by night, and not suddenly after days of never having done so.
GRID_HOLD = Hold(raise_ms=15 * MINUTE_MS, clear_ms=15 * MINUTE_MS)
NIGHT_HOLD_MS = HOUR_MS
SLACK = 1.1
NEVER_EXPORTED_MS = 3 * DAY_MS
NIGHT_FROM_H, NIGHT_TO_H = 22, 4


class DirectionState(Struct, array_like=True):
    """What the direction rule remembers of one channel."""

    latch: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)
    power_w: float = 0.0
    generated_w: float | None = None
    import_ms: int = 0  # time of import seen while no export had ever been
    exported: bool = False  # this connection is known to export


class DirectionRule(Rule):
    """Negative power where none belongs."""

    def __init__(self, meter: str, channel: ChannelInfo, nominal_v: float, zone: ZoneInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.REVERSE_CT))
        self.role = channel.role
        self.spot = place(channel)
        self.zone = zone
        rating_a = channel.rating_a or USUAL_CLAMP_A
        self.noise_w = max(LEAST_NOISE_W, NOISE * rating_a * nominal_v)
        self.state = DirectionState()

    def step(self, power_w: float, generated_w: float | None, moment: Moment) -> Finding | None:
        """Judge one power; `generated_w` is what the meter's solar clamps show, None = no clamp."""
        state, latch = self.state, self.state.latch
        if power_w > self.noise_w:
            # Import is the ordinary case: it proves a load or grid clamp right.
            if not state.edge.severity:
                if self.role is Role.GRID and not state.exported:
                    state.import_ms += moment.span_ms
                latch.bad_ms = 0
                return None
            verdict = GOOD
        elif power_w < -self.noise_w and self._is_wrong(power_w, generated_w, moment):
            verdict = BAD
        else:
            return None
        state.power_w, state.generated_w = power_w, generated_w
        self.calm = verdict == GOOD
        on = latch.step(verdict, moment.span_ms, self._hold(generated_w))
        if state.edge.severity and not on:
            # Power flows both ways here: from now on its export is nothing special.
            state.exported = True
        return self.tell(state.edge, WARNING if on else CLEAR, moment.at_ms, latch.bad_ms)

    def _is_wrong(self, power_w: float, generated_w: float | None, moment: Moment) -> bool:
        """Return whether this negative power cannot be right."""
        if self.role is not Role.GRID:
            return True
        state = self.state
        if generated_w is not None:
            return -power_w > SLACK * max(generated_w, 0.0) + self.noise_w
        if state.edge.severity or self._night(moment.at_ms):
            return True
        if not state.exported and state.import_ms < NEVER_EXPORTED_MS:
            # Still learning: by day this may well be panels without a clamp of their own.
            state.exported = True
        return not state.exported

    def _night(self, at_ms: int) -> bool:
        """Return whether no sun can be up (latitudes where people live all year)."""
        hour = datetime.fromtimestamp(at_ms / SECOND_MS, self.zone).hour
        return hour >= NIGHT_FROM_H or hour < NIGHT_TO_H

    def _hold(self, generated_w: float | None) -> Hold:
        """Return how long is long enough for this kind of channel."""
        if self.role is not Role.GRID:
            return ONE_WAY_HOLD
        if generated_w is None and self.state.exported:
            return Hold(NIGHT_HOLD_MS, GRID_HOLD.clear_ms)
        return GRID_HOLD

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say what is impossible about this power."""
        state = self.state
        evidence = {
            "power_w": round(state.power_w, 1),
            "generated_w": None if state.generated_w is None else round(state.generated_w, 1),
            "limit_w": round(-self.noise_w, 1),
        }
        if not edge.severity:
            text = f"Power at {self.spot} has the right sign again: {state.power_w:.0f} W."
            return Words("Clamp direction right again", text, evidence)
        long = lasting(at_ms - edge.since_ms)
        if self.role is not Role.GRID:
            why = "which it cannot do"
        elif state.generated_w is None:
            why = "though no generation is known (tell us if panels or a battery were added)"
        else:
            why = f"though only {state.generated_w:.0f} W are generated"
        text = (
            f"Power at {self.spot} has been negative for {long} ({state.power_w:.0f} W), {why}: "
            f"the clamp is probably on the wrong way round."
        )
        return Words("Clamp probably reversed", text, evidence)
