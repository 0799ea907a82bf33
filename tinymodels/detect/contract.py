"""What every detector is: fit, score, explain; and what a score above its limit means."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self, runtime_checkable
from zoneinfo import ZoneInfo

import numpy as np

from gateway.domain.errors import BadInputError
from tinymodels.detect.minutes import Floats, Minutes, Row, Times


class FitRefusedError(BadInputError):
    """There is not enough, or not enough varied, history: wait for more data."""


class ModelRefusedError(BadInputError):
    """These bytes are no model this version runs; the text names what is wrong with them."""


class Options(NamedTuple):
    """What a fit needs to know besides the data.

    `alarms_per_month` is this channel's share of the house's budget. `voltage` False leaves
    voltage out: it is common to a meter's channels, so one channel should answer for it.
    `seed` is for kinds that draw random numbers; the same seed gives the same bytes.
    """

    zone: ZoneInfo
    alarms_per_month: float
    voltage: bool = True
    seed: int = 1


class Verdict(NamedTuple):
    """A step's score; `above`: it is beyond the model's limit.

    `parts`: the scores of the model's families, where it has several; the score is the greatest.
    """

    score: float
    above: bool
    parts: tuple[float, ...] = ()

    @property
    def families(self) -> tuple[float, ...]:
        """Return what an alarm takes in: the score of each family, at least of one."""
        return self.parts or (self.score,)


class Explanation(NamedTuple):
    """Which feature moved most, in its natural unit ("" = none), from `expected` to `value`.

    `since_ms` is when it left its usual band, as far as the state remembers; `sigmas` is how
    far it is away now; `like`: the known fault that it looks like (FaultName), "" = none.
    """

    feature: str
    value: float
    expected: float
    unit: str
    since_ms: int
    sigmas: float
    like: str = ""


class Model(Protocol):
    """A fitted detector: frozen and serialisable; what it remembers is in a state apart.

    Scores are at least 0, comparable over time, and NaN only where the model is broken.
    """

    kind: ClassVar[str]

    @property
    def step_ms(self) -> int:
        """How much time one score covers; scores are at the starts of such steps (UTC)."""

    @property
    def limit(self) -> float:
        """The score above which a step counts."""

    @property
    def clear_limit(self) -> float:
        """The score below which all is usual again; at most `limit`."""

    @property
    def trained(self) -> tuple[int, int]:
        """From when to when (UTC ms) the data is that it was fitted on."""

    def with_limit(self, limit: float) -> Self:
        """Return the same model with another limit, for another budget of false alarms."""

    def to_bytes(self) -> bytes:
        """Return the model; equal models give equal bytes."""

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the model, or raise ModelRefusedError: it must be fitted anew."""

    def new_state(self) -> Any:  # noqa: ANN401 - each kind has its own
        """Return what to hand to `step` first. Only `step` changes it."""

    def dump_state(self, state: Any) -> bytes:  # noqa: ANN401
        """Return the state for a snapshot."""

    def load_state(self, body: bytes) -> Any:  # noqa: ANN401
        """Return a dumped state; one that does not fit this model gives a new one."""

    def step(self, state: Any, row: Row) -> Verdict | None:  # noqa: ANN401
        """Take in one minute; return the verdict on the step that it shows to be over, if any.

        A step is over when a minute after it comes.
        """

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return the starts and scores of all steps: those `step` gives, to rounding."""

    def explain(self, state: Any) -> Explanation:  # noqa: ANN401
        """Say why the last score is what it is."""


@runtime_checkable
class HasFamilies(Protocol):
    """A model whose score is the greatest of several, each of which raises an alarm by itself."""

    def score_families(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return the starts of all steps and their scores by family, shape (step, family)."""

    def judge_families(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return the same of blocks whose features are known already."""

    def explain_family(self, state: Any, family: int) -> Explanation:  # noqa: ANN401
        """Say why the last score of one family is what it is."""


def scored(model: Model, minutes: Minutes) -> tuple[Times, Floats]:
    """Return starts and scores for `events`: by family where the model has several."""
    return model.score_families(minutes) if isinstance(model, HasFamilies) else model.score(minutes)


class Fitter(Protocol):
    """Makes models of one kind."""

    def fit(self, minutes: Minutes, options: Options) -> Model:
        """Fit on the usual minutes of one channel (alert periods left out).

        Deterministic in its arguments. Raise FitRefusedError where there is too little history.
        """


# -- from scores to events -----------------------------------------------------------------------

CLEAR_MS = 3_600_000  # below the clear limit for so long, and an event is over
MERGE_MS = 6 * CLEAR_MS  # for counting: events closer than this are one


# An alarm that is on hides what comes beside it, unless that is told apart: a score of so many
# times what was reached some hours before is something new, and raised as such (chosen of 1.25,
# 1.5 and 2 on a month before those of the judgement). So is a family's that was usual until now.
# Within MERGE_MS of the last raise both are taken for effects of one cause: with two hours or none
# heaters in months before those of the judgement had a third more alerts, and no more were found.
AGAIN: Final = 1.5
BEFORE_MS: Final = (6 * CLEAR_MS, 2 * CLEAR_MS)  # from when to when it was reached
FINE_MS: Final = CLEAR_MS  # of steps as long as this or longer none is told apart
OFF: Final = -1  # instead of how long it has been quiet


class Event(NamedTuple):
    """A span in which a score was beyond its limit; `to_ms` is when it was told to be over.

    `anew`: it takes the place of one that was still on.
    """

    from_ms: int
    to_ms: int
    peak: float
    anew: bool = False


class Alarm:
    """From scores to one condition: on above the limit, off after an hour below `clear_limit`.

    Each family of scores is on or off by itself, and the alarm is on while any of them is.
    `begins` tells whether the last step raised it, or raised it anew: while it is on, and six
    hours or more after it was raised last, a family that was off goes above the limit, or one
    reaches AGAIN times what it reached hours before. `family` is the one that raised it last.
    The daemon and the evaluation use this same class, so that both count the same events.
    """

    __slots__ = ("age_ms", "begins", "family", "quiet_ms", "scores")

    def __init__(
        self,
        quiet_ms: Sequence[int] = (),
        *,
        age_ms: int = 0,
        scores: Sequence[float] = (),
        family: int = 0,
    ) -> None:
        """Go on from what was remembered; `quiet_ms` of (0,) is one that is on, whatever of."""
        self.quiet_ms = list(quiet_ms)  # by family, since when below the clear limit; OFF
        self.age_ms = age_ms  # since it was raised last
        # Of the last hours in which it was on, all families of a step side by side; no others
        # are asked for.
        self.scores = list(scores)
        self.family = family
        self.begins = False

    @property
    def on(self) -> bool:
        """Tell whether the condition holds."""
        return any(quiet_ms != OFF for quiet_ms in self.quiet_ms)

    def step(self, model: Model, scores: Sequence[float]) -> bool:
        """Take in one step's scores, by family; return whether the condition holds."""
        self._fit(len(scores))
        was = self.on
        self.age_ms += model.step_ms
        new = [at for at, score in enumerate(scores) if self._raises(model, at, score)]
        if not was:
            new = [at for at, quiet_ms in enumerate(self.quiet_ms) if quiet_ms != OFF]
        self.begins = bool(new)
        if new:
            self.age_ms = 0
            self.family = max(new, key=lambda at: scores[at])
        first, _ = _before(model.step_ms)
        kept = first * len(scores)
        self.scores = [*self.scores, *scores][-kept:] if kept and self.on else []
        return self.on

    def _fit(self, count: int) -> None:
        """Take over what another number of families left: whichever they were, all are on."""
        if len(self.quiet_ms) != count:
            quiet_ms = min((one for one in self.quiet_ms if one != OFF), default=OFF)
            self.quiet_ms = [quiet_ms] * count
            self.scores = []

    def _raises(self, model: Model, at: int, score: float) -> bool:
        """Take in one family's score; return whether it raises anew an alarm that is on."""
        quiet_ms = self.quiet_ms[at]
        if score > model.limit:
            self.quiet_ms[at] = 0
            if self.age_ms < MERGE_MS:
                return False
            return quiet_ms == OFF or score > AGAIN * self._reached(model.step_ms, at)
        if quiet_ms != OFF:
            quiet_ms = quiet_ms + model.step_ms if score < model.clear_limit else 0
            self.quiet_ms[at] = quiet_ms if quiet_ms < CLEAR_MS else OFF
        return False

    def _reached(self, step_ms: int, at: int) -> float:
        """Return a family's greatest score of some hours ago, inf where it is not known."""
        first, last = _before(step_ms)
        if not first:
            return math.inf
        known = self.scores[at :: len(self.quiet_ms)]
        return max(known[-first : len(known) - last + 1], default=math.inf)


def _before(step_ms: int) -> tuple[int, int]:
    """Return from and to how many steps ago a score is looked for, (0, 0): it is not."""
    if step_ms >= FINE_MS:
        return 0, 0
    return BEFORE_MS[0] // step_ms, BEFORE_MS[1] // step_ms


def reached_before(scores: Floats, step_ms: int) -> Floats:
    """Return of each step what `Alarm` knows of the hours before it: for `events`.

    In the shape of the scores: (step,) or (step, family).
    """
    first, last = _before(step_ms)
    if not first or len(scores) <= last:
        return np.full(scores.shape, math.inf)
    unknown = np.full((first, *scores.shape[1:]), -math.inf)
    most = np.concatenate((unknown, scores[: len(scores) - last]))
    width, wanted = 1, first - last + 1
    while width < wanted:  # the greatest of so many, of twice as many, …
        more = min(width, wanted - width)
        most = np.maximum(most[more:], most[:-more])
        width += more
    return np.where(np.isneginf(most), math.inf, most)


def events(
    model: Model, start_ms: Times, scores: Floats, reached: Floats | None = None
) -> list[Event]:
    """Return the events of a series of scores, as the daemon raises and clears them.

    Scores are (step,), or (step, family) as `scored` gives them. An event begins at the END of
    the step that was above: that is when anybody can know. `reached` is `reached_before` of
    these scores, for who has it already.
    """
    found: list[Event] = []
    if not len(scores):
        return found
    rows = scores.reshape(len(scores), -1)
    most = rows.max(axis=1)
    above = np.flatnonzero(most > model.limit).tolist()
    if not above:
        return found
    known = reached_before(scores, model.step_ms) if reached is None else reached
    pair = (rows, known.reshape(rows.shape))
    end = 0
    for begin in above:
        if begin < end:
            continue
        begins, end = _spell(model, pair, begin)
        last = min(end, len(rows) - 1)  # still on at the end of the series: told of until there
        edges = [*begins, last]
        for first, until in pairwise(edges):
            from_ms, to_ms = (int(start_ms[at]) + model.step_ms for at in (first, until))
            peak = float(most[first : until + 1].max())
            found.append(Event(from_ms, to_ms, peak, anew=first != begin))
        end += 1
    return found


def _spell(model: Model, pair: tuple[Floats, Floats], begin: int) -> tuple[list[int], int]:
    """Return the steps at which an alarm is raised, once and anew, and the one at which it ends.

    `pair`: the scores, and what was reached before them.
    """
    begins, (rows, reached) = [begin], pair
    limit, clear, step_ms = model.limit, model.clear_limit, model.step_ms
    quiet = [0 if score > limit else OFF for score in rows[begin].tolist()]
    for number in range(begin + 1, len(rows)):
        aged, raised = (number - begins[-1]) * step_ms >= MERGE_MS, False
        for at, score in enumerate(rows[number].tolist()):
            if score > limit:
                new = aged and (quiet[at] == OFF or score > AGAIN * float(reached[number, at]))
                raised = raised or new
                quiet[at] = 0
            elif quiet[at] != OFF:
                quiet_ms = quiet[at] + step_ms if score < clear else 0
                quiet[at] = quiet_ms if quiet_ms < CLEAR_MS else OFF
        if raised:
            begins.append(number)
        elif max(quiet) == OFF:
            return begins, number
    return begins, len(rows)


def merged(found: Sequence[Event], within_ms: int = MERGE_MS) -> list[Event]:
    """Return events with those closer than `within_ms` made one: what a budget counts.

    One that took another's place counts by itself when it began so long after that one.
    """
    out: list[Event] = []
    begun_ms = 0
    for event in found:
        since_ms = begun_ms if event.anew else (out[-1].to_ms if out else 0)
        begun_ms = event.from_ms
        if out and event.from_ms - since_ms < within_ms:
            last = out.pop()
            peak = max(last.peak, event.peak)
            out.append(Event(last.from_ms, event.to_ms, peak, last.anew))
        else:
            out.append(event)
    return out
