"""Insert many rows in few steps: the interpreter's lock is given away and taken back at each.

While the event loop is busy a thread waits for it up to the switch interval every time, so that
a commit of seventy rows took 50 ms of which SQLite needed two (docs/performance.md).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain

# Few sizes, so that SQLite's compiled statements are found again.
CHUNKS = (64, 32, 16, 8, 4, 2, 1)


def insert_many(
    db: sqlite3.Connection,
    into: str,
    columns: int,
    rows: Iterable[Sequence[object]],
    then: str = "",
) -> None:
    """Insert `rows` of so many columns, in order; `then` (ON CONFLICT) follows the values."""
    waiting = list(rows)
    at = 0
    for size in CHUNKS:
        while len(waiting) - at >= size:
            statement = _statement(into, columns, size, then)
            db.execute(statement, list(chain.from_iterable(waiting[at : at + size])))
            at += size


@cache
def _statement(into: str, columns: int, rows: int, then: str) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {','.join([row] * rows)} {then}"  # noqa: S608 - ours
