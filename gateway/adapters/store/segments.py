"""Find a boot's readings without an index: rows lie in segments of 2^12, each with its bounds."""

import sqlite3

from gateway.adapters.store.schema import SEGMENT_BITS

SUMMARY = """
INSERT OR REPLACE INTO segments
SELECT boot_no, row >> :bits, count(*), min(seq - n + 1), max(seq),
       min(at_ms - dt_ms), max(at_ms)
FROM readings WHERE row >= :first AND row < :after GROUP BY boot_no, row >> :bits
"""


def close_segments(db: sqlite3.Connection, first_row: int, last_row: int) -> None:
    """Summarise the segments that rows first_row … last_row have filled."""
    for segment in range(first_row >> SEGMENT_BITS, (last_row + 1) >> SEGMENT_BITS):
        _summarise(db, segment)


def summarise(db: sqlite3.Connection, segment: int) -> None:
    """Write one segment's summary anew, after it was filled or its rows were changed."""
    db.execute("DELETE FROM segments WHERE segment = ?", (segment,))
    _summarise(db, segment)


def _summarise(db: sqlite3.Connection, segment: int) -> None:
    first = segment << SEGMENT_BITS
    db.execute(
        SUMMARY, {"bits": SEGMENT_BITS, "first": first, "after": first + (1 << SEGMENT_BITS)}
    )


def open_row(db: sqlite3.Connection) -> int:
    """Return the first row of the segment that is not full yet."""
    highest = db.execute("SELECT max(row) FROM readings").fetchone()[0] or 0
    return ((highest + 1) >> SEGMENT_BITS) << SEGMENT_BITS


def ranges_by_seq(
    db: sqlite3.Connection, boot_no: int, first: int, last: int
) -> list[tuple[int, int]]:
    """Return the row ranges [from, before) that may hold windows first … last of a boot."""
    closed = db.execute(
        "SELECT segment FROM segments WHERE boot_no = ? AND max_seq >= ? AND min_seq <= ?"
        " ORDER BY segment",
        (boot_no, first, last),
    ).fetchall()
    return _with_open(db, [int(row[0]) for row in closed])


def ranges_by_time(
    db: sqlite3.Connection, boot_nos: list[int], start_ms: int, end_ms: int
) -> list[tuple[int, int]]:
    """Return the row ranges [from, before) that may hold a boot's rows ending in a time span."""
    marks = ",".join("?" * len(boot_nos))
    closed = db.execute(
        "SELECT DISTINCT segment FROM segments"  # noqa: S608 - only question marks are put in
        f" WHERE boot_no IN ({marks}) AND max_at_ms >= ? AND min_at_ms <= ? ORDER BY segment",
        (*boot_nos, start_ms, end_ms),
    ).fetchall()
    return _with_open(db, [int(row[0]) for row in closed])


def owned(db: sqlite3.Connection, boot_nos: list[int], start_ms: int, end_ms: int) -> set[int]:
    """Return the full segments of nobody but these boots that lie in a time span whole."""
    marks = ",".join("?" * len(boot_nos))
    found = db.execute(
        "SELECT segment FROM segments WHERE segment IN"  # noqa: S608 - only question marks are put in
        f" (SELECT segment FROM segments WHERE boot_no IN ({marks})"
        " AND max_at_ms >= ? AND min_at_ms <= ?)"
        f" GROUP BY segment HAVING min(boot_no IN ({marks})) AND min(min_at_ms) >= ?"
        " AND max(max_at_ms) < ?",
        (*boot_nos, start_ms, end_ms, *boot_nos, start_ms, end_ms),
    )
    return {int(row[0]) for row in found}


def _with_open(db: sqlite3.Connection, segments: list[int]) -> list[tuple[int, int]]:
    """Join neighbouring segments, and add the open one."""
    ranges: list[tuple[int, int]] = []
    for segment in segments:
        first, before = segment << SEGMENT_BITS, (segment + 1) << SEGMENT_BITS
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], before)
        else:
            ranges.append((first, before))
    first = open_row(db)
    return [*ranges, (first, first + (1 << SEGMENT_BITS))]
