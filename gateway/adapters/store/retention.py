"""Retire raw readings segment by segment, on SQLite."""

import sqlite3

import msgspec

from gateway.adapters.store import cloud_due
from gateway.adapters.store.archive import hold_for_archive
from gateway.adapters.store.capacity import read_space
from gateway.adapters.store.database import Database
from gateway.adapters.store.positions import read_looked_at
from gateway.adapters.store.schema import RESOLUTIONS_MS, SEGMENT_BITS
from gateway.adapters.store.series import THINNED_UNTIL
from gateway.services.retention import AgeMark, Space

MARKS = "retention_marks"  # key in meta
DAY_MS = RESOLUTIONS_MS["1d"]


class SqlRetentionStore:
    """Satisfies `RetentionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_row(self) -> int:
        """Return the number of the newest reading, 0 for none."""
        query = "SELECT coalesce(max(row), 0) FROM readings"
        return int((await self._database.read(lambda db: db.execute(query).fetchone()))[0])

    async def load_marks(self) -> list[AgeMark]:
        """Return the marks that were saved, oldest first."""
        query = "SELECT value FROM meta WHERE key = ?"
        row = await self._database.read(lambda db: db.execute(query, (MARKS,)).fetchone())
        return [] if row is None else msgspec.json.decode(row[0], type=list[AgeMark])

    async def save_marks(self, marks: list[AgeMark]) -> None:
        """Keep these marks in place of the saved ones."""
        text = msgspec.json.encode(marks).decode()
        query = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        await self._database.write(lambda db: db.execute(query, (MARKS, text)).rowcount)

    async def space(self) -> Space:
        """Measure the database and its disk; StorageError when the disk does not answer."""
        return await self._database.read(lambda db: read_space(db, self._database.path))

    async def retire(self, upto_row: int | None, most_segments: int) -> int:
        """Delete the oldest segments that are closed, judged, and end at or before a row.

        Nothing is written when there is none: a disk that fails would seem to have been healed.
        """
        if await self._database.read(lambda db: _next_to_go(db, upto_row)) is None:
            return 0
        return await self._database.write(lambda db: _retire(db, upto_row, most_segments))

    async def thin(self) -> int:
        """Delete the oldest day of 1-minute intervals, if it is over by two days."""
        return await self._database.write(_thin)


def _thin(db: sqlite3.Connection) -> int:
    oldest, newest = db.execute("SELECT min(start_ms), max(start_ms) FROM rollup_1m").fetchone()
    if oldest is None:
        return 0
    until_ms = (oldest // DAY_MS + 1) * DAY_MS
    if newest < until_ms + 2 * DAY_MS:
        return 0
    # The finest that charts may choose for a span that begins earlier is the quarter hour.
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (THINNED_UNTIL, str(until_ms)))
    # What the cloud and the archive hold of that time stays: it is more than the store has.
    with cloud_due.unchanged(db, oldest, until_ms - 1):
        gone = db.execute("DELETE FROM rollup_1m WHERE start_ms < ?", (until_ms,)).rowcount
    cloud_due.give_up_minutes(db, until_ms)
    return gone


def _next_to_go(db: sqlite3.Connection, upto_row: int | None) -> int | None:
    """Return the oldest segment if it may go."""
    oldest = db.execute("SELECT min(segment) FROM segments").fetchone()[0]
    if oldest is None:
        return None
    limit = read_looked_at(db)
    waiting = db.execute("SELECT min(first_row) FROM unplaced").fetchone()[0]
    if waiting is not None:
        limit = min(limit, waiting - 1)
    if upto_row is not None:
        limit = min(limit, upto_row)
    if ((oldest + 1) << SEGMENT_BITS) - 1 > limit:
        return None
    # Age alone retires nothing that the archive lacks; a full disk does.
    if upto_row is not None and hold_for_archive(db, oldest):
        return None
    return int(oldest)


def _retire(db: sqlite3.Connection, upto_row: int | None, most: int) -> int:
    gone = 0
    while gone < most and (oldest := _next_to_go(db, upto_row)) is not None:
        first, after = oldest << SEGMENT_BITS, (oldest + 1) << SEGMENT_BITS
        _note_retired(db, first, after)
        db.execute("DELETE FROM readings WHERE row >= ? AND row < ?", (first, after))
        db.execute("DELETE FROM segments WHERE segment = ?", (oldest,))
        gone += 1
    return gone


def _note_retired(db: sqlite3.Connection, first: int, after: int) -> None:
    """Note up to when a meter's raw readings may be missing: no rollup before can be rebuilt."""
    db.execute(
        "INSERT INTO meta SELECT 'retired_until_ms:' || meter_no, max(at_ms)"
        " FROM readings JOIN boots ON no = boot_no WHERE row >= ? AND row < ? AND at_ms NOT NULL"
        " GROUP BY meter_no ON CONFLICT (key) DO UPDATE SET"
        " value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
        (first, after),
    )
