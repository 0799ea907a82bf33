"""Where in time a meter's missing windows lie (rule G)."""

import sqlite3
from typing import NamedTuple

from gateway.domain.readings import GapSpan
from gateway.services.series import MOST_GAPS

MOST_ROWS = 5000  # gaps looked at for one answer, the newest


class _Run(NamedTuple):
    """Received windows first … last; from the begin of the first to the end of the last."""

    first: int
    last: int
    first_at_ms: int
    last_at_ms: int

    def window_ms(self) -> float:
        """Return how long a window of this run is on average."""
        return (self.last_at_ms - self.first_at_ms) / (self.last - self.first + 1)


def gap_spans(db: sqlite3.Connection, meter_no: int, start_ms: int, end_ms: int) -> list[GapSpan]:
    """Return a meter's gaps that touch [start, end), in time order, neighbours joined."""
    rows = db.execute(
        "SELECT boot_no, first, last, state FROM gaps JOIN boots ON no = boot_no"
        " WHERE meter_no = ? ORDER BY boot_no DESC, first DESC LIMIT ?",
        (meter_no, MOST_ROWS),
    ).fetchall()
    spans = [_placed(db, *row) for row in rows]
    found = sorted(s for s in spans if s is not None and s.to_ms > start_ms and s.from_ms < end_ms)
    joined: list[GapSpan] = []
    for span in found:
        if joined and joined[-1].state == span.state and span.from_ms <= joined[-1].to_ms:
            joined[-1] = joined[-1]._replace(to_ms=max(joined[-1].to_ms, span.to_ms))
        else:
            joined.append(span)
    return joined[-MOST_GAPS:]


def _placed(
    db: sqlite3.Connection, boot_no: int, first: int, last: int, state: str
) -> GapSpan | None:
    """Return where a gap lies between the runs around it; None where none is placed."""
    before = _run(db, boot_no, "first < ? ORDER BY first DESC", first)
    after = _run(db, boot_no, "first > ? ORDER BY first", last)
    if before is not None and after is not None:
        missing = after.first - before.last - 1
        each_ms = (after.first_at_ms - before.last_at_ms) / missing
        begin_ms, origin = float(before.last_at_ms), before.last
    elif before is not None:
        each_ms, begin_ms, origin = before.window_ms(), float(before.last_at_ms), before.last
    elif after is not None:
        each_ms, begin_ms, origin = after.window_ms(), float(after.first_at_ms), after.first - 1
    else:
        return None
    from_ms = round(begin_ms + (first - 1 - origin) * each_ms)
    return GapSpan(from_ms, max(from_ms, round(begin_ms + (last - origin) * each_ms)), state)


def _run(db: sqlite3.Connection, boot_no: int, where: str, seq: int) -> _Run | None:
    query = (
        "SELECT first, last, first_at_ms, last_at_ms FROM runs WHERE boot_no = ?"  # noqa: S608
        f" AND first_at_ms IS NOT NULL AND last_at_ms IS NOT NULL AND {where} LIMIT 1"
    )
    row = db.execute(query, (boot_no, seq)).fetchone()
    return None if row is None else _Run(*row)
