"""Read what can still be read of a damaged database: around every page that cannot."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from gateway.adapters.store.database import is_damage

log = structlog.get_logger()
Row = tuple[Any, ...]
READINGS = "SELECT * FROM readings WHERE row >= ? AND row <= ? ORDER BY row"
# Row numbers stepped over where a page is gone: one by one to its end, then in strides, for an
# inner page takes a thousand rows with it.
NEAR_STEPS = 64
STRIDE = 16
MOST_STEPS = 200_000


def open_old(path: Path) -> sqlite3.Connection:
    """Open a file that was set aside; nothing is written to it but its WAL's index."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    db.execute("PRAGMA cell_size_check = ON")  # a page of rubbish is an error and no data
    return db


def all_rows(db: sqlite3.Connection, table: str) -> tuple[list[Row], bool]:
    """Return a small table's rows read from both ends, and whether that was all of them."""
    keys = _keys(db, table)
    order, back = ", ".join(keys), ", ".join(f"{key} DESC" for key in keys)
    rows: list[Row] = []
    if _collect(db, f"SELECT * FROM {table} ORDER BY {order}", rows):  # noqa: S608 - ours
        return rows, True
    rest: list[Row] = []
    _collect(db, f"SELECT * FROM {table} ORDER BY {back}", rest)  # noqa: S608 - ours
    known = set(rows)
    return rows + [row for row in reversed(rest) if row not in known], False


def _keys(db: sqlite3.Connection, table: str) -> list[str]:
    """Return the columns a table is stored by."""
    found = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if found is None or "WITHOUT ROWID" not in str(found[0]):
        return ["rowid"]
    columns = db.execute(f"PRAGMA table_info({table})").fetchall()
    return [str(row[1]) for row in sorted(columns, key=lambda row: int(row[5])) if row[5]]


def _collect(db: sqlite3.Connection, query: str, rows: list[Row]) -> bool:
    """Append rows until the damage; tell whether there was none."""
    try:
        for row in db.execute(query):
            rows.append(row)  # noqa: PERF402 - what was read before the damage counts
    except sqlite3.DatabaseError:
        return False
    return True


def rows_around(  # noqa: PLR0913, PLR0917 - the bounds, the grid and the report of one scan
    db: sqlite3.Connection,
    query: str,
    first: int,
    last: int,
    step: int = 1,
    holes: list[tuple[int, int]] | None = None,
) -> Iterator[Row]:
    """Yield what `query` gives for first ≤ key ≤ last, in order, stepping over damage.

    `query` has the bounds as `?` and orders by the key, which is its first column; `step` is the
    least distance of two keys. Spans of keys that were stepped over are appended to `holes`.
    Ends where MOST_STEPS have found nothing readable.
    """
    key, misses, lost = first, 0, first
    while key <= last and misses < MOST_STEPS:
        try:
            for row in db.execute(query, (key, last)):
                if misses and holes is not None:
                    holes.append((lost, row[0]))
                key, misses = row[0], 0
                yield row
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            lost = lost if misses else key
            misses += 1
            key += step if misses <= NEAR_STEPS else step * STRIDE
        else:
            break
    if misses and holes is not None:
        holes.append((lost, last))


def highest(db: sqlite3.Connection, query: str) -> int:
    """Return a single number, 0 where it cannot be read."""
    try:
        found = db.execute(query).fetchone()
    except sqlite3.DatabaseError:
        return 0
    return 0 if found is None or found[0] is None else int(found[0])
