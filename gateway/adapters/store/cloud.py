"""What the cloud reads and confirms, on SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

from gateway.adapters.store import cloud_due, rollups, schema_cloud
from gateway.adapters.store.alerts import RENEWAL, load_alerts, taken_back
from gateway.adapters.store.database import Database, Work
from gateway.adapters.store.export import ChannelReader
from gateway.adapters.store.gap_spans import gap_spans
from gateway.domain.alerts import HistoryEntry
from gateway.pipeline.rollups import Bucket, Calendar
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
from gateway.services.exporting import Target

T = TypeVar("T")
FOREVER_MS = 2**53
# Behind a position so far past an interval, nothing of it is in memory only.
WRITTEN_AFTER_MS = 7_200_000
MOST_HISTORY = 100


class SqlCloudFeed:
    """Satisfies `Feed` of the uploader; safe beside intake and judging."""

    def __init__(self, database: Database, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone

    async def _read(self, work: Work[T]) -> T:
        return await self._database.read(work)

    def arm_now(self, kinds: Sequence[DueKind], backfill_from_ms: int) -> int:
        """Note from now on what makes these kinds due; return how much older data is. Blocks."""

        def work(db: sqlite3.Connection) -> int:
            return schema_cloud.arm(db, kinds, backfill_from_ms=backfill_from_ms)

        return self._database.write_now(work)

    async def alerts(self, limit: int) -> list[AlertEntry]:
        """Return alerts that changed, oldest change first, with their history."""
        return await self._read(lambda db: _alerts(db, "kind = 'alert'", (), limit))

    async def renewals(self, limit: int, wall_ms: int, wait_ms: int) -> list[AlertEntry]:
        """Return alerts that only last on and were noted so long ago, oldest first."""
        where = "kind = ? AND (created_ms <= ? OR created_ms > ?)"
        values = (RENEWAL, wall_ms - wait_ms, wall_ms + cloud_due.AHEAD_MS)
        return await self._read(lambda db: _alerts(db, where, values, limit))

    async def due(self, query: DueQuery) -> list[Due]:
        """Return what is due, oldest first."""
        return await self._read(lambda db: cloud_due.find_due(db, query))

    async def due_between(self, kind: DueKind, meter_no: int, span: tuple[int, int]) -> list[Due]:
        """Return what is due of one meter with a start in [from, to)."""
        return await self._read(lambda db: cloud_due.find_between(db, kind, meter_no, span))

    async def take(self, entries: Sequence[Due]) -> None:
        """Mark entries as being sent."""
        await self._database.write(lambda db: cloud_due.take(db, entries))

    async def note(self, entries: Sequence[Due]) -> None:
        """Make entries due."""
        await self._database.write(lambda db: cloud_due.note(db, entries))

    async def spans(self, meter_no: int, day: int) -> bytes:
        """Return for each quarter of a UTC day in which kind of document it is."""
        return await self._read(lambda db: cloud_due.read_spans(db, meter_no, day))

    async def confirm(
        self, entries: Sequence[tuple[Due, int]], alerts: Sequence[AlertEntry],
        usage: Sequence[Usage],
    ) -> None:  # fmt: skip
        """Forget what is safe now, and count it, in one transaction."""

        def work(db: sqlite3.Connection) -> None:
            cloud_due.write_spans(db, [e for e in entries if e[0].kind is DueKind.QUARTER])
            cloud_due.forget(db, [entry for entry, _ in entries])
            db.executemany(
                "DELETE FROM outbox WHERE no = ? AND body = ?", [(a.no, a.body) for a in alerts]
            )
            cloud_due.count(db, usage)

        await self._database.write(work)

    async def bury(
        self, entries: Sequence[Due], alerts: Sequence[AlertEntry], dead: DeadDocument
    ) -> None:
        """Set a document aside that the cloud refuses for ever."""

        def work(db: sqlite3.Connection) -> None:
            cloud_due.forget(db, entries)
            db.executemany(
                "DELETE FROM outbox WHERE no = ? AND body = ?", [(a.no, a.body) for a in alerts]
            )
            cloud_due.bury(db, dead)

        await self._database.write(work)

    async def digest(self, path: str) -> bytes:
        """Return what was last confirmed of a document that is only sent when it changed."""
        query = "SELECT digest FROM cloud_digests WHERE path = ?"
        row = await self._read(lambda db: db.execute(query, (path,)).fetchone())
        return b"" if row is None else bytes(row[0])

    async def digests(self, prefix: str) -> dict[str, bytes]:
        """Return what was last confirmed of such documents, by path, below a prefix."""
        query = "SELECT path, digest FROM cloud_digests WHERE substr(path, 1, ?) = ?"
        values = (len(prefix), prefix)
        return dict(await self._read(lambda db: db.execute(query, values).fetchall()))

    async def keep_digest(self, path: str, digest: bytes) -> None:
        """Remember what was confirmed of such a document."""
        query = "INSERT OR REPLACE INTO cloud_digests VALUES (?,?)"
        await self._database.write(lambda db: db.execute(query, (path, digest)).rowcount)

    async def usage(self, from_day: int, to_day: int) -> list[Usage]:
        """Return what was written on days from … to, both included."""
        return await self._read(lambda db: cloud_due.read_usage(db, from_day, to_day))

    async def count(self, usage: Sequence[Usage]) -> None:
        """Add to what was written."""
        await self._database.write(lambda db: cloud_due.count(db, usage))

    async def backlog(self) -> Backlog:
        """Return what waits."""
        return await self._read(cloud_due.read_backlog)

    async def dead(self, limit: int) -> list[DeadDocument]:
        """Return the newest documents that were set aside."""
        return await self._read(lambda db: cloud_due.read_dead(db, limit))

    async def meters(self) -> list[MeterFacts]:
        """Return all meters, removed ones too: their history stays."""
        return await self._read(_meters)

    async def open_alerts(self) -> int:
        """Return how many alerts are not resolved."""
        query = "SELECT count(*) FROM alerts WHERE state != 'resolved'"
        return int((await self._read(lambda db: db.execute(query).fetchone()))[0])

    async def minutes(self, meter_no: int, start_ms: int, end_ms: int) -> Minutes:
        """Return a meter's 1-minute buckets in [start, end), what is not written yet included."""
        return await self._read(lambda db: self._minutes(db, meter_no, start_ms, end_ms))

    def _minutes(
        self, db: sqlite3.Connection, meter_no: int, start_ms: int, end_ms: int
    ) -> Minutes:
        found: Minutes = {}
        targets = _targets(db, meter_no)
        for target in targets:
            rows = list(rollups.read(db, target.channel_no, "1m", start_ms, end_ms))
            found[target.channel] = rows
        judged = db.execute("SELECT at_ms FROM judged WHERE meter_no = ?", (meter_no,)).fetchone()
        if targets and (judged is None or judged[0] < end_ms + WRITTEN_AFTER_MS):
            unwritten = ChannelReader(db, self._zone).all_not_written(targets[0])
            for name, parts in unwritten.items():
                _add(found.setdefault(name, []), parts["1m"], start_ms, end_ms)
        return {name: rows for name, rows in found.items() if rows}

    async def day(self, meter_no: int, start_ms: int) -> DayFacts:
        """Return the rollups of the local day that begins at `start_ms`."""

        def work(db: sqlite3.Connection) -> DayFacts:
            reader, calendar = ChannelReader(db, self._zone), Calendar(self._zone)
            facts = DayFacts(start_ms, calendar.end_of("1d", start_ms), {}, {})
            for target in _targets(db, meter_no):
                for bucket in reader.rollups(target, "1d", start_ms, start_ms + 1):
                    facts.channels[target.channel] = bucket
                before = rollups.last_before(db, target.channel_no, start_ms)
                if before is not None:
                    facts.before[target.channel] = before
            return facts

        return await self._read(work)

    async def gaps(self, meter_no: int, limit: int) -> GapFacts:
        """Return a meter's newest gaps, and how many windows are missing in all."""

        def work(db: sqlite3.Connection) -> GapFacts:
            query = (
                "SELECT state, sum(last - first + 1) FROM gaps JOIN boots ON no = boot_no"
                " WHERE meter_no = ? GROUP BY state"
            )
            missing = dict(db.execute(query, (meter_no,)).fetchall())
            spans = gap_spans(db, meter_no, 0, FOREVER_MS)[-limit:]
            return GapFacts(spans, missing.get("provisional", 0), missing.get("final", 0))

        return await self._read(work)


