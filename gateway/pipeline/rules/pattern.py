"""Minutes that the channel's own history calls unusual, as its model judges them."""

import math
from typing import Any

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel
from gateway.pipeline.rules.base_shift import SHIFTED, BaseShift
from gateway.pipeline.rules.condition import (
    CLEAR,
    DAY_MS,
    MINUTE_MS,
    WARNING,
    Edge,
    Moment,
    Rule,
    Words,
    place,
)
from gateway.pipeline.rules.pattern_words import Why
from tinymodels.detect.alarm import Alarm
from tinymodels.detect.contract import Explanation, HasSources, Model, Verdict, sources_of
from tinymodels.detect.history import NEW_NORMAL_MS
from tinymodels.detect.minutes import Row
from tinymodels.detect.pace import Pace

FIRST_FIT_MS = 7 * DAY_MS
REFIT_MS = 30 * DAY_MS
EARLIEST_REFIT_MS = 7 * DAY_MS  # however far the base load has moved
MOST_RAISED = 50  # alerts of which a verdict is heeded
# A fit that was refused or did not come is asked for again after a day of data.
ASK_AGAIN_MS = DAY_MS


class Sum(Struct, array_like=True, gc=False):
    """The open minute of one channel: time-weighted sums."""

    start_ms: int = -1
    ms: int = 0
    watt_ms: float = 0.0
    low_w: float = math.inf
    high_w: float = -math.inf
    volt_ms: float = 0.0
    volts_ms: int = 0
    high_v: float = -math.inf
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
            self.high_v = max(self.high_v, voltage_v)
        if channel.q is not None:
            self.var_ms += channel.q * span_ms
            self.vars_ms += span_ms
        if channel.i is not None:
            self.amp_ms += channel.i * span_ms
            self.amps_ms += span_ms

    def row(self) -> Row | None:
        """Return the minute as detectors see it, None where power is unknown."""
        if not self.ms:
            return None
        return Row(
            start_ms=self.start_ms,
            p_mean_w=self.watt_ms / self.ms,
            p_min_w=self.low_w,
            p_max_w=self.high_w,
            v_mean_v=self.volt_ms / self.volts_ms if self.volts_ms else math.nan,
            v_max_v=self.high_v if self.volts_ms else math.nan,
            q_mean_var=self.var_ms / self.vars_ms if self.vars_ms else math.nan,
            i_mean_a=self.amp_ms / self.amps_ms if self.amps_ms else math.nan,
        )


class Raised(Struct, array_like=True, gc=False):
    """An alert that was raised: when, by what, and whether somebody said that it was right."""

    at_ms: int
    source: str
    right: bool = False


class PatternState(Struct, array_like=True):
    """What the pattern rule remembers of one channel."""

    sum: Sum = field(default_factory=Sum)
    kind: str = ""  # of the model whose memory this is
    memory: bytes = b""
    on: bool = False
    quiet_ms: int | list[int] = 0  # of each family of scores; of older snapshots one number
    first_ms: int = 0
    last_ms: int = 0
    asked_ms: int = 0
    edge: Edge = field(default_factory=Edge)
    why: Why = field(default_factory=Why)
    base: BaseShift = field(default_factory=BaseShift)
    age_ms: int = 0  # since the alarm was raised last
    scores: list[float] = field(default_factory=list)  # of the last hours, while it is on
    source: int | str = ""  # what raised it last; of older snapshots a number
    on_ms: int = 0  # since when it is on, however often it was raised anew
    pace: Pace = field(default_factory=Pace)
    raised: list[Raised] = field(default_factory=list)  # the last ones

    def alarm(self) -> Alarm:
        """Return the alarm as it stands."""
        quiet = [self.quiet_ms] if isinstance(self.quiet_ms, int) else self.quiet_ms
        if not self.on:
            # An alert taken over from before a fresh start clears as if it had been raised here.
            quiet = [0] if self.edge.severity else []
        source = self.source if isinstance(self.source, str) else ""
        return Alarm(quiet, age_ms=self.age_ms, scores=self.scores, source=source, pace=self.pace)

    def keep(self, alarm: Alarm, at_ms: int) -> None:
        """Remember the alarm."""
        if not (self.on and self.on_ms):
            self.on_ms = at_ms
        self.on, self.quiet_ms, self.age_ms = alarm.on, alarm.quiet_ms, alarm.age_ms
        self.scores, self.source, self.pace = alarm.scores, alarm.source, alarm.pace
        if alarm.begins:
            self.raised = [*self.raised, Raised(at_ms, alarm.source)][-MOST_RAISED:]


