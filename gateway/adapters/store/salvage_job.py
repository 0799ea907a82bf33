"""Take over the history of a database that was set aside, a little at a time."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from gateway.adapters.store import cloud_due, rollups, salvage, segments
from gateway.adapters.store.database import Database
from gateway.adapters.store.salvage_plan import Plan
from gateway.adapters.store.schema import RESOLUTIONS_MS, SEGMENT_BITS
from gateway.domain.errors import StorageError, TransientError

log = structlog.get_logger()
T = TypeVar("T")
PAUSE_S = 0.25  # between two commits: the intake has the disk most of the time
CHUNK_ROWS = 512
LEAST_FREE_BYTES = 500_000_000  # history is not worth a full disk
FULL_LOOK_S = 600.0
NEVER_MS = -(2**62)
DAY_MS = 86_400_000
MOST_HOLES = 200
ORDER = ("1d", "1h", "15m", "1m")
SEGMENT_ROWS = 1 << SEGMENT_BITS
INSERT_READING = "INSERT OR IGNORE INTO readings VALUES (?,?,?,?,?,?,?,?,?,?,?)"


class Salvage:
    """The service; ends its work where everything readable has been copied, and then waits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Copy until done, then wait to be cancelled; TransientError when the disk fails."""
        try:
            plan = await self._database.read(Plan.load)
            if plan is not None:
                await self._copy(plan)
        except StorageError as error:
            msg = f"the history of a damaged database could not be taken over: {error}"
            raise TransientError(msg) from error
        await asyncio.Event().wait()

    async def _copy(self, plan: Plan) -> None:
        file = self._database.path.with_name(plan.file)
        if file.exists():
            async with _aside(file) as old:
                await self._copy_rollups(plan, old)
                while plan.below_row > 0:
                    await self._wait_for_room(file)
                    await self._copy_segment(plan, old)
        await self._database.write(plan.finish)
        log.info("history_taken_over", file=plan.file)

    async def _wait_for_room(self, file: Path) -> None:
        while shutil.disk_usage(file.parent).free < LEAST_FREE_BYTES:
            log.warning("history_waits_for_space", file=str(file))
            await asyncio.sleep(FULL_LOOK_S)
        await asyncio.sleep(PAUSE_S)

    async def _copy_rollups(self, plan: Plan, old: "_Aside") -> None:
        done = ORDER.index(plan.rollup) + 1 if plan.rollup else 0
        channels, span = await self._database.read(_bounds)
        for resolution in ORDER[done:]:
            # 1-minute rows of all channels lie together, the coarser ones by channel.
            for channel_no in [0] if resolution == "1m" else channels:
                if channel_no > plan.channel_no:
                    await self._copy_channel(plan, old, _Part(resolution, channel_no, *span))
            plan.rollup, plan.channel_no = resolution, -1
            await self._database.write(plan.save)

    async def _copy_channel(self, plan: Plan, old: "_Aside", part: "_Part") -> None:
        """Copy one channel's intervals; the last chunk's commit says that it is done."""
        holes: list[tuple[int, int]] = []
        first_ms = max(plan.start_ms, part.first_ms)
        found = salvage.rows_around(
            old.db, part.query(), first_ms, part.last_ms, part.step_ms(), holes
        )
        kept: list[salvage.Row] = []
        more = True
        while more:
            rows = await old.run(lambda: _take(found))
            more = len(rows) == CHUNK_ROWS
            kept += rows
            # Whole intervals only, for the place to go on from is a time.
            ready = [row for row in kept if not more or row[0] < kept[-1][0]]
            kept = kept[len(ready) :]
            plan.start_ms = kept[0][0] if kept else NEVER_MS
            if not more:
                plan.channel_no = part.channel_no
                plan.holes = [*plan.holes, *holes][:MOST_HOLES]
            await self._database.write(partial(_add, part.resolution, ready, plan))
            await asyncio.sleep(PAUSE_S if more else 0)

    async def _copy_segment(self, plan: Plan, old: "_Aside") -> None:
        """Copy the newest segment that is not here yet, and skip where there are none."""
        first = plan.below_row - SEGMENT_ROWS
        rows = salvage.rows_around(old.db, salvage.READINGS, first, plan.below_row - 1)
        while chunk := await old.run(lambda: _take(rows)):
            await self._database.write(partial(_put, chunk))
            await asyncio.sleep(PAUSE_S)
        query = f"SELECT max(row) FROM readings WHERE row < {first}"  # noqa: S608 - a number
        next_row = await old.run(lambda: salvage.highest(old.db, query))
        lowest = "SELECT min(row) FROM readings"
        oldest = await old.run(lambda: salvage.highest(old.db, lowest))
        plan.below_row = min(first, ((next_row >> SEGMENT_BITS) + 1) << SEGMENT_BITS)
        if next_row == 0:  # the end, or damage just there
            plan.below_row = first if first > oldest else 0
        await self._database.write(partial(_close_segment, first >> SEGMENT_BITS, plan))


class _Aside(NamedTuple):
    """A connection to the file that was set aside, and the one thread that may use it."""

    db: sqlite3.Connection
    thread: ThreadPoolExecutor

    async def run(self, work: Callable[[], T]) -> T:
        """Run what uses the connection."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)


