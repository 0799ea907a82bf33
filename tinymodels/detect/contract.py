"""What every detector is: fit, score, explain; and what a score above its limit means."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self
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
    """A step's score; `above`: it is beyond the model's limit."""

    score: float
    above: bool


class Explanation(NamedTuple):
    """Which feature moved most, in its natural unit ("" = none), from `expected` to `value`.

    `since_ms` is when it left its usual band, as far as the state remembers; `sigmas` is how
    far it is away now.
    """

    feature: str
    value: float
    expected: float
    unit: str
    since_ms: int
    sigmas: float


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
# 1.5 and 2 on a month before those of the judgement).
AGAIN: Final = 1.5
BEFORE_MS: Final = (6 * CLEAR_MS, 2 * CLEAR_MS)  # from when to when it was reached
FINE_MS: Final = CLEAR_MS  # of steps as long as this or longer none is told apart


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

    `begins` tells whether the last step raised it, or raised it anew: while it is on a score of
    AGAIN times what was reached hours before, six hours or more after it was raised last. The
    daemon and the evaluation use this same class, so that both count the same events.
    """

    __slots__ = ("age_ms", "begins", "on", "quiet_ms", "scores")

    def __init__(
        self, *, on: bool = False, quiet_ms: int = 0, age_ms: int = 0, scores: Sequence[float] = ()
    ) -> None:
        self.on = on
        self.quiet_ms = quiet_ms
        self.age_ms = age_ms  # since it was raised last
        self.scores = list(scores)  # of the last hours in which it was on; no others are asked for
        self.begins = False

    def step(self, model: Model, score: float) -> bool:
        """Take in one step's score; return whether the condition holds."""
        was, reached = self.on, self._reached(model.step_ms)
        if score > model.limit:
            self.on, self.quiet_ms = True, 0
        elif self.on:
            self.quiet_ms = self.quiet_ms + model.step_ms if score < model.clear_limit else 0
            self.on = self.quiet_ms < CLEAR_MS
        self.age_ms += model.step_ms
        new = was and self.age_ms >= MERGE_MS and score > max(model.limit, AGAIN * reached)
        self.begins = self.on and (new or not was)
        if self.begins:
            self.age_ms = 0
        first, _ = _before(model.step_ms)
        self.scores = [*self.scores, score][-first:] if first and self.on else []
        return self.on

    def _reached(self, step_ms: int) -> float:
        """Return the greatest score of some hours ago, inf where it is not known."""
        first, last = _before(step_ms)
        known = self.scores[-first : len(self.scores) - last + 1] if first else []
        return max(known, default=math.inf)


def _before(step_ms: int) -> tuple[int, int]:
    """Return from and to how many steps ago a score is looked for, (0, 0): it is not."""
    if step_ms >= FINE_MS:
        return 0, 0
    return BEFORE_MS[0] // step_ms, BEFORE_MS[1] // step_ms


def reached_before(scores: Floats, step_ms: int) -> Floats:
    """Return of each step what `Alarm` knows of the hours before it: for `events`."""
    first, last = _before(step_ms)
    if not first or len(scores) <= last:
        return np.full(len(scores), math.inf)
    most = np.concatenate((np.full(first, -math.inf), scores[: len(scores) - last]))
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

    An event begins at the END of the step that was above: that is when anybody can know.
    `reached` is `reached_before` of these scores, for who has it already.
    """
    found: list[Event] = []
    above = np.flatnonzero(scores > model.limit).tolist()
    if not above:
        return found
    values = scores.tolist()
    known = reached_before(scores, model.step_ms) if reached is None else reached
    before = known.tolist()
    end = 0
    for begin in above:
        if begin < end:
            continue
        begins, end = _spell(model, values, before, begin)
        last = min(end, len(values) - 1)  # still on at the end of the series: told of until there
        edges = [*begins, last]
        for first, until in pairwise(edges):
            from_ms, to_ms = (int(start_ms[at]) + model.step_ms for at in (first, until))
            peak = max(values[first : until + 1])
            found.append(Event(from_ms, to_ms, peak, anew=first != begin))
        end += 1
    return found


def _spell(
    model: Model, scores: Sequence[float], reached: Sequence[float], begin: int
) -> tuple[list[int], int]:
    """Return the steps at which an alarm is raised, once and anew, and the one at which it ends."""
    begins, quiet, limit, clear = [begin], 0, model.limit, model.clear_limit
    step_ms = model.step_ms
    for number in range(begin + 1, len(scores)):
        score = scores[number]
        if score > limit:
            quiet = 0
            aged = (number - begins[-1]) * step_ms >= MERGE_MS
            if aged and score > AGAIN * reached[number]:
                begins.append(number)
        else:
            quiet = quiet + step_ms if score < clear else 0
            if quiet >= CLEAR_MS:
                return begins, number
    return begins, len(scores)


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
