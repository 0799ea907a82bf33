"""Quarter hours that the channel's own history calls improbable at this time of day."""

import math

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel
from gateway.pipeline.rules.condition import (
    CLEAR,
    DAY_MS,
    WARNING,
    Edge,
    Moment,
    Rule,
    Words,
    lasting,
    place,
)
from tinymodels.detect.features import QUARTER_MS, Quarter, Track, natural
from tinymodels.detect.gaussian import GaussianModel
from tinymodels.detect.limit import PERSIST_M, PERSIST_N

# Less of a quarter, and it is not scored.
ENOUGH_MS = QUARTER_MS // 2
FIRST_FIT_MS = 7 * DAY_MS
REFIT_MS = 30 * DAY_MS
# A fit that was refused or did not come is asked for again after a day of data.
ASK_AGAIN_MS = DAY_MS
# What has lasted a week is how the household lives now.
NEW_NORMAL_MS = 7 * DAY_MS

PLAIN = {
    "power": "Power",
    "base": "The base load (least power in 2 hours)",
    "day": "The day's average power",
    "voltage": "Voltage",
    "reactive": "Reactive power",
    "power_factor": "Power factor",
}
KEYS = {"W": "power_w", "V": "voltage_v", "var": "reactive_var", "": "power_factor"}


class Sum(Struct, array_like=True, gc=False):
    """The open quarter of one channel: time-weighted sums."""

    start_ms: int = -1
    ms: int = 0
    watt_ms: float = 0.0
    low_w: float = math.inf
    high_w: float = -math.inf
    volt_ms: float = 0.0
    volts_ms: int = 0
    var_ms: float = 0.0
    vars_ms: int = 0
    amp_ms: float = 0.0
    amps_ms: int = 0

    def add(self, channel: Channel, voltage_v: float | None, span_ms: int) -> None:
        """Add one reading."""
        power_w = channel.p
        if power_w is not None:
            self.ms += span_ms
            self.watt_ms += power_w * span_ms
            self.low_w = min(self.low_w, power_w)
            self.high_w = max(self.high_w, power_w)
        if voltage_v is not None:
            self.volt_ms += voltage_v * span_ms
            self.volts_ms += span_ms
        if channel.q is not None:
            self.var_ms += channel.q * span_ms
            self.vars_ms += span_ms
        if channel.i is not None:
            self.amp_ms += channel.i * span_ms
            self.amps_ms += span_ms

    def quarter(self) -> Quarter | None:
        """Return the rollup row, or None where power is known for less than half of it."""
        if self.ms < ENOUGH_MS:
            return None
        return Quarter(
            start_ms=self.start_ms,
            p_mean_w=self.watt_ms / self.ms,
            p_min_w=self.low_w,
            p_max_w=self.high_w,
            v_mean_v=self.volt_ms / self.volts_ms if self.volts_ms else math.nan,
            q_mean_var=self.var_ms / self.vars_ms if self.vars_ms else math.nan,
            i_mean_a=self.amp_ms / self.amps_ms if self.amps_ms else math.nan,
        )


class PatternState(Struct, array_like=True):
    """What the pattern rule remembers of one channel."""

    sum: Sum = field(default_factory=Sum)
    track: Track = field(default_factory=Track)
    first_ms: int = 0
    asked_ms: int = 0
    scores: list[tuple[int, float]] = field(default_factory=list)
    edge: Edge = field(default_factory=Edge)
    feature: str = "power"
    value: float = 0.0
    expected: float = 0.0
    sigmas: float = 0.0


