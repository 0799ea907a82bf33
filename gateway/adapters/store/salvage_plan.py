"""How far the taking over of a damaged database has come; kept in the fresh one."""

import sqlite3
import time
from typing import Self

import msgspec

from gateway.adapters.store import cloud_due, schema_cloud

KEY = cloud_due.TAKING_OVER
NOTED_DAYS = 30  # of the time before the damage: as far as the cloud is told of by default
DAY_MS = 86_400_000
GUARD = "retired_until_ms:"


class Plan(msgspec.Struct):
    """Rollups come first, coarse ones before fine ones, then readings, the newest first."""

    file: str  # name of the file that was set aside, beside the database
    below_row: int = 0  # readings below this row are still to be copied
    rollup: str = ""  # the last resolution that is done
    channel_no: int = -1  # the last channel of the next resolution that is done
    start_ms: int = -(2**62)  # where the next interval begins
    retired: dict[str, str] = {}  # what `guard_rollups` replaced
    holes: list[tuple[int, int]] = []  # spans in which intervals could not be read
    due_lost: bool = False  # what was due for the cloud could not be read whole

    @classmethod
    def load(cls, db: sqlite3.Connection) -> Self | None:
        """Return the plan, None where nothing is to be taken over."""
        row = db.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=cls)

    def save(self, db: sqlite3.Connection) -> None:
        """Keep how far it is, in the transaction that brought it there."""
        text = msgspec.json.encode(self).decode()
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, text))

    def guard_rollups(self, db: sqlite3.Connection, old: sqlite3.Connection) -> None:
        """Have no interval computed again from readings that are not all here yet."""
        try:
            query = "SELECT key, value FROM meta WHERE key LIKE 'retired_until_ms:%'"
            self.retired = dict(old.execute(query).fetchall())
        except sqlite3.DatabaseError:
            self.retired = {}
        db.execute(
            f"INSERT OR REPLACE INTO meta SELECT '{GUARD}' || meter_no, max(last_at_ms)"  # noqa: S608
            " FROM runs JOIN boots ON no = boot_no WHERE last_at_ms NOT NULL GROUP BY meter_no"
        )
        now_ms = time.time_ns() // 1_000_000
        for (meter_no,) in db.execute("SELECT no FROM meters").fetchall():
            cloud_due.mark_doubtful(db, meter_no, now_ms)

    def finish(self, db: sqlite3.Connection) -> None:
        """Forget the plan; have intervals that were lost computed again from readings."""
        db.execute("DELETE FROM meta WHERE key = ? OR key LIKE ?", (KEY, f"{GUARD}%"))
        db.executemany("INSERT INTO meta VALUES (?, ?)", self.retired.items())
        db.executemany(
            "INSERT INTO dirty (meter_no, from_ms, to_ms) SELECT no, ?, ? FROM meters", self.holes
        )
        if self.due_lost:
            newest_ms = db.execute("SELECT max(last_at_ms) FROM runs").fetchone()[0] or 0
            schema_cloud.note_missing(db, newest_ms - NOTED_DAYS * DAY_MS)
