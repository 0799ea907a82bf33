"""What people ask about one meter: its newest reading, and what is missing."""

import sqlite3
from dataclasses import dataclass

from gateway.adapters.store.rows import COLUMNS, stored
from gateway.adapters.store.segments import ranges_by_seq
from gateway.domain.readings import Stored
from gateway.pipeline.intervals import Intervals

MOST_GAPS = 1000  # shown of one meter, the newest


@dataclass(frozen=True, slots=True)
class Missing:
    """Windows first … last of a boot that never came.

    `state`: awaited (younger than ten minutes), provisional or final. `from_ms` and `to_ms` are
    where the readings around it end and begin, None where there is none or it is not placed.
    """

    boot: int
    first: int
    last: int
    state: str
    reason: str
    from_ms: int | None
    to_ms: int | None

    @property
    def windows(self) -> int:
        """Return how many windows are missing."""
        return self.last - self.first + 1


def newest_reading(db: sqlite3.Connection, meter: str) -> Stored | None:
    """Return a meter's newest reading by time; None when it has none or it was retired."""
    found = db.execute(
        "SELECT boots.no, boots.boot, runs.last FROM runs JOIN boots ON boots.no = boot_no"
        " JOIN meters ON meters.no = meter_no WHERE meters.id = ?"
        " ORDER BY runs.last_at_ms DESC, boots.no DESC, runs.last DESC LIMIT 1",
        (meter,),
    ).fetchone()
    if found is None:
        return None
    boot_no, boot, seq = found
    for low, before in ranges_by_seq(db, boot_no, seq, seq):
        row = db.execute(
            f"SELECT {COLUMNS} FROM readings"  # noqa: S608 - column names of ours
            " WHERE row >= ? AND row < ? AND boot_no = ? AND seq = ? ORDER BY row DESC LIMIT 1",
            (low, before, boot_no, seq),
        ).fetchone()
        if row is not None:
            return stored(row, meter, boot)
    return None


def list_missing(db: sqlite3.Connection, meter: str) -> list[Missing]:
    """Return what is missing of a meter, newest boot first; at most MOST_GAPS."""
    found: list[Missing] = []
    boots = db.execute(
        "SELECT boots.no, boot FROM boots JOIN meters ON meters.no = meter_no"
        " WHERE id = ? ORDER BY boots.no DESC",
        (meter,),
    ).fetchall()
    for boot_no, boot in boots:
        found += _missing_of(db, boot_no, boot)
        if len(found) >= MOST_GAPS:
            break
    return found[:MOST_GAPS]


def _missing_of(db: sqlite3.Connection, boot_no: int, boot: int) -> list[Missing]:
    runs = db.execute(
        "SELECT first, last, first_at_ms, last_at_ms FROM runs WHERE boot_no = ? ORDER BY first",
        (boot_no,),
    ).fetchall()
    noted = db.execute(
        "SELECT first, last, state, reason FROM gaps WHERE boot_no = ? ORDER BY first", (boot_no,)
    ).fetchall()
    there = Intervals((first, last) for first, last, *_ in (*runs, *noted))
    young = there.holes(0, there.highest) if runs else []
    spans = [*noted, *((first, last, "awaited", "not resent yet") for first, last in young)]
    starts = {first: first_at for first, _, first_at, _ in runs}
    ends = {last: last_at for _, last, _, last_at in runs}
    return [
        Missing(boot, first, last, state, reason, ends.get(first - 1), starts.get(last + 1))
        for first, last, state, reason in sorted(spans, reverse=True)
    ]
