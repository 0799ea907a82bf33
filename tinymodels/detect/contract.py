"""What every detector is: fit, score, explain."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self, runtime_checkable
from zoneinfo import ZoneInfo

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

    `parts`: the scores of the model's sources, where it has several; the score is the greatest.
    """

    score: float
    above: bool
    parts: tuple[float, ...] = ()

    @property
    def sources(self) -> tuple[float, ...]:
        """Return what an alarm takes in: the score of each source, at least of one."""
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


class Sources(NamedTuple):
    """The scores that a model is made of: their names, and of each the alarm that it raises.

    An alarm has families, which are on or off each by itself; sources of one family share it.
    `alarms_per_month` is what all of them together may raise, 0 where nobody counts; `fixed` are
    rules, which nothing makes louder or quieter. `first` is how much louder than at the limit one
    must be before anything is known of its alarms, as a logarithm; 0.0 for those that it lacks.
    """

    names: tuple[str, ...]
    families: tuple[int, ...]
    alarms_per_month: float = 0.0
    fixed: frozenset[str] = frozenset()
    first: Mapping[str, float] = MappingProxyType({})


@runtime_checkable
class HasSources(Protocol):
    """A model whose score is the greatest of several."""

    @property
    def sources(self) -> Sources:
        """What they are."""

    def score_sources(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return the starts of all steps and their scores by source, shape (step, source)."""

    def judge_sources(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return the same of blocks whose features are known already."""

    def explain_source(self, state: Any, source: int) -> Explanation:  # noqa: ANN401
        """Say why the last score of one source is what it is."""

    def allowing(self, alarms_per_month: float) -> Self:
        """Return the same model for another number of alarms; its limit is another matter."""


ONE: Final = Sources(("",), (0,))


def sources_of(model: Model) -> Sources:
    """Return a model's sources: one without a name where its score is all."""
    found: Sources = getattr(model, "sources", ONE)
    return found


def scored(model: Model, minutes: Minutes) -> tuple[Times, Floats]:
    """Return starts and scores as alarms take them: by source where the model has several."""
    return model.score_sources(minutes) if isinstance(model, HasSources) else model.score(minutes)


class Fitter(Protocol):
    """Makes models of one kind."""

    def fit(self, minutes: Minutes, options: Options) -> Model:
        """Fit on the usual minutes of one channel (alert periods left out).

        Deterministic in its arguments. Raise FitRefusedError where there is too little history.
        """
