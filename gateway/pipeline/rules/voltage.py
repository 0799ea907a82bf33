"""Supply voltage against EN 50160, one rule per place where voltage is measured."""

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
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
)

# EN 50160:2010, 4.2.2: 10-minute means within Un ±10 % for 95 % of a week, and all of them
# within +10 % / -15 %. Swells above 1.15 Un endanger appliances within seconds: contract, 5.
HIGH, LOW, VERY_LOW, SWELL = 1.10, 0.90, 0.85, 1.15
BACK = 0.01  # hysteresis, in parts of Un
# EN 50160, 3.11: below 5 % of Un the supply is interrupted; that is the outage rule's.
INTERRUPTED = 0.05
WINDOW_MINUTES = 10
# With more than two of ten minutes missing a mean says too little.
ENOUGH_MS = 8 * MINUTE_MS
SWELL_HOLD = Hold(raise_ms=3 * SECOND_MS, clear_ms=60 * SECOND_MS)
# One 10-minute mean is enough; it clears after ten minutes of good ones.
MEAN_HOLD = Hold(raise_ms=1, clear_ms=10 * MINUTE_MS)


class Means(Struct, array_like=True):
    """Ten-minute mean that slides by whole UTC minutes, weighted by time.

    Clock-aligned 10-minute intervals are among these windows, and ten minutes are enough
    wherever they begin.
    """

    minute: int = -1
    volt_ms: float = 0.0
    ms: int = 0
    ring: list[tuple[float, int]] = field(default_factory=list)

    def add(self, voltage_v: float, at_ms: int, span_ms: int) -> bool:
        """Add one value; return whether the window has moved on."""
        if span_ms > MINUTE_MS:
            return self._add_long(voltage_v, at_ms, span_ms)
        # A reading belongs to the minute that holds its middle (contract, rule I).
        minute = (at_ms - span_ms // 2) // MINUTE_MS
        moved = minute > self.minute
        if moved:
            self._advance(minute)
        self.volt_ms += voltage_v * span_ms
        self.ms += span_ms
        if self.ms >= MINUTE_MS or at_ms >= (self.minute + 1) * MINUTE_MS:
            self._advance(self.minute + 1)
            return True
        return moved

    def mean(self) -> float | None:
        """Return the mean of the last ten closed minutes in V, None where too few are known."""
        covered_ms = sum(ms for _, ms in self.ring)
        if covered_ms < ENOUGH_MS:
            return None
        return sum(volt_ms for volt_ms, _ in self.ring) / covered_ms

    def newest(self) -> float:
        """Return the mean of the newest closed minute that has values (there is one)."""
        return next(volt_ms / ms for volt_ms, ms in reversed(self.ring) if ms)

    def _advance(self, minute: int) -> None:
        """Close the open minute and those skipped, up to `minute`."""
        if self.minute >= 0:
            self.ring.append((self.volt_ms, self.ms))
            skipped = min(minute - self.minute - 1, WINDOW_MINUTES)
            self.ring.extend([(0.0, 0)] * skipped)
            del self.ring[:-WINDOW_MINUTES]
        self.minute, self.volt_ms, self.ms = minute, 0.0, 0

    def _add_long(self, voltage_v: float, at_ms: int, span_ms: int) -> bool:
        """Spread a value of more than a minute over the whole minutes it covers."""
        end = at_ms // MINUTE_MS
        covered = min(span_ms // MINUTE_MS, WINDOW_MINUTES)
        self._advance(max(end - covered, self.minute))
        self.ring.extend([(voltage_v * MINUTE_MS, MINUTE_MS)] * covered)
        del self.ring[:-WINDOW_MINUTES]
        self.minute = max(end, self.minute)
        return True


class VoltageState(Struct, array_like=True):
    """What the voltage rule remembers of one place."""

    means: Means = field(default_factory=Means)
    swell: Latch = field(default_factory=Latch)
    high: Latch = field(default_factory=Latch)
    low: Latch = field(default_factory=Latch)
    very_low: Latch = field(default_factory=Latch)
    over: Edge = field(default_factory=Edge)
    under: Edge = field(default_factory=Edge)
    swell_since_ms: int = 0
    now_v: float = 0.0
    mean_v: float | None = None

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data."""
        for latch in (self.swell, self.high, self.low, self.very_low):
            latch.gap(hole_ms)


class OverVoltage(Rule):
    """Words for too high a voltage."""

    def __init__(self, meter: str, channel: str, spot: str, nominal_v: float) -> None:
        super().__init__((meter, channel, AlertKind.OVER_VOLTAGE))
        self.spot = spot
        self.nominal_v = nominal_v
        self.state = VoltageState()

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say how high, for how long, and what is allowed."""
        state, un = self.state, self.nominal_v
        # The mean cannot have said it before there was one.
        swell = state.swell.on or state.mean_v is None
        limit = (SWELL if swell else HIGH) * un
        evidence = {
            "voltage_v": round(state.now_v, 2),
            "mean_10min_v": None if state.mean_v is None else round(state.mean_v, 2),
            "limit_v": round(limit, 2),
            "nominal_v": un,
        }
        if not edge.severity:
            text = f"Voltage at {self.spot} is back within its limits: {state.now_v:.1f} V now."
            return Words("Voltage normal again", text, evidence)
        if swell:
            text = (
                f"Voltage at {self.spot} was {state.now_v:.1f} V for "
                f"{lasting(at_ms - state.swell_since_ms)}; the limit is {limit:.1f} V "
                f"({SWELL} \u00d7 {un:g} V)."
            )
            return Words("Voltage dangerously high", text, evidence)
        text = (
            f"Voltage at {self.spot} averaged {state.mean_v:.1f} V over 10 minutes; "
            f"the limit is {limit:.1f} V ({un:g} V + 10 %, EN 50160)."
        )
        return Words("Voltage too high", text, evidence)


class UnderVoltage(Rule):
    """Words for too low a voltage."""

    def __init__(self, meter: str, channel: str, spot: str, nominal_v: float) -> None:
        super().__init__((meter, channel, AlertKind.UNDER_VOLTAGE))
        self.spot = spot
        self.nominal_v = nominal_v
        self.state = VoltageState()

    def words(self, edge: Edge, at_ms: int) -> Words:  # noqa: ARG002 - the base class's shape
        """Say how low and what is allowed."""
        state, un = self.state, self.nominal_v
        part = VERY_LOW if state.very_low.on else LOW
        mean_v = state.now_v if state.mean_v is None else state.mean_v
        evidence = {
            "voltage_v": round(state.now_v, 2),
            "mean_10min_v": round(mean_v, 2),
            "limit_v": round(part * un, 2),
            "nominal_v": un,
        }
        if not edge.severity:
            text = f"Voltage at {self.spot} is back within its limits: {state.now_v:.1f} V now."
            return Words("Voltage normal again", text, evidence)
        text = (
            f"Voltage at {self.spot} averaged {mean_v:.1f} V over 10 minutes; the limit is "
            f"{part * un:.1f} V ({un:g} V less {(1 - part) * 100:.0f} %, EN 50160)."
        )
        return Words("Voltage too low", text, evidence)


class VoltageRule:
    """Over- and under-voltage at one place; `channel` "" is the meter's own voltage input."""

    def __init__(self, meter: str, channel: str, spot: str, nominal_v: float) -> None:
        self.over = OverVoltage(meter, channel, spot, nominal_v)
        self.under = UnderVoltage(meter, channel, spot, nominal_v)
        self.nominal_v = nominal_v
        self.swell_v = SWELL * nominal_v
        self.calm_v = (SWELL - BACK) * nominal_v
        self.interrupted_v = INTERRUPTED * nominal_v
        self.state = VoltageState()
        self.use(self.state)

    def use(self, state: VoltageState) -> None:
        """Go on from this state."""
        self.state = self.over.state = self.under.state = state

    def step(self, voltage_v: float, moment: Moment, found: list[Finding]) -> None:
        """Judge one value; add what is news to `found`."""
        if voltage_v < self.interrupted_v:
            return
        state = self.state
        state.now_v = voltage_v
        moved = state.means.add(voltage_v, moment.at_ms, moment.span_ms)
        if moved:
            self._judge_mean()
        swell = state.swell
        if voltage_v >= self.calm_v or swell.on or swell.bad_ms:
            verdict = BAD if voltage_v > self.swell_v else BETWEEN
            was_on = swell.on
            swell.step(GOOD if voltage_v < self.calm_v else verdict, moment.span_ms, SWELL_HOLD)
            if swell.on and not was_on:
                state.swell_since_ms = moment.at_ms - swell.bad_ms
        elif not moved and not state.over.severity and not state.under.severity:
            return
        self._tell(moment.at_ms, found)

    def _judge_mean(self) -> None:
        """Compare the mean of the last ten minutes with its limits."""
        state, un = self.state, self.nominal_v
        mean_v = state.mean_v = state.means.mean()
        if mean_v is None:
            return
        part, last = mean_v / un, state.means.newest() / un
        # What is over already raises nothing: a mean that is known only now, because earlier
        # minutes were missing, must not open a second alert for a swell that has cleared.
        high = min(_beyond(part - HIGH), BAD if last > HIGH else BETWEEN)
        low = BAD if last < LOW else BETWEEN
        state.high.step(high, MINUTE_MS, MEAN_HOLD)
        state.low.step(min(_beyond(LOW - part), low), MINUTE_MS, MEAN_HOLD)
        state.very_low.step(min(_beyond(VERY_LOW - part), low), MINUTE_MS, MEAN_HOLD)

    def _tell(self, at_ms: int, found: list[Finding]) -> None:
        """Report what has changed."""
        state, un, mean_v = self.state, self.nominal_v, self.state.mean_v
        mean_ok = mean_v is None or mean_v <= HIGH * un
        self.over.calm = state.now_v <= self.swell_v if state.swell.on else mean_ok
        self.under.calm = mean_v is None or mean_v >= LOW * un
        severity = CRITICAL if state.swell.on else WARNING if state.high.on else CLEAR
        lasted = state.swell.bad_ms if state.swell.on else WINDOW_MINUTES * MINUTE_MS
        if severity or state.over.severity:
            news = self.over.tell(state.over, severity, at_ms, lasted)
            if news is not None:
                found.append(news)
        severity = CRITICAL if state.very_low.on else WARNING if state.low.on else CLEAR
        if severity or state.under.severity:
            news = self.under.tell(state.under, severity, at_ms, WINDOW_MINUTES * MINUTE_MS)
            if news is not None:
                found.append(news)


def _beyond(excess: float) -> int:
    """Return how a value stands that exceeds its limit by `excess` parts of Un."""
    if excess > 0:
        return BAD
    return GOOD if excess < -BACK else BETWEEN