@asynccontextmanager
async def _aside(file: Path) -> AsyncIterator[_Aside]:
    """Open the file for the time of a block; its thread closes it, behind what it still reads.

    Whoever is cancelled does not wait for the thread, and SQLite crashes where a connection is
    closed under a reader.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="salvage")
    try:
        loop = asyncio.get_running_loop()
        old = await loop.run_in_executor(thread, salvage.open_old, file)
        try:
            yield _Aside(old, thread)
        finally:
            thread.submit(old.close)
    finally:
        thread.shutdown(wait=False)


class _Part(NamedTuple):
    """One resolution of one channel (of all, for minutes), in [first, last]."""

    resolution: str
    channel_no: int
    first_ms: int
    last_ms: int

    def query(self) -> str:
        where = "" if self.resolution == "1m" else f" AND channel_no = {self.channel_no}"
        return (
            f"SELECT {rollups.FIELDS}, channel_no FROM rollup_{self.resolution}"  # noqa: S608
            f" WHERE start_ms >= ? AND start_ms <= ?{where} ORDER BY start_ms"
        )

    def step_ms(self) -> int:
        """Return what two starts differ by at least: a day begins at the zone's midnight."""
        return RESOLUTIONS_MS["15m" if self.resolution == "1d" else self.resolution]


def _take(rows: Iterator[salvage.Row]) -> list[salvage.Row]:
    return list(islice(rows, CHUNK_ROWS))


def _bounds(db: sqlite3.Connection) -> tuple[list[int], tuple[int, int]]:
    """Return the channels, and between which times there can be intervals."""
    channels = [int(row[0]) for row in db.execute("SELECT no FROM channels ORDER BY no")]
    first, last = db.execute("SELECT min(first_at_ms), max(last_at_ms) FROM runs").fetchone()
    return channels, ((first or 0) - 2 * DAY_MS, (last or 0) + DAY_MS)


def _add(resolution: str, rows: list[salvage.Row], plan: Plan, db: sqlite3.Connection) -> None:
    """Add intervals to what has come since: both are parts of the same sums."""
    if rows:
        with cloud_due.unchanged(db, rows[0][0], rows[-1][0]):
            db.executemany(rollups.UPSERTS[resolution], [(row[-1], *row[:-1]) for row in rows])
    plan.save(db)


def _put(rows: list[salvage.Row], db: sqlite3.Connection) -> None:
    db.executemany(INSERT_READING, rows)


def _close_segment(segment: int, plan: Plan, db: sqlite3.Connection) -> None:
    segments.summarise(db, segment)
    plan.save(db)
