"""Series in SQL: raw readings by column, and intervals that never lag behind them (rule I)."""

import sqlite3
from zoneinfo import ZoneInfo

from gateway.adapters.store import segments
from gateway.adapters.store.export import ChannelReader
from gateway.adapters.store.gap_spans import gap_spans
from gateway.adapters.store.packed import Row, raw_columns
from gateway.domain.errors import NotFoundError
from gateway.services.exporting import Target
from gateway.services.series import RAW, Series, SeriesQuery, bucket_value, check, choose


def read_series(db: sqlite3.Connection, zone: ZoneInfo, query: SeriesQuery) -> Series:
    """Read what a query asks for, on the connection's snapshot."""
    check(query)
    target = find_channel(db, query.meter, query.channel)
    reader = ChannelReader(db, zone)
    low_ms, high_ms = _data_span(db, target.meter_no)
    start_ms, end_ms = max(query.start_ms, low_ms), min(query.end_ms, high_ms)
    readings = _count_readings(db, target.meter_no, start_ms, end_ms)
    has_raw = start_ms >= _retired_until_ms(db, target.meter_no)
    chosen = choose(query, max(0, end_ms - start_ms), readings, has_raw=has_raw)
    if chosen == RAW:
        rows = _raw_rows(db, target.meter_no, query.start_ms, query.end_ms)
        t = [row[0] for row in rows]
        columns = raw_columns(rows, query.channel, query.fields)
    else:
        buckets = list(reader.rollups(target, chosen, query.start_ms, query.end_ms))
        t = [bucket.start_ms for bucket in buckets]
        columns = {name: [bucket_value(b, name) for b in buckets] for name in query.fields}
    return Series(chosen, t, columns, gap_spans(db, target.meter_no, query.start_ms, query.end_ms))


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


def _raw_rows(db: sqlite3.Connection, meter_no: int, start_ms: int, end_ms: int) -> list[Row]:
    """Return (t, n, body) of readings with start ≤ t < end, in time order."""
    boots = _boots(db, meter_no)
    if not boots or end_ms <= start_ms:
        return []
    marks = ",".join("?" * len(boots))
    rows: list[Row] = []
    for low, high in segments.ranges_by_time(db, boots, start_ms, end_ms):
        rows += db.execute(
            "SELECT at_ms, n, body FROM readings WHERE row >= ? AND row < ?"  # noqa: S608 - ours
            f" AND at_ms >= ? AND at_ms < ? AND boot_no IN ({marks})",
            (low, high, start_ms, end_ms, *boots),
        ).fetchall()
    if any(rows[k][0] > rows[k + 1][0] for k in range(len(rows) - 1)):
        rows.sort(key=lambda row: row[0])  # stable: of one time, in the order of arrival
    return rows
