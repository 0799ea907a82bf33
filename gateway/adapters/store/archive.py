"""What the archive reads and confirms, on SQLite: the hours of all meters in one pass."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.store import cloud_due, schema_cloud, segments
from gateway.adapters.store.database import Database
from gateway.adapters.store.export import ChannelReader
from gateway.adapters.store.readonly import snapshot
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.adapters.store.series import thinned_until_ms
from gateway.domain.readings import Stored
from gateway.pipeline.rollups import Bucket
from gateway.services.archiving import Hour, HourContent, Written
from gateway.services.cloud_feed import HOUR_MS, Due, DueKind, DueQuery
from gateway.services.exporting import Target


class SqlArchiveFeed:
    """Satisfies `ArchiveFeed` of the archiver, in the daemon."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, query: DueQuery) -> list[Due]:
        """Return hours that are due, oldest first."""
        return await self._database.read(lambda db: cloud_due.find_due(db, query))

    async def take(self, entries: Sequence[Due]) -> None:
        """Mark hours as being written."""
        await self._database.write(lambda db: cloud_due.take(db, entries))

    async def confirm(self, written: Sequence[Written]) -> None:
        """Forget hours whose files are safe."""

        def work(db: sqlite3.Connection) -> None:
            cloud_due.forget(db, [Due(DueKind.HOUR, *file.hour) for file in written])
            db.executemany(
                "INSERT INTO archived VALUES (?,?,?) ON CONFLICT (meter_no, start_ms)"
                " DO UPDATE SET last_row = max(last_row, excluded.last_row)",
                [(*file.hour, file.last_row) for file in written],
            )

        await self._database.write(work)


class SqlHourReader:
    """Satisfies `HourReader` on a file, beside a running daemon or without one."""

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self._path = path
        self._zone = zone

    def hours(self, wanted: Sequence[Hour], resolution: str) -> Iterator[HourContent]:
        """Yield the content of hours, oldest first, each hour's meters in one snapshot."""
        by_start: dict[int, set[int]] = {}
        for hour in wanted:
            by_start.setdefault(hour.start_ms, set()).add(hour.meter_no)
        for start_ms, meter_nos in sorted(by_start.items()):
            with snapshot(self._path) as db:
                found = list(self._hour(db, start_ms, meter_nos, resolution))
            yield from found

    def all_hours(self, meters: Sequence[str], start_ms: int, end_ms: int) -> list[Hour]:
        """Return every hour that has data in [start, end); of all meters where none is named."""
        marks = ",".join("?" * len(meters))
        where = f"AND id IN ({marks})" if meters else ""
        query = (
            "SELECT DISTINCT meter_no, start_ms - start_ms % ? FROM rollup_1m"  # noqa: S608 - ours
            " JOIN channels ON channels.no = channel_no JOIN meters ON meters.no = meter_no"
            f" WHERE start_ms >= ? AND start_ms < ? {where} ORDER BY 2, 1"
        )
        low_ms = start_ms - start_ms % HOUR_MS
        with snapshot(self._path) as db:
            rows = db.execute(query, (HOUR_MS, low_ms, end_ms, *meters)).fetchall()
        return [Hour(meter_no, start) for meter_no, start in rows]

    def _hour(
        self, db: sqlite3.Connection, start_ms: int, meter_nos: set[int], resolution: str
    ) -> Iterator[HourContent]:
        names = dict(db.execute("SELECT no, id FROM meters").fetchall())
        readings = _readings(db, start_ms, meter_nos) if resolution == "raw" else {}
        for meter_no in sorted(meter_nos):
            hour = Hour(meter_no, start_ms)
            own = readings.get(meter_no, [])
            intervals: dict[str, list[Bucket]] = {}
            late_row = None
            if resolution == "raw":
                own, late_row = _not_archived(db, hour, own)
            else:
                intervals = self._intervals(db, hour)
                # What a full disk cost is in its file: only what came later is stored yet.
                is_thinned = hour.start_ms < thinned_until_ms(db)
                late_row = 0 if is_thinned and _archived_row(db, hour) is not None else None
            last_row = max((reading.row for reading in own), default=0)
            yield HourContent(hour, names[meter_no], own, intervals, last_row, late_row)

    def _intervals(self, db: sqlite3.Connection, hour: Hour) -> dict[str, list[Bucket]]:
        reader = ChannelReader(db, self._zone)
        query = "SELECT no, name FROM channels WHERE meter_no = ? ORDER BY name"
        return {
            name: list(
                reader.rollups(
                    Target(hour.meter_no, no, name), "1m", hour.start_ms, hour.start_ms + HOUR_MS
                )
            )
            for no, name in db.execute(query, (hour.meter_no,)).fetchall()
        }


