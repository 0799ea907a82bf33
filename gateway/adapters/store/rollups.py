"""Add rollup contributions to what is stored, rebuild spans from readings, and read them."""

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from gateway.adapters.store import segments
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.domain.readings import Stored
from gateway.pipeline.rollups import RESOLUTIONS, Bucket, Calendar, Contribution, MeterRoll
from gateway.services.effects import Rebuild, RollupPart

FIELDS = (
    "start_ms, n, dt_ms, p_sum, p_dt, p_min, p_max, q_sum, q_dt, v_sum, v_dt, v_min, v_max,"
    " i_sum, i_dt, reg_at_ms, wh_in, wh_out, base_in, base_out"
)
NEVER_MS = -(2**62)
FINE, COARSE = ("1m", "15m"), ("1h", "1d")
SUMS = ("n", "dt_ms", "p_sum", "p_dt", "q_sum", "q_dt", "v_sum", "v_dt", "i_sum", "i_dt")
_values = msgspec.structs.astuple


def _upsert(resolution: str) -> str:
    """Return the statement that adds a contribution to a row."""
    adds = [f"{c} = {c} + excluded.{c}" for c in SUMS]
    lows = [
        f"{c} = ifnull(min({c}, excluded.{c}), ifnull({c}, excluded.{c}))"
        for c in ("p_min", "v_min")
    ]
    highs = [
        f"{c} = ifnull(max({c}, excluded.{c}), ifnull({c}, excluded.{c}))"
        for c in ("p_max", "v_max")
    ]
    newer = "excluded.reg_at_ms >= ifnull(reg_at_ms, excluded.reg_at_ms)"
    regs = [
        f"{c}_{way} = iif(excluded.wh_{way} IS NOT NULL AND ({newer} OR wh_{way} IS NULL),"
        f" excluded.{c}_{way}, {c}_{way})"
        for way in ("in", "out")
        for c in ("base", "wh")
    ]
    regs.append(f"reg_at_ms = iif({newer}, excluded.reg_at_ms, reg_at_ms)")
    marks = ",".join("?" * 21)
    sets = ", ".join((*adds, *lows, *highs, *regs))
    return (
        f"INSERT INTO rollup_{resolution} (channel_no, {FIELDS}) VALUES ({marks})"  # noqa: S608
        f" ON CONFLICT (channel_no, start_ms) DO UPDATE SET {sets}"
    )


UPSERTS = {resolution: _upsert(resolution) for resolution in RESOLUTIONS}


def add_parts(db: sqlite3.Connection, parts: Iterable[RollupPart]) -> None:
    """Add contributions to the stored intervals."""
    by_resolution: dict[str, list[tuple[object, ...]]] = {name: [] for name in RESOLUTIONS}
    for channel_no, resolution, bucket in parts:
        by_resolution[resolution].append((channel_no, *_values(bucket)))
    for resolution, rows in by_resolution.items():
        db.executemany(UPSERTS[resolution], rows)


def read(
    db: sqlite3.Connection, channel_no: int, resolution: str, start_ms: int, end_ms: int
) -> Iterator[Bucket]:
    """Yield stored intervals that begin in [start, end), in time order."""
    query = (
        f"SELECT {FIELDS} FROM rollup_{resolution}"  # noqa: S608 - names of ours
        " WHERE channel_no = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms"
    )
    for row in db.execute(query, (channel_no, start_ms, end_ms)):
        yield Bucket(*row)


def readings_between(
    db: sqlite3.Connection,
    meter_no: int,
    start_ms: int,
    end_ms: int,
    *,
    upto_row: int | None = None,
) -> list[Stored]:
    """Return a meter's placed readings whose middle lies in [start, end), in time order."""
    boots = dict(db.execute("SELECT no, boot FROM boots WHERE meter_no = ?", (meter_no,)))
    if not boots:
        return []
    marks = ",".join("?" * len(boots))
    found: list[Stored] = []
    for low, high in segments.ranges_by_time(db, list(boots), start_ms, end_ms + 86_400_000):
        query = (
            f"SELECT {COLUMNS} FROM readings WHERE row >= ? AND row < ? AND boot_no IN ({marks})"  # noqa: S608
            " AND at_ms - dt_ms / 2 >= ? AND at_ms - dt_ms / 2 < ?"
        )
        for row in db.execute(query, (low, high, *boots, start_ms, end_ms)):
            if upto_row is None or row[0] <= upto_row:
                found.append(stored(row, "", boots[row[1]]))  # noqa: PERF401 - streams from SQL
    found.sort(key=lambda reading: (reading.at_ms, reading.row))
    return found


