"""Imports on SQLite, and the taking out of what one of them brought."""

import sqlite3
from typing import Any

import msgspec

from gateway.adapters.store import segments
from gateway.adapters.store.alerts import take_back
from gateway.adapters.store.database import Database
from gateway.adapters.store.schema import RESOLUTIONS_MS
from gateway.pipeline.registers import Register
from gateway.services.import_jobs import BUSY, ImportJob
from gateway.services.snapshots import Snapshot

DAY_MS = 86_400_000
SLICE_MS = 20 * DAY_MS  # of minute rollups that go in one step
ROWS_A_STEP = 16_384
DIRTY_DAYS = 7  # rebuilt in one piece
SEQ_END = 2**33
NEWEST = 2**62  # above every mark of an alert

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ImportJob).decode


class SqlImports:
    """Satisfies `ImportStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: ImportJob) -> ImportJob:
        """Keep a new import and return it with its number."""

        def work(db: sqlite3.Connection) -> ImportJob:
            row = db.execute("INSERT INTO imports (state, body) VALUES ('', '')").lastrowid
            numbered = msgspec.structs.replace(job, no=int(row or 0))
            _save(db, numbered)
            return numbered

        return await self._database.write(work)

    async def save(self, job: ImportJob) -> None:
        """Keep an import as it now is."""
        await self._database.write(lambda db: _save(db, job))

    async def get(self, no: int) -> ImportJob | None:
        """Return one import."""
        query = "SELECT body FROM imports WHERE no = ?"
        row = await self._database.read(lambda db: db.execute(query, (no,)).fetchone())
        return None if row is None else _decode(row[0])

    async def list_jobs(self, before: int | None, limit: int) -> list[ImportJob]:
        """Return imports, newest first, with numbers below `before`."""
        query = "SELECT body FROM imports WHERE no < ? ORDER BY no DESC LIMIT ?"
        values = (2**62 if before is None else before, limit)
        rows = await self._database.read(lambda db: db.execute(query, values).fetchall())
        return [_decode(row[0]) for row in rows]

    async def busy(self) -> list[ImportJob]:
        """Return those that have something to do, oldest first."""
        marks = ",".join("?" * len(BUSY))
        query = f"SELECT body FROM imports WHERE state IN ({marks}) ORDER BY no"  # noqa: S608 - ours
        rows = await self._database.read(lambda db: db.execute(query, BUSY).fetchall())
        return [_decode(row[0]) for row in rows]

    async def alert_mark(self) -> int:
        """Return the mark of the newest alert."""
        query = "SELECT ifnull(max(rowid), 0) FROM alerts"
        return int((await self._database.read(lambda db: db.execute(query).fetchone()))[0])

    async def count_alerts(self, job: ImportJob) -> int:
        """Return how many alerts an import brought: between its marks, or since it began."""
        return len(await self._database.read(lambda db: _alerts(db, job)))

    async def why_not_undo(self, job: ImportJob) -> str:
        """Return why what it brought cannot be taken out any more, "" when it can."""
        return await self._database.read(lambda db: _why_not(db, job))

    async def undo_step(self, job: ImportJob) -> bool:
        """Remove a part of its rows; False where none are left."""

        def work(db: sqlite3.Connection) -> bool:
            statement = _next_step(db, job)
            if statement is not None:
                db.execute(*statement)
            return statement is not None

        return await self._database.write(work)

    async def finish_undo(self, job: ImportJob) -> bool:
        """Remove the rest in one transaction; return whether the meter is gone."""
        return await self._database.write(lambda db: _finish(db, job))

    async def mend(self, job: ImportJob) -> bool:
        """Have the meter's other data counted on; False while its sums are being computed."""
        return await self._database.write(lambda db: _mend(db, job))


def _save(db: sqlite3.Connection, job: ImportJob) -> None:
    query = "UPDATE imports SET state = ?, body = ? WHERE no = ?"
    db.execute(query, (job.state, _encode(job).decode(), job.no))