class PatternRule(Rule):
    """Feeds each closed minute to the channel's model; its alarms become findings."""

    def __init__(self, meter: str, channel: ChannelInfo) -> None:
        super().__init__((meter, channel.name, AlertKind.ANOMALY))
        self.spot = place(channel)
        self.model: Model | None = None
        self.state = PatternState()
        self._memory: Any = None
        self._replaced = False  # what ends now makes room for something else

    def set_model(self, model: Model | None, memory: bytes | None = None) -> None:
        """Judge by this model from now on; its memory as given, else what fits of the state's."""
        state = self.state
        if memory is not None and model is not None:
            state.kind, state.memory = model.kind, memory
        else:
            self.save()
        self.model = model
        self._memory = None
        if model is not None:
            known = state.kind == model.kind
            self._memory = model.load_state(state.memory) if known else model.new_state()

    def use(self, state: PatternState) -> None:
        """Go on from this state."""
        self.state = state
        self._memory = None
        if (model := self.model) is not None:
            known = state.kind == model.kind
            self._memory = model.load_state(state.memory) if known else model.new_state()

    def save(self) -> None:
        """Put the model's memory into the state, for a snapshot; one that cannot is forgotten."""
        if self.model is None:
            return
        try:
            self.state.memory = self.model.dump_state(self._memory)
        except Exception:  # noqa: BLE001 - a model is data, and any of it may be wrong
            self.state.memory = b""
        self.state.kind = self.model.kind

    def step(self, channel: Channel, voltage_v: float | None, moment: Moment) -> list[Finding]:
        """Add one reading; judge the minute it closes."""
        # As the rollups have it, of which models are made: a reading that overlaps the one before
        # counts whole there too.
        open_sum, span_ms = self.state.sum, moment.reading.dt_ms
        start_ms = moment.at_ms - span_ms // 2
        start_ms -= start_ms % MINUTE_MS
        news: list[Finding] = []
        if start_ms < open_sum.start_ms:
            return []  # a long one, whose middle lies before the minute that is open
        if start_ms > open_sum.start_ms:
            news = self._close(moment.at_ms)
            open_sum = self.state.sum
            open_sum.start_ms = start_ms
        open_sum.add(channel, voltage_v, span_ms)
        return news

    def heed(self, opened_ms: int, *, right: bool) -> bool:
        """Take in what somebody said of an alert; return whether that changes anything.

        One that was right does not make the next one's source louder.
        """
        found = [one for one in self.state.raised if one.at_ms == opened_ms and one.right != right]
        if not found or self.model is None:
            return False
        found[0].right = right
        step = Pace.forgiven if right else Pace.raised
        self.state.pace = step(self.state.pace, sources_of(self.model), found[0].source)
        return True

    def wants_fit(self) -> bool:
        """Return whether the channel's model should be fitted now; asks once a day of data."""
        state = self.state
        now_ms = state.last_ms + MINUTE_MS
        if self.model is None:
            due = state.first_ms > 0 and now_ms - state.first_ms >= FIRST_FIT_MS
        else:
            due = self._is_stale(now_ms, now_ms - self.model.trained[1])
        if not due or now_ms - state.asked_ms < ASK_AGAIN_MS:
            return False
        state.asked_ms = now_ms
        return True

    def _is_stale(self, now_ms: int, age_ms: int) -> bool:
        """Return whether a model this old is due: by age, a new normal, or a moved base load."""
        if age_ms >= REFIT_MS:
            return True
        if age_ms < EARLIEST_REFIT_MS:
            return False
        edge = self.state.edge
        if edge.severity:
            since_ms = min(edge.since_ms, self.state.on_ms or edge.since_ms)
            return now_ms - since_ms >= NEW_NORMAL_MS
        return self.state.base.index(now_ms) > SHIFTED

    def _close(self, at_ms: int) -> list[Finding]:
        """Hand the minute that has ended to the model."""
        state = self.state
        row = state.sum.row()
        state.sum = Sum()
        if row is None or row.start_ms <= state.last_ms:
            return []
        state.first_ms = state.first_ms or row.start_ms
        state.last_ms = row.start_ms
        state.base.add(row.start_ms, row.p_mean_w)
        if self.model is None:
            state.on = False
            return self._told(CLEAR, at_ms) if state.edge.severity else []
        verdict = self.model.step(self._memory, row)
        if verdict is None:
            return []
        if not math.isfinite(verdict.score):  # it compares as usual with everything: blind
            msg = f"the model's score is {verdict.score}"
            raise ArithmeticError(msg)
        return self._judge(self.model, verdict, at_ms)

    def _judge(self, model: Model, verdict: Verdict, at_ms: int) -> list[Finding]:
        """Decide as every alarm is decided (tinymodels.detect.alarm)."""
        state = self.state
        alarm = state.alarm()
        on = alarm.step(model, verdict.sources)
        state.keep(alarm, at_ms)
        lasted_ms = 0
        self.calm = max(alarm.heard) <= model.limit
        found = self._make_room(at_ms) if alarm.begins and state.edge.severity else []
        if not self.calm:
            told, score = self._explain(model, alarm)
            state.why = Why.of(told, score)
            lasted_ms = max(0, at_ms - told.since_ms) if told.since_ms else 0
        return found + self._told(WARNING if on else CLEAR, at_ms, lasted_ms)

    def _explain(self, model: Model, alarm: Alarm) -> tuple[Explanation, float]:
        """Return what the source says that raised the alert, and its score as it counts now.

        Where that one is below its limit by now, the loudest speaks.
        """
        heard, names = alarm.heard, sources_of(model).names
        if not isinstance(model, HasSources):
            return model.explain(self._memory), max(heard)
        source = names.index(alarm.source) if alarm.source in names else -1
        if source < 0 or heard[source] <= model.limit:
            source = heard.index(max(heard))
        return model.explain_source(self._memory, source), heard[source]

    def _make_room(self, at_ms: int) -> list[Finding]:
        """End the alert that is open: something else has come, which gets one of its own."""
        self._replaced = True
        found = self._told(CLEAR, at_ms)
        self._replaced = False
        return found

    def _told(self, severity: int, at_ms: int, lasted_ms: int = 0) -> list[Finding]:
        news = self.tell(self.state.edge, severity, at_ms, lasted_ms)
        return [] if news is None else [news]

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Say which feature moved, from what to what, and since when."""
        limit = None if self.model is None else self.model.limit
        if self._replaced:
            return self.state.why.replaced(limit)
        return self.state.why.words(self.spot, at_ms - edge.since_ms, limit, over=not edge.severity)
