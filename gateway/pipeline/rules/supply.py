"""The supply as a whole: is there any, and how fast does it swing."""

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.pipeline.rules.condition import (
    BAD,
    BETWEEN,
    CLEAR,
    CRITICAL,
    GOOD,
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

# EN 50160:2010, 3.11: the supply is interrupted below 5 % of Un; v = 0 is a measured outage
# (contract, section 3). A whole second of it is no glitch of one sample; half of Un is power
# again, if poor.
INTERRUPTED, POWER_AGAIN = 0.05, 0.5
OUTAGE_HOLD = Hold(raise_ms=SECOND_MS, clear_ms=10 * SECOND_MS)

# EN 50160:2010, 4.2.1: the mean over 10 s is within ±1 % for 99.5 % of a year and within
# +4 % / -6 % always, in a synchronous grid (an island may swing by ±2 % for 95 % of a week).
MEAN_MS = 10 * SECOND_MS
NARROW, WIDE_UP, WIDE_DOWN = 0.01, 0.04, 0.06
BACK = 0.002  # hysteresis, in parts of the nominal frequency
# A minute of 10-s means outside ±1 % is no switching transient; one outside the wide band is
# already what the standard never allows.
NARROW_HOLD = Hold(raise_ms=60 * SECOND_MS, clear_ms=60 * SECOND_MS)
WIDE_HOLD = Hold(raise_ms=MEAN_MS, clear_ms=60 * SECOND_MS)


class OutageState(Struct, array_like=True):
    """What the outage rule remembers."""

    latch: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)


class OutageRule(Rule):
    """No voltage at the meter's own input, or at one phase's, measured and not merely unknown."""

    def __init__(self, meter: str, nominal_v: float, phase: str = "") -> None:
        """`phase` is the channel whose own voltage is judged, by `step_phase`."""
        super().__init__((meter, phase, AlertKind.OUTAGE))
        self.phase = phase
        self.dead_v = INTERRUPTED * nominal_v
        self.alive_v = POWER_AGAIN * nominal_v
        self.state = OutageState()
        self.now_v: float | None = None

    def step(self, moment: Moment) -> Finding | None:
        """Judge one reading."""
        return self._judge(moment.reading.v, moment.reading.f, moment)

    def step_phase(self, voltage_v: float, moment: Moment) -> Finding | None:
        """Judge one phase's voltage; that the whole house has none is told of the meter alone."""
        house_v = moment.reading.v
        if house_v is not None and house_v < self.dead_v:
            return None
        return self._judge(voltage_v, None, moment)

    def _judge(
        self, voltage_v: float | None, frequency_hz: float | None, moment: Moment
    ) -> Finding | None:
        state = self.state
        latch = state.latch
        if voltage_v is not None:
            if voltage_v > self.alive_v and not latch.bad_ms and not state.edge.severity:
                return None
            verdict = BAD if voltage_v < self.dead_v else BETWEEN
            verdict = GOOD if voltage_v > self.alive_v else verdict
        elif frequency_hz is not None:
            verdict = BAD if frequency_hz == 0 else GOOD
        else:
            return None
        self.now_v = voltage_v
        self.calm = verdict == GOOD
        on = latch.step(verdict, moment.span_ms, OUTAGE_HOLD)
        return self.tell(state.edge, CRITICAL if on else CLEAR, moment.at_ms, latch.bad_ms)

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say since when there is no power, or for how long there was none."""
        long = lasting(at_ms - edge.since_ms)
        evidence = {"voltage_v": self.now_v, "limit_v": round(self.dead_v, 2)}
        if not edge.severity:
            return Words("Power is back", f"The power is back after {long}.", evidence)
        now = "no mains voltage" if self.now_v is None else f"{self.now_v:.1f} V"
        if self.phase:
            text = f"{self.phase} has had {now} for {long} while other phases have power."
            return Words("Phase without power", text, evidence)
        text = f"The meter has measured {now} for {long}: the power is out."
        return Words("Power outage", text, evidence)


class FrequencyState(Struct, array_like=True):
    """What the frequency rule remembers."""

    hertz_ms: float = 0.0
    ms: int = 0
    mean_hz: float = 0.0
    narrow: Latch = field(default_factory=Latch)
    wide: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data: a mean is not carried across it."""
        self.hertz_ms, self.ms = 0.0, 0
        self.narrow.gap(hole_ms)
        self.wide.gap(hole_ms)


class FrequencyRule(Rule):
    """Ten-second means of the mains frequency against EN 50160."""

    def __init__(self, meter: str, nominal_hz: float) -> None:
        super().__init__((meter, "", AlertKind.FREQUENCY))
        self.nominal_hz = nominal_hz
        self.state = FrequencyState()

    def step(self, frequency_hz: float, moment: Moment) -> Finding | None:
        """Judge one value; 0 Hz is an outage and not a frequency."""
        if not frequency_hz:
            return None
        state = self.state
        state.hertz_ms += frequency_hz * moment.span_ms
        state.ms += moment.span_ms
        if state.ms < MEAN_MS:
            return None
        state.mean_hz = state.hertz_ms / state.ms
        span_ms, state.hertz_ms, state.ms = state.ms, 0.0, 0
        return self._judge_mean(span_ms, moment.at_ms)

    def _judge_mean(self, span_ms: int, at_ms: int) -> Finding | None:
        """Compare one mean with both bands."""
        state = self.state
        off = state.mean_hz / self.nominal_hz - 1
        if abs(off) < NARROW - BACK and state.narrow.idle and state.wide.idle:
            return self.tell(state.edge, CLEAR, at_ms) if state.edge.severity else None
        self.calm = abs(off) < NARROW - BACK
        state.narrow.step(_stands(abs(off) - NARROW), span_ms, NARROW_HOLD)
        state.wide.step(_stands(max(off - WIDE_UP, -WIDE_DOWN - off)), span_ms, WIDE_HOLD)
        severity = CRITICAL if state.wide.on else WARNING if state.narrow.on else CLEAR
        latch = state.wide if state.wide.on else state.narrow
        return self.tell(state.edge, severity, at_ms, latch.bad_ms)

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say how fast the grid swings and how fast it may."""
        state, nominal = self.state, self.nominal_hz
        up, down = (WIDE_UP, WIDE_DOWN) if state.wide.on else (NARROW, NARROW)
        limit = nominal * (1 + up if state.mean_hz > nominal else 1 - down)
        evidence = {
            "mean_10s_hz": round(state.mean_hz, 3),
            "limit_hz": round(limit, 3),
            "nominal_hz": nominal,
        }
        now = f"{state.mean_hz:.2f} Hz"
        if not edge.severity:
            return Words("Mains frequency normal again", f"Mains frequency is {now}.", evidence)
        text = (
            f"Mains frequency was {now} after {lasting(at_ms - edge.since_ms)} outside its "
            f"limit of {limit:.2f} Hz (EN 50160)."
        )
        return Words("Mains frequency out of range", text, evidence)


def _stands(excess: float) -> int:
    """Return how a value stands that exceeds its limit by `excess` parts of nominal."""
    if excess > 0:
        return BAD
    return GOOD if excess < -BACK else BETWEEN