def _add(rows: list[Bucket], parts: dict[int, Bucket], start_ms: int, end_ms: int) -> None:
    """Merge parts that begin in [start, end) into rows in time order."""
    known = {row.start_ms: row for row in rows}
    for at_ms, part in parts.items():
        if not start_ms <= at_ms < end_ms:
            continue
        if at_ms in known:
            known[at_ms].merge(part)
        else:
            rows.append(part)
    rows.sort(key=lambda row: row.start_ms)


def _targets(db: sqlite3.Connection, meter_no: int) -> list[Target]:
    query = "SELECT no, name FROM channels WHERE meter_no = ? ORDER BY name"
    return [Target(meter_no, no, name) for no, name in db.execute(query, (meter_no,))]


def _alerts(
    db: sqlite3.Connection, where: str, values: tuple[object, ...], limit: int
) -> list[AlertEntry]:
    query = f"SELECT no, key, body FROM outbox WHERE {where} ORDER BY no LIMIT ?"  # noqa: S608 - ours
    waiting = db.execute(query, (*values, limit)).fetchall()
    found = []
    for no, alert_id, body in waiting:
        kept = load_alerts(db, "WHERE id = ?", (alert_id,))
        alert, history = (kept[0], _history(db, alert_id)) if kept else taken_back(body)
        found.append(AlertEntry(no, body, alert, history))
    return found


def _history(db: sqlite3.Connection, alert_id: str) -> list[HistoryEntry]:
    rows = db.execute(
        "SELECT at_ms, who, what FROM alert_history WHERE alert_id = ? ORDER BY no DESC LIMIT ?",
        (alert_id, MOST_HISTORY),
    ).fetchall()
    return [HistoryEntry(*row) for row in reversed(rows)]


def _meters(db: sqlite3.Connection) -> list[MeterFacts]:
    channels: dict[int, dict[str, str]] = {}
    for meter_no, name, role in db.execute("SELECT meter_no, name, role FROM channels ORDER BY no"):
        channels.setdefault(meter_no, {})[name] = role
    query = (
        "SELECT no, id, label, ifnull(judged.at_ms, 0), online, removed_ms FROM meters"
        " LEFT JOIN judged ON meter_no = no ORDER BY no"
    )
    return [
        MeterFacts(
            no, meter, label, channels.get(no, {}), newest_ms, bool(online),
            max(0, cloud_due.doubtful_until_ms(db, no)), removed_ms is not None,
        )
        for no, meter, label, newest_ms, online, removed_ms in db.execute(query).fetchall()
    ]  # fmt: skip
