"""What sending to the cloud needs from the gateway and from a cloud."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cloud_sync.documents import Document
from gateway.services.cloud_feed import (
    AlertEntry,
    Backlog,
    DayFacts,
    DeadDocument,
    Due,
    DueKind,
    DueQuery,
    GapFacts,
    MeterFacts,
    Minutes,
    Usage,
)


class Clock(Protocol):
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds: for labels only."""

    def mono_s(self) -> float:
        """Return monotonic seconds."""

    def trusted(self) -> bool:
        """Tell whether the wall clock may be believed."""


class Receipt(NamedTuple):
    """What the cloud confirms of a batch: its own time, to compare clocks with."""

    server_ms: int


class Cloud(Protocol):
    """A place for documents. Raises the errors of `cloud_sync.errors`, and no others."""

    async def put(self, documents: Sequence[Document], timeout_s: float) -> Receipt:
        """Write documents whole under their paths: all of them, or none."""

    async def close(self) -> None:
        """Give up what is under way and disconnect."""


class Feed(Protocol):
    """What the gateway holds and the cloud lacks; all methods raise StorageError."""

    async def alerts(self, limit: int) -> list[AlertEntry]:
        """Return alerts that changed, oldest change first, with their history."""

    async def renewals(self, limit: int, wall_ms: int, wait_ms: int) -> list[AlertEntry]:
        """Return alerts that only last on and were noted so long ago, oldest first."""

    async def due(self, query: DueQuery) -> list[Due]:
        """Return what is due, oldest first."""

    async def due_between(self, kind: DueKind, meter_no: int, span: tuple[int, int]) -> list[Due]:
        """Return what is due of one meter with a start in [from, to)."""

    async def take(self, entries: Sequence[Due]) -> None:
        """Mark entries as being sent: what changes from now on is due again."""

    async def note(self, entries: Sequence[Due]) -> None:
        """Make entries due."""

    async def spans(self, meter_no: int, day: int) -> bytes:
        """Return for each quarter of a UTC day in which kind of document it is (0: in none)."""

    async def confirm(
        self, entries: Sequence[tuple[Due, int]], alerts: Sequence[AlertEntry],
        usage: Sequence[Usage],
    ) -> None:  # fmt: skip
        """Forget what is safe now, note each quarter's kind of document, and count, as one."""

    async def bury(
        self, entries: Sequence[Due], alerts: Sequence[AlertEntry], dead: DeadDocument
    ) -> None:
        """Set a document aside that the cloud refuses for ever."""

    async def digest(self, path: str) -> bytes:
        """Return what was last confirmed of a document that is only sent when it changed."""

    async def digests(self, prefix: str) -> dict[str, bytes]:
        """Return what was last confirmed of such documents, by path, below a prefix."""

    async def keep_digest(self, path: str, digest: bytes) -> None:
        """Remember what was confirmed of such a document."""

    async def usage(self, from_day: int, to_day: int) -> list[Usage]:
        """Return what was written on UTC days from … to, both included."""

    async def count(self, usage: Sequence[Usage]) -> None:
        """Add to what was written."""

    async def backlog(self) -> Backlog:
        """Return what waits."""

    async def dead(self, limit: int) -> list[DeadDocument]:
        """Return the newest documents that were set aside."""

    async def meters(self) -> list[MeterFacts]:
        """Return all meters, removed ones too."""

    async def minutes(self, meter_no: int, start_ms: int, end_ms: int) -> Minutes:
        """Return a meter's 1-minute buckets in [start, end)."""

    async def day(self, meter_no: int, start_ms: int) -> DayFacts:
        """Return the rollups of the local day that begins at `start_ms`."""

    async def gaps(self, meter_no: int, limit: int) -> GapFacts:
        """Return a meter's newest gaps, and how many windows are missing in all."""