def _readings(
    db: sqlite3.Connection, start_ms: int, meter_nos: set[int]
) -> dict[int, list[Stored]]:
    """Return placed readings whose middle lies in the hour, as rollups count them, by meter."""
    marks = ",".join("?" * len(meter_nos))
    query = f"SELECT no, boot, meter_no FROM boots WHERE meter_no IN ({marks})"  # noqa: S608
    boots = {no: (boot, meter) for no, boot, meter in db.execute(query, sorted(meter_nos))}
    found: dict[int, list[Stored]] = {}
    if not boots:
        return found
    end_ms = start_ms + HOUR_MS
    own = ",".join("?" * len(boots))
    # A segment's bounds are of windows' begins and ends, so that they hold every middle too.
    for low, high in segments.ranges_by_time(db, list(boots), start_ms, end_ms):
        rows = db.execute(
            f"SELECT {COLUMNS} FROM readings WHERE row >= ? AND row < ? AND boot_no IN ({own})"  # noqa: S608
            " AND at_ms - dt_ms / 2 >= ? AND at_ms - dt_ms / 2 < ?",
            (low, high, *boots, start_ms, end_ms),
        )
        for row in rows:
            boot, meter_no = boots[row[1]]
            found.setdefault(meter_no, []).append(stored(row, "", boot))
    for readings in found.values():
        readings.sort(key=lambda reading: (reading.at_ms, reading.row))
    return found


def _not_archived(
    db: sqlite3.Connection, hour: Hour, readings: list[Stored]
) -> tuple[list[Stored], int | None]:
    """Return what belongs into an hour's file.

    Where readings of the hour were retired, or lost with a damaged database, their file stays as
    it is: only what came after it is returned, with the first row of it.
    """
    key = f"retired_until_ms:{hour.meter_no}"
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    doubtful_ms = cloud_due.doubtful_until_ms(db, hour.meter_no)
    gone_ms = doubtful_ms if row is None else max(doubtful_ms, int(row[0]))
    known = _archived_row(db, hour)
    if known is None or gone_ms < hour.start_ms:
        return readings, None
    fresh = [reading for reading in readings if reading.row > known]
    return fresh, min((reading.row for reading in fresh), default=None)


def _archived_row(db: sqlite3.Connection, hour: Hour) -> int | None:
    """Return the newest row that an hour's file covers, None where there is no file."""
    query = "SELECT last_row FROM archived WHERE meter_no = ? AND start_ms = ?"
    row = db.execute(query, hour).fetchone()
    return None if row is None else int(row[0])


def hold_for_archive(db: sqlite3.Connection, segment: int) -> bool:
    """Tell whether readings of a segment wait to be archived, so that their age is no reason yet.

    Never true while no archive is kept.
    """
    if DueKind.HOUR not in schema_cloud.wanted_kinds(db):
        return False
    row = db.execute(
        "SELECT 1 FROM segments s JOIN boots b ON b.no = s.boot_no JOIN cloud_due d"
        " ON d.kind = ? AND d.meter_no = b.meter_no"
        " AND d.start_ms > s.min_at_ms - ? AND d.start_ms <= s.max_at_ms"
        " WHERE s.segment = ? LIMIT 1",
        (DueKind.HOUR, HOUR_MS, segment),
    ).fetchone()
    return row is not None