def rebuild(db: sqlite3.Connection, order: Rebuild, calendar: Calendar) -> None:
    """Compute a meter's intervals in a span again from its readings up to a row.

    Whole local days are rebuilt, so that every resolution stays the sum of its minutes.
    Days of which readings have been retired keep what they have.
    """
    start_ms = calendar.start_of("1d", order.from_ms)
    end_ms = calendar.end_of("1d", calendar.start_of("1d", order.to_ms))
    retired_ms = _retired_until_ms(db, order.meter_no)
    day_ms = start_ms
    while day_ms < end_ms:
        next_ms = calendar.end_of("1d", day_ms)
        if day_ms >= retired_ms:
            readings = readings_between(db, order.meter_no, day_ms, next_ms, upto_row=order.row)
            _rebuild_day(db, order.meter_no, (day_ms, next_ms), readings, calendar)
        day_ms = next_ms
    db.execute("DELETE FROM dirty WHERE no = ?", (order.dirty_no,))


def _retired_until_ms(db: sqlite3.Connection, meter_no: int) -> int:
    """Return the time before which a meter's readings may have been retired."""
    key = f"retired_until_ms:{meter_no}"
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return NEVER_MS if row is None else int(row[0])


def _rebuild_day(
    db: sqlite3.Connection, meter_no: int, day: tuple[int, int], readings: list[Stored],
    calendar: Calendar,
) -> None:  # fmt: skip
    channels = dict(db.execute("SELECT name, no FROM channels WHERE meter_no = ?", (meter_no,)))
    roll = MeterRoll(calendar)
    for name, no in channels.items():
        before = last_before(db, no, day[0])
        if before is not None:
            roll.resume(name, before)
    parts: list[Contribution] = []
    for reading in readings:
        roll.add(reading, parts)
    roll.flush(parts)
    for resolution in FINE:
        _erase(db, resolution, channels.values(), day)
    fine = [part for part in parts if part.resolution in FINE]
    add_parts(db, [RollupPart(channels[p.channel], p.resolution, p.bucket) for p in fine])
    for no in channels.values():
        for resolution in COARSE:
            _regroup(db, no, resolution, day, calendar)


def _regroup(
    db: sqlite3.Connection, channel_no: int, resolution: str, day: tuple[int, int],
    calendar: Calendar,
) -> None:  # fmt: skip
    """Compute the intervals that touch a day again from its quarter hours.

    Quarters and not readings: an hour may reach over midnight where the zone is off by a half.
    """
    start_ms = calendar.start_of(resolution, day[0])
    end_ms = calendar.end_of(resolution, calendar.start_of(resolution, day[1] - 1))
    _erase(db, resolution, [channel_no], (start_ms, end_ms))
    grouped: dict[int, Bucket] = {}
    for quarter in read(db, channel_no, "15m", start_ms, end_ms):
        begin_ms = calendar.start_of(resolution, quarter.start_ms)
        grouped.setdefault(begin_ms, Bucket(begin_ms)).merge(quarter)
    add_parts(db, [RollupPart(channel_no, resolution, bucket) for bucket in grouped.values()])


def _erase(
    db: sqlite3.Connection, resolution: str, channel_nos: Iterable[int], span: tuple[int, int]
) -> None:
    db.executemany(
        f"DELETE FROM rollup_{resolution}"  # noqa: S608 - names of ours
        " WHERE channel_no = ? AND start_ms >= ? AND start_ms < ?",
        [(no, *span) for no in channel_nos],
    )


def last_before(db: sqlite3.Connection, channel_no: int, start_ms: int) -> Bucket | None:
    """Return the last day before a time that has registers."""
    query = (
        f"SELECT {FIELDS} FROM rollup_1d WHERE channel_no = ? AND start_ms < ?"  # noqa: S608
        " AND reg_at_ms IS NOT NULL ORDER BY start_ms DESC LIMIT 1"
    )
    row = db.execute(query, (channel_no, start_ms)).fetchone()
    return None if row is None else Bucket(*row)