class PatternRule(Rule):
    """Scores each closed quarter by the channel's Gaussian; 3 of 4 improbable ones count."""

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.ANOMALY))
        self.spot = place(channel)
        self.model: GaussianModel | None = None
        self.state = PatternState()

    def step(self, channel: Channel, voltage_v: float | None, moment: Moment) -> Finding | None:
        """Add one reading; judge the quarter it closes."""
        open_sum, span_ms = self.state.sum, moment.span_ms
        start_ms = moment.at_ms - span_ms // 2
        start_ms -= start_ms % QUARTER_MS
        news = None
        if start_ms != open_sum.start_ms:
            news = self._close(moment.at_ms)
            open_sum = self.state.sum
            open_sum.start_ms = start_ms
        open_sum.add(channel, voltage_v, span_ms)
        return news

    def wants_fit(self) -> bool:
        """Return whether the channel's model should be fitted now; asks once a day of data."""
        state = self.state
        now_ms = state.track.last_ms
        if self.model is None:
            due = state.first_ms > 0 and now_ms + QUARTER_MS - state.first_ms >= FIRST_FIT_MS
        else:
            age_ms = now_ms + QUARTER_MS - self.model.to_ms
            lasted_ms = now_ms - state.edge.since_ms if state.edge.severity else 0
            new_normal = lasted_ms >= NEW_NORMAL_MS and age_ms >= NEW_NORMAL_MS
            due = age_ms >= REFIT_MS or new_normal
        if not due or now_ms - state.asked_ms < ASK_AGAIN_MS:
            return False
        state.asked_ms = now_ms
        return True

    def _close(self, at_ms: int) -> Finding | None:
        """Score the quarter that has ended, if enough of it is known."""
        state = self.state
        row = state.sum.quarter()
        state.sum = Sum()
        if row is None:
            return None
        state.first_ms = state.first_ms or row.start_ms
        features = state.track.add(row)
        if self.model is None:
            return self.tell(state.edge, CLEAR, at_ms) if state.edge.severity else None
        score = self.model.score(row.start_ms, features)
        if not math.isfinite(score):  # it compares as usual with everything: blind, and silent
            msg = f"the model's score is {score}"
            raise ArithmeticError(msg)
        oldest_ms = row.start_ms - PERSIST_N * QUARTER_MS
        state.scores = [item for item in state.scores if item[0] > oldest_ms]
        state.scores.append((row.start_ms, score))
        return self._judge(self.model, features, at_ms)

    def _judge(self, model: GaussianModel, features: list[float], at_ms: int) -> Finding | None:
        """Decide by the last four quarters."""
        state = self.state
        above = [start_ms for start_ms, score in state.scores if score > model.limit]
        if state.edge.severity:
            still = any(score >= model.clear_limit for _, score in state.scores)
            on = still or len(state.scores) < PERSIST_N
        else:
            on = len(above) >= PERSIST_M
        if on and state.scores[-1][1] > model.limit:
            why = model.explain(state.scores[-1][0], features)
            state.feature, state.sigmas = why.feature, why.sigmas
            state.value, state.expected = why.value, why.expected
        self.calm = state.scores[-1][1] <= model.limit
        lasted_ms = at_ms - above[0] if above else 0
        return self.tell(state.edge, WARNING if on else CLEAR, at_ms, lasted_ms)

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say which feature moved, from what to what, and since when."""
        state = self.state
        now, unit = natural(state.feature, state.value)
        usual, _ = natural(state.feature, state.expected)
        score = state.scores[-1][1] if state.scores else 0.0
        digits = 2 if state.feature == "power_factor" else 1
        key = KEYS[unit]
        evidence: Evidence = {
            "feature": state.feature,
            key: round(now, digits),
            f"expected_{key}": round(usual, digits),
            "sigmas": round(state.sigmas, 1),
            "score": round(score, 1),
            "limit": round(self.model.limit, 1) if self.model else None,
        }
        long = lasting(at_ms - edge.since_ms)
        if not edge.severity:
            text = f"Consumption at {self.spot} is usual again after {long}."
            return Words("Usual again", text, evidence)
        values = f"{now:.{digits}f} {unit}".rstrip()
        wont = f"{usual:.{digits}f} {unit}".rstrip()
        text = (
            f"{PLAIN[state.feature]} at {self.spot} has been unusual for {long}: {values}, where "
            f"{wont} is usual at this time of day."
        )
        return Words("Unusual consumption", text, evidence)
