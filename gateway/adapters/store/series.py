"""Series in SQL: raw readings by column, and intervals that never lag behind them (rule I)."""

import sqlite3
from zoneinfo import ZoneInfo

import numpy as np

from gateway.adapters.store import rollups, segments
from gateway.adapters.store.export import ChannelReader
from gateway.adapters.store.gap_spans import gap_spans
from gateway.adapters.store.packed import Columns, Row, Times, alike_columns, raw_columns
from gateway.adapters.store.schema import SEGMENT_BITS
from gateway.domain.errors import NotFoundError
from gateway.pipeline.rollups import Bucket
from gateway.services.exporting import Target
from gateway.services.series import (
    DECIMALS,
    RAW,
    Column,
    Series,
    SeriesQuery,
    bucket_value,
    check,
    choose,
)

CHUNK_ROWS = 1 << SEGMENT_BITS
THINNED_UNTIL = "thinned_until_ms"  # key in meta: before, quarter hours are the finest
# As `bucket_value` has it; a mean of what was never measured is a division by 0, NULL in SQLite.
VOLT_AMPERES = "(v_sum / v_dt * (i_sum / i_dt))"
EXPRESSIONS = {name: f"round({name}_sum / {name}_dt, {DECIMALS})" for name in "pqvi"} | {
    "f": "NULL",
    "pf": f"iif({VOLT_AMPERES} >= 1,"
    f" round(min(1.0, abs(p_sum / p_dt) / {VOLT_AMPERES}), {DECIMALS}), NULL)",
}
CHOSEN = (
    "FROM readings WHERE row >= ? AND row < ? AND at_ms >= ? AND at_ms < ?"
    " AND boot_no IN (SELECT no FROM boots WHERE meter_no = ?)"
)
WITHIN = "FROM readings WHERE row >= ? AND row < ?"
# Each body after the first stands behind its own time, which is its separator; where it holds
# several windows there is none, and the lengths tell: a sum of them would take a tenth longer.
TIME = "iif(n = 1, at_ms, '')"
JOINED = f"SELECT count(*), CAST(group_concat(body, {TIME}) AS BLOB) "
FIRST_TIME = f"SELECT {TIME} "
ONE_BY_ONE = f"SELECT at_ms, n, body {CHOSEN} ORDER BY row"


def read_series(db: sqlite3.Connection, zone: ZoneInfo, query: SeriesQuery) -> Series:
    """Read what a query asks for, on the connection's snapshot."""
    check(query)
    target = find_channel(db, query.meter, query.channel)
    reader = ChannelReader(db, zone)
    low_ms, high_ms = _data_span(db, target.meter_no)
    start_ms, end_ms = max(query.start_ms, low_ms), min(query.end_ms, high_ms)
    readings = _count_readings(db, target.meter_no, start_ms, end_ms)
    has_raw = start_ms >= _retired_until_ms(db, target.meter_no)
    finest = "1m" if start_ms >= thinned_until_ms(db) else "15m"
    span_ms = max(0, end_ms - start_ms)
    chosen = choose(query, span_ms, readings, has_raw=has_raw, finest=finest)
    gaps = gap_spans(db, target.meter_no, query.start_ms, query.end_ms)
    if chosen == RAW:
        times, columns = _raw(db, target.meter_no, query)
        return Series(chosen, times, {**columns}, gaps)
    return Series(chosen, *_intervals(db, reader, target, chosen, query), gaps)


def find_channel(db: sqlite3.Connection, meter: str, channel: str) -> Target:
    """Return a channel of a meter in use; NotFoundError names what does not exist."""
    meter_no = find_meter(db, meter)
    query = "SELECT name, no FROM channels WHERE meter_no = ? ORDER BY no"
    channels = dict(db.execute(query, (meter_no,)))
    if channel not in channels:
        known = ", ".join(channels) or "none yet"
        msg = f"channel: meter {meter} has no channel {channel[:20]!r}; it has: {known}"
        raise NotFoundError(msg)
    return Target(meter_no, channels[channel], channel)


def find_meter(db: sqlite3.Connection, meter: str) -> int:
    """Return the number of a meter in use, or raise NotFoundError."""
    query = "SELECT no FROM meters WHERE id = ? AND removed_ms IS NULL"
    row = db.execute(query, (meter,)).fetchone()
    if row is None:
        msg = f"no meter {meter[:40]!r}"
        raise NotFoundError(msg)
    return int(row[0])


def _data_span(db: sqlite3.Connection, meter_no: int) -> tuple[int, int]:
    """Return [start, end) of all that a meter has ever sent, (0, 0) before its first reading."""
    low, high = db.execute(
        "SELECT min(first_at_ms), max(last_at_ms) + 1 FROM runs WHERE boot_no IN"
        " (SELECT no FROM boots WHERE meter_no = ?)",
        (meter_no,),
    ).fetchone()
    return (0, 0) if low is None else (int(low), int(high))


def _boots(db: sqlite3.Connection, meter_no: int) -> list[int]:
    query = "SELECT no FROM boots WHERE meter_no = ?"
    return [int(no) for (no,) in db.execute(query, (meter_no,))]


