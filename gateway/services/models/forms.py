"""What is kept of models from elsewhere: the files, their trials, and what happened to them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

MODEL, DEVICE, FIRMWARE = "model", "device", "firmware"
EVERY_METER = "*"
LONGEST_WHY = 500
AT_FIRST_MINUTE = 1  # active from the minute that comes first: none has come so far


class PulledState(StrEnum):
    """How far a file from the repository has come."""

    VERIFIED = "verified"  # signed, whole, stored
    COMPATIBLE = "compatible"  # a model: runs here, and quickly enough
    ROLLING_OUT = "rolling_out"  # a bundle: on its way to meters
    REJECTED = "rejected"


class TrialState(StrEnum):
    """Where a model stands on one channel of one meter."""

    SHADOW = "shadow"  # scores beside the champion, raises nothing
    ACTIVE = "active"  # judges
    RETIRED = "retired"  # was active, and another one took its place
    ROLLED_BACK = "rolled_back"  # was active, and did harm
    REJECTED = "rejected"  # never became active


class Pulled(msgspec.Struct, frozen=True):
    """A file from the repository without its bytes.

    `unproven_ms`: it came while the clock could not be believed, and what vouches for it is good
    until then; None once that is settled. `step_us` is its time per minute of data, here.
    """

    no: int
    path: str
    sha256: str
    what: str
    kind: str
    meter: str
    channel: str
    version: int
    custom: Mapping[str, Any]
    pulled_ms: int
    unproven_ms: int | None
    state: PulledState
    why: str = ""
    step_us: float | None = None

    @property
    def family(self) -> tuple[str, str, str, str]:
        """Return what the versions of a file have in common."""
        return (self.what, self.kind, self.meter, self.channel)


class Facts(msgspec.Struct):
    """What a trial has shown, in the data's own time; goes on after a restart from here.

    Events are spans in which a model was alarmed, [from, to] in ms; `to` 0 while it lasts.
    `memory` is the model's own state. Nothing counts before it has seen a day: averages over a
    day that begin from nothing find the first hours unusual. `warmed` are those minutes, which
    come from what is stored where there is any.
    """

    from_ms: int = 0
    last_ms: int = 0
    minutes: int = 0
    steps: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    events: list[list[int]] = msgspec.field(default_factory=list)
    champion_events: list[list[int]] = msgspec.field(default_factory=list)
    step_us: float | None = None
    active_from_ms: int = 0  # by the data's time; 0: not active
    healthy: bool = False  # its first hours as the judge are over
    unclean_starts: int = 0  # of this program since it became active
    memory: bytes = b""
    warmed: int = 0


class Trial(msgspec.Struct, frozen=True):
    """One model on one channel of one meter; `since_ms` is when it came to this state."""

    pulled_no: int
    meter: str
    channel: str
    state: TrialState
    since_ms: int
    why: str
    facts: Facts

    @property
    def key(self) -> tuple[int, str, str]:
        """Return what names it."""
        return (self.pulled_no, self.meter, self.channel)


class Score(NamedTuple):
    """One step of a trial beside the champion's; NaN where one of them had none."""

    pulled_no: int
    meter: str
    channel: str
    start_ms: int
    score: float
    champion: float


class Happening(NamedTuple):
    """A step of a model's way, for ever: what happened, and why."""

    at_ms: int
    what: str
    path: str
    meter: str = ""
    channel: str = ""
    detail: str = ""


class Shelf(NamedTuple):
    """All that is stored, without bytes."""

    pulled: Sequence[Pulled]
    trials: Sequence[Trial]


class ModelStore(Protocol):
    """What models from elsewhere need of storage. Each call is one transaction.

    All raise StorageError.
    """

    async def load(self) -> Shelf:
        """Read what there is."""

    async def body(self, no: int) -> bytes:
        """Return a file's bytes; NotFoundError."""

    async def add(self, pulled: Pulled, body: bytes, told: Happening) -> int:
        """Store a new file and what is told of it; return its number."""

    async def change(
        self,
        told: Sequence[Happening],
        *,
        pulled: Pulled | None = None,
        trials: Sequence[Trial] = (),
    ) -> None:
        """Write what is told, a file's new state, and trials' new states, all or nothing."""

    async def keep_scores(self, scores: Sequence[Score], trials: Sequence[Trial]) -> None:
        """Add scores, and how far their trials are."""

    async def scores(self, trial: Trial) -> Sequence[tuple[int, float, float]]:
        """Return a trial's (start_ms, score, champion's score) in time order."""

    async def happenings(self, limit: int) -> Sequence[Happening]:
        """Return what happened last, the newest first."""

    async def note(self, key: str, value: str) -> None:
        """Keep a small text under a name."""

    async def noted(self) -> Mapping[str, str]:
        """Return all small texts."""
