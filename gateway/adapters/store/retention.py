"""Retire raw readings segment by segment, on SQLite."""

import sqlite3

from gateway.adapters.store.database import Database
from gateway.adapters.store.deriving import read_looked_at
from gateway.adapters.store.schema import SEGMENT_BITS


class SqlRetentionStore:
    """Satisfies `RetentionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_received_ms(self) -> int | None:
        """Return when the newest reading was received."""
        query = "SELECT received_ms FROM readings ORDER BY row DESC LIMIT 1"
        row = await self._database.read(lambda db: db.execute(query).fetchone())
        return None if row is None else int(row[0])

    async def used_bytes(self) -> int:
        """Return what the database takes, free pages not counted."""

        def work(db: sqlite3.Connection) -> int:
            size, pages, free = (
                int(db.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_size", "page_count", "freelist_count")
            )
            return size * (pages - free)

        return await self._database.read(work)

    async def retire(self, received_before_ms: int | None, most_segments: int) -> int:
        """Delete the oldest segments that are closed, judged, and old enough."""
        return await self._database.write(lambda db: _retire(db, received_before_ms, most_segments))


def _retire(db: sqlite3.Connection, before_ms: int | None, most: int) -> int:
    judged = read_looked_at(db)
    waiting = db.execute("SELECT min(first_row) FROM unplaced").fetchone()[0]
    limit = judged if waiting is None else min(judged, waiting - 1)
    gone = 0
    while gone < most:
        oldest = db.execute("SELECT min(segment) FROM segments").fetchone()[0]
        if oldest is None:
            break
        first, after = oldest << SEGMENT_BITS, (oldest + 1) << SEGMENT_BITS
        newest = db.execute(
            "SELECT max(received_ms) FROM readings WHERE row >= ? AND row < ?", (first, after)
        ).fetchone()[0]
        if after - 1 > limit or (before_ms is not None and (newest or 0) >= before_ms):
            break
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