def _count_readings(db: sqlite3.Connection, meter_no: int, start_ms: int, end_ms: int) -> int:
    """Return about how many readings lie in a span: exact but for segments at its ends."""
    if end_ms <= start_ms:
        return 0
    found = db.execute(
        "SELECT sum(rows * max(0.0, min(max_at_ms, :end) - max(min_at_ms, :start) + 1.0)"
        " / (max_at_ms - min_at_ms + 1.0)) FROM segments WHERE boot_no IN"
        " (SELECT no FROM boots WHERE meter_no = :meter)"
        " AND max_at_ms >= :start AND min_at_ms < :end",
        {"start": start_ms, "end": end_ms, "meter": meter_no},
    ).fetchone()[0]
    newest = db.execute(
        "SELECT count(*) FROM readings WHERE row >= ? AND at_ms >= ? AND at_ms < ?"
        " AND boot_no IN (SELECT no FROM boots WHERE meter_no = ?)",
        (segments.open_row(db), start_ms, end_ms, meter_no),
    ).fetchone()[0]
    return round(found or 0) + int(newest)


def _retired_until_ms(db: sqlite3.Connection, meter_no: int) -> int:
    """Return the time before which raw readings may have been retired."""
    key = f"retired_until_ms:{meter_no}"
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return -(2**62) if row is None else int(row[0])


def thinned_until_ms(db: sqlite3.Connection) -> int:
    """Return the time before which 1-minute intervals may have been retired."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (THINNED_UNTIL,)).fetchone()
    return -(2**62) if row is None else int(row[0])


def _intervals(
    db: sqlite3.Connection, reader: ChannelReader, target: Target, resolution: str,
    query: SeriesQuery,
) -> tuple[list[int], dict[str, Column]]:  # fmt: skip
    """Return intervals that begin in the span: SQLite computes those that are written."""
    wanted = ", ".join(EXPRESSIONS.get(name, name) for name in query.fields)
    found = db.execute(
        f"SELECT start_ms, {wanted} FROM rollup_{resolution}"  # noqa: S608 - names of ours
        " WHERE channel_no = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms",
        (target.channel_no, query.start_ms, query.end_ms),
    ).fetchall()
    late = reader.not_written(target)[resolution]
    changed = {
        start_ms: _whole(db, target, resolution, part)
        for start_ms, part in late.items()
        if query.start_ms <= start_ms < query.end_ms
    }
    if changed:
        by_start = {row[0]: row for row in found}
        for start_ms, bucket in changed.items():
            by_start[start_ms] = (start_ms, *(bucket_value(bucket, f) for f in query.fields))
        found = [by_start[start_ms] for start_ms in sorted(by_start)]
    columns = list(zip(*found, strict=True)) or [()] * (len(query.fields) + 1)
    return list(columns[0]), dict(zip(query.fields, map(list, columns[1:]), strict=True))


def _whole(db: sqlite3.Connection, target: Target, resolution: str, part: Bucket) -> Bucket:
    """Return an interval with the part that is not written yet added to what is."""
    start_ms = part.start_ms
    for bucket in rollups.read(db, target.channel_no, resolution, start_ms, start_ms + 1):
        bucket.merge(part)
        return bucket
    return part


def _raw(db: sqlite3.Connection, meter_no: int, query: SeriesQuery) -> tuple[Times, Columns]:
    """Return readings with start ≤ t < end, in time order."""
    boots = _boots(db, meter_no)
    times: list[Times] = []
    parts: list[Columns] = []
    own = segments.owned(db, boots, query.start_ms, query.end_ms)
    for low, high in segments.ranges_by_time(db, boots, query.start_ms, query.end_ms):
        for first in range(low, high, CHUNK_ROWS):
            span = (first, min(first + CHUNK_ROWS, high), query.start_ms, query.end_ms, meter_no)
            is_own = first >> SEGMENT_BITS in own
            part_times, part = _chunk(db, span, query, is_own=is_own)
            if len(part_times):
                times.append(part_times)
                parts.append(part)
    if not times:
        return np.zeros(0, np.int64), {name: np.zeros(0) for name in query.fields}
    t = np.concatenate(times)
    columns: Columns = {
        name: np.concatenate([part[name] for part in parts]) for name in query.fields
    }
    if (np.diff(t) < 0).any():
        order = np.argsort(t, kind="stable")  # stable: else in the order of arrival
        return t[order], {name: column[order] for name, column in columns.items()}
    return t, columns


def _chunk(
    db: sqlite3.Connection, span: tuple[int, ...], query: SeriesQuery, *, is_own: bool
) -> tuple[Times, Columns]:
    """Return the readings of some rows, all at once where their bodies are laid out alike.

    SQLite joins them several times faster than Python could make an object of each; `is_own`
    spares it to look whose and when each of them is.
    """
    where, values = (WITHIN, span[:2]) if is_own else (CHOSEN, span)
    count, bodies = db.execute(JOINED + where, values).fetchone()
    if not count:
        return np.zeros(0, np.int64), {}
    first = db.execute(f"{FIRST_TIME}{where} ORDER BY row LIMIT 1", values).fetchone()[0]
    found = alike_columns(f"{first}".encode() + bodies, count, query.channel, query.fields)
    if found is not None:
        return found
    rows: list[Row] = db.execute(ONE_BY_ONE, span).fetchall()
    times = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return times, raw_columns(rows, query.channel, query.fields)
