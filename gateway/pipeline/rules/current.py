"""Currents against what the circuit or its clamp may carry, and power factor under load."""

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import LARGEST_CLAMP_A, USUAL_CLAMP_A, ChannelInfo
from gateway.domain.readings import Channel
from gateway.pipeline.rules.condition import (
    BAD,
    BETWEEN,
    CLEAR,
    CRITICAL,
    GOOD,
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

# Motors and ovens start with a few times their current for seconds, so a warning waits a
# minute. 1.25 times is below the 1.45 times at which a B or C breaker must trip within the hour
# (IEC 60898-1, table 7): told before the breaker acts.
FULL, FAR_OVER, BACK = 1.0, 1.25, 0.05
FULL_HOLD = Hold(raise_ms=60 * SECOND_MS, clear_ms=60 * SECOND_MS)
FAR_OVER_HOLD = Hold(raise_ms=10 * SECOND_MS, clear_ms=60 * SECOND_MS)

# |PF| < 0.8 above 20 % of rating for 15 min: contract, section 5.
POOR, GOOD_ENOUGH = 0.8, 0.85
LOADED, UNLOADED = 0.2, 0.1
POOR_HOLD = Hold(raise_ms=15 * MINUTE_MS, clear_ms=15 * MINUTE_MS)


class CurrentState(Struct, array_like=True):
    """What the over-current rule remembers of one channel."""

    full: Latch = field(default_factory=Latch)
    far_over: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)
    worst_a: float = 0.0

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data."""
        self.full.gap(hole_ms)
        self.far_over.gap(hole_ms)


class CurrentRule(Rule):
    """Current above the channel's rating; unknown, the largest common clamp's."""

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.OVER_CURRENT))
        self.spot = place(channel)
        self.rating_a = channel.rating_a or LARGEST_CLAMP_A
        self.calm_a = (FULL - BACK) * self.rating_a
        self.state = CurrentState()
        self.now_a = 0.0

    def step(self, current_a: float, moment: Moment) -> Finding | None:
        """Judge one value."""
        state = self.state
        if current_a < self.calm_a and not state.edge.severity and not state.full.bad_ms:
            return None
        self.now_a = current_a
        self.calm = current_a < self.calm_a
        part = current_a / self.rating_a
        full = state.full.step(_stands(part - FULL), moment.span_ms, FULL_HOLD)
        far = state.far_over.step(_stands(part - FAR_OVER), moment.span_ms, FAR_OVER_HOLD)
        state.worst_a = max(state.worst_a, current_a)
        severity = CRITICAL if far else WARNING if full else CLEAR
        lasted_ms = (state.far_over if far else state.full).bad_ms
        news = self.tell(state.edge, severity, moment.at_ms, lasted_ms)
        if not severity and state.full.idle:
            state.worst_a = 0.0
        return news

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say how much flows and how much may."""
        state, rating = self.state, self.rating_a
        limit = (FAR_OVER if state.far_over.on else FULL) * rating
        evidence = {
            "current_a": round(self.now_a, 3),
            "worst_a": round(state.worst_a, 3),
            "limit_a": round(limit, 2),
            "rating_a": rating,
        }
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            text = f"Current at {self.spot} is back to {self.now_a:.1f} A after {long}."
            return Words("Current normal again", text, evidence)
        text = (
            f"Current at {self.spot} has been over its limit for {long}: {self.now_a:.1f} A now, "
            f"{state.worst_a:.1f} A at most; it is rated for {rating:g} A."
        )
        return Words("Current too high", text, evidence)


def _stands(excess: float) -> int:
    """Return how a value stands that exceeds its limit by `excess` parts of the rating."""
    if excess > 0:
        return BAD
    return GOOD if excess < -BACK else BETWEEN


class FactorState(Struct, array_like=True):
    """What the power factor rule remembers of one channel."""

    latch: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)
    now: float = 1.0
    power_w: float = 0.0


class FactorRule(Rule):
    """Poor power factor while the channel is loaded; unknown rating: the reference clamp's.

    A load that comes and goes does not clear it: that takes a quarter of an hour of a good
    factor under load, or of hardly any load.
    """

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.LOW_POWER_FACTOR))
        self.spot = place(channel)
        rating_a = channel.rating_a or USUAL_CLAMP_A
        self.loaded_a = LOADED * rating_a
        self.unloaded_a = UNLOADED * rating_a
        self.state = FactorState()

    def step(self, channel: Channel, voltage_v: float, moment: Moment) -> Finding | None:
        """Judge one reading of a channel at this voltage."""
        state = self.state
        latch, current_a, power_w = state.latch, channel.i, channel.p
        if current_a is None or power_w is None:
            return None
        loaded = current_a >= self.loaded_a
        if not loaded and not state.edge.severity and not latch.bad_ms:
            return None
        apparent_va = voltage_v * current_a
        if loaded and apparent_va >= 1:
            factor = abs(power_w) / apparent_va
            verdict = BAD if factor < POOR else GOOD if factor > GOOD_ENOUGH else BETWEEN
            if verdict != BAD and not state.edge.severity and not latch.bad_ms:
                return None
            state.now, state.power_w = factor, power_w
        else:
            verdict = GOOD if current_a < self.unloaded_a else BETWEEN
        self.calm = verdict == GOOD
        on = latch.step(verdict, moment.span_ms, POOR_HOLD)
        return self.tell(state.edge, WARNING if on else CLEAR, moment.at_ms, latch.bad_ms)

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say how poor it is and what is expected."""
        state = self.state
        evidence = {
            "power_factor": round(state.now, 3),
            "limit": POOR,
            "power_w": round(state.power_w, 1),
            "load_limit_a": round(self.loaded_a, 2),
        }
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            text = f"Power factor at {self.spot} is no longer poor ({state.now:.2f} when loaded)."
            return Words("Power factor normal again", text, evidence)
        text = (
            f"Power factor at {self.spot} has been {state.now:.2f} for {long}; below {POOR} the "
            f"wiring carries current that does no work (a motor or its capacitor may be failing)."
        )
        return Words("Poor power factor", text, evidence)