def _boot(db: sqlite3.Connection, job: ImportJob) -> tuple[int, int] | None:
    """Return (meter_no, boot_no) of what an import brought, None where that is nothing."""
    if job.choice is None:
        return None
    row = db.execute(
        "SELECT meter_no, boots.no FROM boots JOIN meters ON meters.no = meter_no"
        " WHERE meters.id = ? AND boot = ?",
        (job.choice.meter, job.boot),
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def _is_alone(db: sqlite3.Connection, meter_no: int, boot_no: int) -> bool:
    query = "SELECT 1 FROM boots WHERE meter_no = ? AND no != ? LIMIT 1"
    return db.execute(query, (meter_no, boot_no)).fetchone() is None


def _alerts(db: sqlite3.Connection, job: ImportJob) -> list[str]:
    if job.choice is None or job.started_ms is None:
        return []
    query = "SELECT id FROM alerts WHERE meter = ? AND rowid > ? AND rowid <= ?"
    upto = NEWEST if job.alerts_after is None else job.alerts_after
    return [row[0] for row in db.execute(query, (job.choice.meter, job.alerts_before, upto))]


def _why_not(db: sqlite3.Connection, job: ImportJob) -> str:
    found = _boot(db, job)
    if found is None or _is_alone(db, *found):
        return ""
    key = f"retired_until_ms:{found[0]}"
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None or job.from_ms is None or int(row[0]) < job.from_ms:
        return ""
    return (
        "the meter holds other data too, and single readings of that time have been retired, so the"
        " sums cannot be computed without this import; remove the meter instead"
    )


Statement = tuple[str, tuple[Any, ...]]


def _next_step(db: sqlite3.Connection, job: ImportJob) -> Statement | None:
    """Return what is to be deleted next, never much: readings, then minute rollups."""
    found = _boot(db, job)
    if found is None:
        return None
    meter_no, boot_no = found
    where = "FROM readings WHERE row >= ? AND row < ? AND boot_no = ?"
    for low, high in segments.ranges_by_seq(db, boot_no, 0, SEQ_END):
        for begin in range(low, high, ROWS_A_STEP):
            values = (begin, min(begin + ROWS_A_STEP, high), boot_no)
            if db.execute(f"SELECT 1 {where} LIMIT 1", values).fetchone():
                return f"DELETE {where}", values
    return _next_minutes(db, meter_no) if _is_alone(db, meter_no, boot_no) else None


def _next_minutes(db: sqlite3.Connection, meter_no: int) -> Statement | None:
    """Return the deletion of a slice of a meter's minutes; its hours tell where some may be."""
    channels = "(SELECT no FROM channels WHERE meter_no = ?)"
    bounds = db.execute(
        f"SELECT min(start_ms), max(start_ms) FROM rollup_1h WHERE channel_no IN {channels}",  # noqa: S608 - ours
        (meter_no,),
    ).fetchone()
    if bounds[0] is None:
        return None
    where = f"FROM rollup_1m WHERE start_ms >= ? AND start_ms < ? AND channel_no IN {channels}"
    for begin_ms in range(bounds[0] - DAY_MS, bounds[1] + 2 * DAY_MS, SLICE_MS):
        values = (begin_ms, begin_ms + SLICE_MS, meter_no)
        if db.execute(f"SELECT 1 {where} LIMIT 1", values).fetchone():
            return f"DELETE {where}", values
    return None


def _finish(db: sqlite3.Connection, job: ImportJob) -> bool:
    for alert_id in _alerts(db, job):
        _drop_alert(db, alert_id)
    found = _boot(db, job)
    alone = False
    if found is None:
        alone = _drop_bare_meter(db, job)
    else:
        meter_no, boot_no = found
        alone = _is_alone(db, meter_no, boot_no)
        for table in ("unplaced", "segments", "runs", "gaps"):
            db.execute(f"DELETE FROM {table} WHERE boot_no = ?", (boot_no,))  # noqa: S608 - ours
        db.execute("DELETE FROM boots WHERE no = ?", (boot_no,))
        if alone:
            _drop_meter(db, meter_no)
        else:
            _leave_others(db, job, meter_no)
    _save(db, job)
    return alone


def _drop_bare_meter(db: sqlite3.Connection, job: ImportJob) -> bool:
    """Remove the meter registered for an import that brought nothing, unless others use it."""
    if job.choice is None or not job.is_meter_new:
        return False
    row = db.execute(
        "SELECT no FROM meters WHERE id = ?1 AND NOT EXISTS"
        " (SELECT 1 FROM boots WHERE meter_no = meters.no) AND NOT EXISTS"
        " (SELECT 1 FROM imports WHERE no != ?2 AND state IN ('waiting', 'running')"
        " AND body ->> '$.choice.meter' = ?1)",
        (job.choice.meter, job.no),
    ).fetchone()
    if row is not None:
        _drop_meter(db, row[0])
    return row is not None


def _drop_alert(db: sqlite3.Connection, alert_id: str) -> None:
    take_back(db, alert_id)
    for table in ("alert_history", "verdicts", "notices"):
        db.execute(f"DELETE FROM {table} WHERE alert_id = ?", (alert_id,))  # noqa: S608 - ours
    db.execute("DELETE FROM alerts WHERE id = ?", (alert_id,))


def _drop_meter(db: sqlite3.Connection, meter_no: int) -> None:
    """Remove a meter that holds nothing."""
    for resolution in RESOLUTIONS_MS:
        db.execute(
            f"DELETE FROM rollup_{resolution} WHERE channel_no IN"  # noqa: S608 - ours
            " (SELECT no FROM channels WHERE meter_no = ?)",
            (meter_no,),
        )
    for table in ("judged", "models", "dirty", "channels"):
        db.execute(f"DELETE FROM {table} WHERE meter_no = ?", (meter_no,))  # noqa: S608 - ours
    db.execute("DELETE FROM meta WHERE key = ?", (f"retired_until_ms:{meter_no}",))
    db.execute("DELETE FROM meters WHERE no = ?", (meter_no,))


def _leave_others(db: sqlite3.Connection, job: ImportJob, meter_no: int) -> None:
    """Have the sums of a meter's other data computed again, and its judge begin afresh.

    All from there on: what the registers had counted carries on from day to day.
    """
    row = db.execute("SELECT state FROM judged WHERE meter_no = ?", (meter_no,)).fetchone()
    if row is not None:
        snapshot = msgspec.msgpack.decode(row[0], type=Snapshot)
        for roll in snapshot.channels.values():  # what is open holds parts of what is gone
            roll.minute, roll.coarse = None, {}
        _keep_state(db, meter_no, Snapshot(snapshot.channels, b""))
    latest = db.execute(
        "SELECT max(last_at_ms) FROM runs JOIN boots ON no = boot_no WHERE meter_no = ?",
        (meter_no,),
    ).fetchone()[0]
    if job.from_ms is not None and job.to_ms is not None:
        # A reading belongs to the interval of its middle: the first one's may be the day before.
        _soil(db, meter_no, job.from_ms - DAY_MS, max(job.to_ms, latest or job.to_ms))


def _mend(db: sqlite3.Connection, job: ImportJob) -> bool:
    """Have the meter count on from its last day, once its days have been computed again."""
    meter = "" if job.choice is None else job.choice.meter
    row = db.execute(
        "SELECT no, judged.state FROM meters JOIN judged ON meter_no = no WHERE id = ?", (meter,)
    ).fetchone()
    if row is None:
        return True
    meter_no, state = row
    if db.execute("SELECT 1 FROM dirty WHERE meter_no = ? LIMIT 1", (meter_no,)).fetchone():
        return False
    snapshot = msgspec.msgpack.decode(state, type=Snapshot)
    for name, roll in snapshot.channels.items():
        last = db.execute(
            "SELECT wh_in, wh_out, base_in, base_out FROM rollup_1d JOIN channels ON channels.no ="
            " channel_no WHERE meter_no = ? AND name = ? AND reg_at_ms IS NOT NULL"
            " ORDER BY start_ms DESC LIMIT 1",
            (meter_no, name),
        ).fetchone() or (None, None, 0.0, 0.0)
        roll.reg_in, roll.reg_out = (None if wh is None else Register(wh) for wh in last[:2])
        roll.base_in, roll.base_out = last[2:]
    _keep_state(db, meter_no, snapshot)
    return True


def _keep_state(db: sqlite3.Connection, meter_no: int, snapshot: Snapshot) -> None:
    query = "UPDATE judged SET state = ? WHERE meter_no = ?"
    db.execute(query, (msgspec.msgpack.encode(snapshot), meter_no))


def _soil(db: sqlite3.Connection, meter_no: int, from_ms: int, to_ms: int) -> None:
    length_ms = DIRTY_DAYS * DAY_MS
    db.executemany(
        "INSERT INTO dirty (meter_no, from_ms, to_ms) VALUES (?,?,?)",
        [
            (meter_no, begin_ms, min(begin_ms + length_ms, to_ms))
            for begin_ms in range(from_ms, to_ms + 1, length_ms)
        ],
    )
