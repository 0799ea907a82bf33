"""Read one channel's history out of SQLite, while the daemon runs or not."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from gateway.adapters.store import rollups, segments
from gateway.adapters.store.database import connect
from gateway.adapters.store.positions import read_looked_at
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.adapters.store.schema import refuse_newer
from gateway.domain.errors import ConfigError, NotFoundError
from gateway.domain.readings import Stored
from gateway.pipeline.rollups import RESOLUTIONS, Bucket, Calendar, Contribution, MeterRoll
from gateway.services.exporting import Target
from gateway.services.snapshots import LATE_MS, Snapshot

CHUNK_MS = 86_400_000  # readings are sorted in memory a day at a time
LONGEST_DT_MS = 86_400_000

Unwritten = dict[str, dict[int, Bucket]]  # resolution -> start -> part


class ChannelReader:
    """Satisfies `ExportStore` on a connection that somebody else keeps."""

    def __init__(self, db: sqlite3.Connection, zone: ZoneInfo) -> None:
        self._db = db
        self._calendar = Calendar(zone)

    def find(self, meter: str, channel: str) -> Target:
        """Return a channel; NotFoundError names the meter or channel that does not exist."""
        row = self._db.execute("SELECT no FROM meters WHERE id = ?", (meter,)).fetchone()
        if row is None:
            msg = f"--meter: no meter {meter!r}; see: wattwarden meters list"
            raise NotFoundError(msg)
        query = "SELECT name, no FROM channels WHERE meter_no = ? ORDER BY no"
        channels = dict(self._db.execute(query, row).fetchall())
        if channel not in channels:
            known = ", ".join(channels) or "none yet"
            msg = f"--channel: meter {meter} has no channel {channel!r}; it has: {known}"
            raise NotFoundError(msg)
        return Target(row[0], channels[channel], channel)

    def bounds(self, target: Target) -> tuple[int, int]:
        """Return a span [start, end) in ms that holds every reading of the meter."""
        low, high = self._db.execute(
            "SELECT min(first_at_ms), max(last_at_ms) FROM runs JOIN boots ON no = boot_no"
            " WHERE meter_no = ?",
            (target.meter_no,),
        ).fetchone()
        if low is None:
            return 0, 0
        marks = self._db.execute(
            "SELECT min(s.min_at_ms), max(s.max_at_ms) FROM segments s JOIN boots ON no = boot_no"
            " WHERE meter_no = ?",
            (target.meter_no,),
        ).fetchone()
        ends = [value for value in (low, high, *marks) if value is not None]
        return min(ends) - LONGEST_DT_MS, max(ends) + LONGEST_DT_MS

    def readings(self, target: Target, start_ms: int, end_ms: int) -> Iterator[Stored]:
        """Yield placed readings with start ≤ t < end, in time order, a day at a time."""
        low_ms, high_ms = self.bounds(target)
        at_ms, end_ms = max(start_ms, low_ms), min(end_ms, high_ms)
        while at_ms < end_ms:
            next_ms = min(at_ms + CHUNK_MS, end_ms)
            yield from self._chunk(target, at_ms, next_ms)
            at_ms = next_ms

    def _chunk(self, target: Target, start_ms: int, end_ms: int) -> list[Stored]:
        query = "SELECT no, boot FROM boots WHERE meter_no = ?"
        boots = dict(self._db.execute(query, (target.meter_no,)).fetchall())
        marks = ",".join("?" * len(boots))
        found: list[Stored] = []
        ranges = segments.ranges_by_time(self._db, list(boots), start_ms, end_ms)
        for low, high in ranges:
            rows = self._db.execute(
                f"SELECT {COLUMNS} FROM readings WHERE row >= ? AND row < ?"  # noqa: S608 - ours
                f" AND at_ms >= ? AND at_ms < ? AND boot_no IN ({marks})",
                (low, high, start_ms, end_ms, *boots),
            )
            found += [stored(row, "", boots[row[1]]) for row in rows]
        found.sort(key=lambda reading: (reading.at_ms, reading.row))
        return found

    def rollups(
        self, target: Target, resolution: str, start_ms: int, end_ms: int
    ) -> Iterator[Bucket]:
        """Yield intervals that begin in [start, end): written, open, and not judged yet.

        A rollup never lags (rule I): what is written, what the judging holds in memory as of
        its stored position, and the readings behind that position add up to all readings.
        """
        late = self.not_written(target)[resolution]
        inside = {s: part for s, part in late.items() if start_ms <= s < end_ms}
        for bucket in rollups.read(self._db, target.channel_no, resolution, start_ms, end_ms):
            for start in sorted(s for s in inside if s < bucket.start_ms):
                yield inside.pop(start)
            if (part := inside.pop(bucket.start_ms, None)) is not None:
                bucket.merge(part)
            yield bucket
        for start in sorted(inside):
            yield inside[start]

    def not_written(self, target: Target) -> Unwritten:
        """Return, by resolution and start, a channel's parts not in the tables yet."""
        return self.all_not_written(target).get(target.channel, {name: {} for name in RESOLUTIONS})

    def all_not_written(self, target: Target) -> dict[str, Unwritten]:
        """Return what `not_written` does for every channel of the target's meter."""
        roll, row, judged_ms = self._snapshot(target)
        parts: list[Contribution] = []
        query = (
            f"SELECT {COLUMNS} FROM readings WHERE row > ? AND at_ms IS NOT NULL"  # noqa: S608
            " AND boot_no IN (SELECT no FROM boots WHERE meter_no = ?) ORDER BY row"
        )
        for found in self._db.execute(query, (row, target.meter_no)):
            reading = stored(found, "", 0)
            late = judged_ms > 0 and reading.at_ms + LATE_MS < judged_ms
            judged_ms = max(judged_ms, reading.at_ms)
            roll.add(reading, parts, late=late)
        collected: dict[str, Unwritten] = {}
        for channel, resolution, bucket in (
            (p.channel, p.resolution, p.bucket) for p in (*parts, *roll.open_parts())
        ):
            own = collected.setdefault(channel, {name: {} for name in RESOLUTIONS})
            own[resolution].setdefault(bucket.start_ms, Bucket(bucket.start_ms)).merge(bucket)
        return collected

    def _snapshot(self, target: Target) -> tuple[MeterRoll, int, int]:
        """Return the rollups' memory as of the stored position, and that position."""
        query = "SELECT row, at_ms, state FROM judged WHERE meter_no = ?"
        found = self._db.execute(query, (target.meter_no,)).fetchone()
        if found is None:
            return MeterRoll(self._calendar), 0, 0
        snapshot = msgspec.msgpack.decode(found[2], type=Snapshot)
        # Behind its own position a silent meter has nothing up to where all were looked at.
        row = max(found[0], read_looked_at(self._db))
        return MeterRoll(self._calendar, snapshot.channels), row, found[1]


class SqlExportStore(ChannelReader):
    """Reads a database file beside a running daemon, or without one."""

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        """Open the file; ConfigError when there is none, SchemaTooNewError when it is newer."""
        if not path.exists():
            msg = f"storage.path: {path} does not exist; has the gateway ever run with it?"
            raise ConfigError(msg)
        db = connect(path, read_only=True)
        refuse_newer(db, str(path))
        super().__init__(db, zone)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def rollups(
        self, target: Target, resolution: str, start_ms: int, end_ms: int
    ) -> Iterator[Bucket]:
        """Yield intervals as `ChannelReader` does, all on one snapshot."""
        self._db.execute("BEGIN")
        try:
            yield from super().rollups(target, resolution, start_ms, end_ms)
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed: the reader left early
                self._db.execute("COMMIT")
