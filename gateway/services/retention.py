"""Rule L: the oldest raw readings go, then the oldest minutes; quarters, runs, alerts stay.

Space has run out at `storage.max_bytes`, or before it where the disk is smaller or holds other
things: a reserve stays free, so that intake never meets a full disk while old readings lie there.

Age is counted in days that the gateway ran, by the monotonic clock: a wall clock that ran away, or
a start in another year, must cost no reading. While it is off nothing grows old.
"""

import asyncio
from typing import NamedTuple, Protocol

import structlog

from gateway.domain.errors import StorageError, TransientError
from gateway.services.placer import Now

log = structlog.get_logger()
EVERY_S = 600.0  # the first time too: who has just started has better things to do
SPACE_EVERY_S = 5.0  # an import takes longer to fill the reserve
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SAVE_EVERY_MS = HOUR_MS  # what a crash makes the gateway count again, to the data's advantage
SEGMENTS_A_TURN = 8
# Half of what the alert about space asks for: people are told before the first reading goes, and
# what fills the disk for a day costs no more than this.
MOST_RESERVE_BYTES = 50_000_000
RESERVE_SHARE = 10  # of a small disk, a tenth


class Space(NamedTuple):
    """Bytes that the database takes, and where it could grow."""

    used: int  # pages in use
    spare: int  # free pages inside its file
    free: int  # left on its file system, what is under way to it already taken off
    total: int  # of its file system

    def room(self, max_bytes: int) -> int:
        """Return how many more bytes may be stored; below 0, so many must go."""
        reserve = min(MOST_RESERVE_BYTES, self.total // RESERVE_SHARE)
        return min(max_bytes - self.used, self.spare + self.free - reserve)


class AgeMark(NamedTuple):
    """The newest row when the gateway had run for so long in all."""

    running_ms: int
    row: int


class RetentionStore(Protocol):
    """What retention needs from storage."""

    async def newest_row(self) -> int:
        """Return the number of the newest reading, 0 for none."""

    async def load_marks(self) -> list[AgeMark]:
        """Return the marks that were saved, oldest first."""

    async def save_marks(self, marks: list[AgeMark]) -> None:
        """Keep these marks in place of the saved ones."""

    async def space(self) -> Space:
        """Measure the database and its disk; StorageError when the disk does not answer."""

    async def retire(self, upto_row: int | None, most_segments: int) -> int:
        """Delete the oldest judged segments that end at or before a row.

        None = whatever their age. Return how many segments went.
        """

    async def thin(self) -> int:
        """Delete the oldest day of 1-minute intervals that is over by two days.

        Its quarter hours stay. Return how many intervals went, 0 when there is no such day.
        """


class Retention:
    """The service; a little at a time, so that intake never waits."""

    def __init__(
        self,
        store: RetentionStore,
        now: Now,
        raw_days: int,
        max_bytes: int,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._now = now
        self._raw_ms = raw_days * DAY_MS
        self._max_bytes = max_bytes
        self._every_s = every_s
        self._marks: list[AgeMark] | None = None
        self._since_s = now.mono_s()  # when the newest mark was taken

    async def run(self) -> None:
        """Look every `every_s`, at space all the time; until cancelled.

        TransientError when the disk fails.
        """
        due_s = self._now.mono_s() + self._every_s
        while True:
            try:
                if self._now.mono_s() < due_s:
                    await self.make_room()
                else:
                    await self.look()
                    due_s = self._now.mono_s() + self._every_s
            except StorageError as error:
                msg = f"old readings could not be retired: {error}"
                raise TransientError(msg) from error
            await asyncio.sleep(min(SPACE_EVERY_S, self._every_s))

    async def look(self) -> int:
        """Retire what is too old or too much; return how many segments went."""
        gone = await self._retire_old()
        if gone:
            log.info("readings_retired", segments=gone)
        gone += await self.make_room()
        await self._thin()
        return gone

    async def make_room(self) -> int:
        """Retire the oldest readings while space is short; return how many segments went.

        One at a time: no more than is needed, in transactions that an almost full disk still takes.
        """
        gone = 0
        while await self._short() and (went := await self._store.retire(None, 1)):
            gone += went
            await asyncio.sleep(0.1)
        if gone:
            log.warning("readings_retired_for_space", segments=gone)
        return gone

    async def _short(self) -> bool:
        return (await self._store.space()).room(self._max_bytes) < 0

    async def _thin(self) -> None:
        """Where no raw reading is left to give, keep quarter hours instead of minutes."""
        gone = 0
        while await self._short() and (went := await self._store.thin()):
            gone += went
            await asyncio.sleep(0.1)
        if gone:
            log.info("minutes_retired", intervals=gone)

    async def _retire_old(self) -> int:
        old = await self._age()
        if old is None:
            return 0
        gone = 0
        while went := await self._store.retire(old.row, SEGMENTS_A_TURN):
            gone += went
            await asyncio.sleep(0.1)
        return gone

    async def _age(self) -> AgeMark | None:
        """Note how long the gateway has run; return the newest mark that is old enough."""
        if self._marks is None:
            self._marks = await self._store.load_marks()
        marks = self._marks
        passed_ms = round((self._now.mono_s() - self._since_s) * 1000)
        running_ms = passed_ms + (marks[-1].running_ms if marks else 0)
        if not marks or passed_ms >= SAVE_EVERY_MS:
            marks.append(AgeMark(running_ms, await self._store.newest_row()))
            self._since_s = self._now.mono_s()
            marks[:] = _thinned(marks, running_ms - self._raw_ms)
            await self._store.save_marks(marks)
        return marks[0] if marks[0].running_ms <= running_ms - self._raw_ms else None


def _thinned(marks: list[AgeMark], old_ms: int) -> list[AgeMark]:
    """Return the newest mark that is old enough, one a day behind it, and the last two."""
    first = max((at for at, mark in enumerate(marks) if mark.running_ms <= old_ms), default=0)
    kept = [marks[first]]
    for mark in marks[first + 1 : -2]:
        if mark.running_ms - kept[-1].running_ms >= DAY_MS:
            kept.append(mark)
    return kept + marks[first + 1 :][-2:]
