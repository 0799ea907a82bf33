"""The space there is for readings, and how fast they fill it, estimated from the newest rows."""

import shutil
import sqlite3
from pathlib import Path

from gateway.adapters.store.log_space import LOG_BYTES, log_path
from gateway.domain.errors import StorageError
from gateway.services.retention import Space

DAY_MS = 86_400_000
SHORTEST_SPAN_MS = 3_600_000
SAMPLE_ROWS = 200
# A row's other columns, its cell and its share of the b-tree, above the packed body.
ROW_OVERHEAD_BYTES = 48
# Rollups of four resolutions beside one raw row per second and channel: under a tenth.
ROLLUP_FACTOR = 1.1


def read_space(db: sqlite3.Connection, path: Path) -> Space:
    """Measure a database and its disk; StorageError when the disk does not answer."""
    size, pages, spare = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    log = log_path(path)
    try:
        disk = shutil.disk_usage(path.parent)
        log_size = log.stat().st_size if log.exists() else 0
        # What is committed may lie in the log alone, until a checkpoint makes the file longer.
        to_come = max(0, size * pages - path.stat().st_size)
    except OSError as error:
        msg = f"storage.path: {path.parent} does not answer: {error.strerror}"
        raise StorageError(msg) from error
    # What retiring writes must not look like space that other things have taken.
    to_come += max(0, LOG_BYTES - log_size)
    return Space(size * (pages - spare), size * spare, disk.free - to_come, disk.total)


def daily_bytes(db: sqlite3.Connection, now_ms: int) -> float | None:
    """Return the bytes a day that readings of the last day take, or None before an hour of data.

    Rows are committed in the order they are received, so a bisection over row numbers finds
    where the last day begins without an index on the time.
    """
    first, last = db.execute("SELECT min(row), max(row) FROM readings").fetchone()
    if first is None:
        return None
    begin = _first_since(db, int(first), int(last), now_ms - DAY_MS)
    since_ms = _received_ms(db, begin)
    if since_ms is None or now_ms - since_ms < SHORTEST_SPAN_MS:
        return None
    mean_bytes = db.execute(
        "SELECT avg(length(body)) FROM (SELECT body FROM readings ORDER BY row DESC LIMIT ?)",
        (SAMPLE_ROWS,),
    ).fetchone()[0]
    rows_a_day = (int(last) - begin + 1) * DAY_MS / (now_ms - since_ms)
    return rows_a_day * (float(mean_bytes) + ROW_OVERHEAD_BYTES) * ROLLUP_FACTOR


def _first_since(db: sqlite3.Connection, low: int, high: int, since_ms: int) -> int:
    """Return the first row received at or after a time, or `high` when there is none."""
    while low < high:
        middle = (low + high) // 2
        received_ms = _received_ms(db, middle)
        if received_ms is not None and received_ms < since_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _received_ms(db: sqlite3.Connection, row: int) -> int | None:
    """Return when a row, or the first one behind it, was received."""
    query = "SELECT received_ms FROM readings WHERE row >= ? ORDER BY row LIMIT 1"
    found = db.execute(query, (row,)).fetchone()
    return None if found is None else int(found[0])
