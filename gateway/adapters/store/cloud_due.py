"""What is due for the cloud or the archive: found, taken, confirmed, set aside."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.adapters.store import schema_cloud
from gateway.adapters.store.alerts import RENEWAL
from gateway.services.cloud_feed import (
    DAY_MS,
    LENGTH_MS,
    QUARTER_MS,
    QUARTERS_A_DAY,
    SETTLED_MS,
    SILENT_MS,
    Backlog,
    DeadDocument,
    Due,
    DueKind,
    DueQuery,
    Usage,
)

MOST_DEAD = 1000
AHEAD_MS = 3_600_000  # noted so far in the future: the clock has gone back since
DOUBTFUL = "doubtful_until_ms:"  # + meter's number: before this, others may hold more than we do
TAKING_OVER = "salvage"  # key in meta while a damaged database's history is being copied
FIRST_MS = -(2**62)


def find_due(db: sqlite3.Connection, query: DueQuery) -> list[Due]:
    """Return what is over and quiet, oldest first; not what is being taken over just now."""
    length_ms = LENGTH_MS[query.kind]
    judged_ms = length_ms + (0 if query.kind is DueKind.GAPS else SETTLED_MS)
    over_ms = -1 if query.now_ms is None else query.now_ms - SILENT_MS
    copying = db.execute("SELECT 1 FROM meta WHERE key = ?", (TAKING_OVER,)).fetchone()
    rows = db.execute(
        "SELECT d.meter_no, start_ms FROM cloud_due d LEFT JOIN judged j ON j.meter_no = d.meter_no"
        " WHERE kind = ? AND (noted_ms <= ? OR noted_ms > ?)"
        " AND (? OR start_ms >="
        "   ifnull((SELECT value + 0 FROM meta WHERE key = ? || d.meter_no), ?))"
        " AND (start_ms + ? <= ? OR j.at_ms >= start_ms + ?) ORDER BY start_ms, d.meter_no LIMIT ?",
        (
            query.kind, query.wall_ms - query.quiet_ms, query.wall_ms + AHEAD_MS,
            copying is None, DOUBTFUL, FIRST_MS, length_ms, over_ms, judged_ms, query.limit,
        ),
    )  # fmt: skip
    return [Due(query.kind, meter_no, start_ms) for meter_no, start_ms in rows]


def find_between(
    db: sqlite3.Connection, kind: DueKind, meter_no: int, span: tuple[int, int]
) -> list[Due]:
    """Return what is due of one meter with a start in [from, to)."""
    rows = db.execute(
        "SELECT start_ms FROM cloud_due WHERE kind = ? AND start_ms >= ? AND start_ms < ?"
        " AND meter_no = ?",
        (kind, *span, meter_no),
    )
    return [Due(kind, meter_no, start_ms) for (start_ms,) in rows]


def take(db: sqlite3.Connection, entries: Sequence[Due]) -> None:
    """Mark entries as being sent: what changes from now on is noted anew."""
    db.executemany(
        "UPDATE cloud_due SET taken = 1 WHERE kind = ? AND start_ms = ? AND meter_no = ?",
        [(entry.kind, entry.start_ms, entry.meter_no) for entry in entries],
    )


def forget(db: sqlite3.Connection, entries: Sequence[Due]) -> None:
    """Forget entries that are safe, unless they changed while they were being sent."""
    db.executemany(
        "DELETE FROM cloud_due WHERE kind = ? AND start_ms = ? AND meter_no = ? AND taken = 1",
        [(entry.kind, entry.start_ms, entry.meter_no) for entry in entries],
    )


def note(db: sqlite3.Connection, entries: Sequence[Due]) -> None:
    """Make entries due: a silent meter's open minute, which no row of the tables tells."""
    db.executemany(
        "INSERT INTO cloud_due (kind, meter_no, start_ms, noted_ms) VALUES (?,?,?,0)"
        " ON CONFLICT (kind, start_ms, meter_no) DO UPDATE SET taken = 0 WHERE taken = 1",
        entries,
    )


def mark_doubtful(db: sqlite3.Connection, meter_no: int, until_ms: int) -> None:
    """Note that of the time before `until_ms` the cloud may hold what the store has lost."""
    db.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET"
        " value = max(value + 0, excluded.value + 0)",
        (f"{DOUBTFUL}{meter_no}", str(until_ms)),
    )


def give_up_minutes(db: sqlite3.Connection, until_ms: int) -> None:
    """Have nothing due of minutes before `until_ms`, which are gone for good from the store."""
    db.execute("DELETE FROM cloud_due WHERE kind = ? AND start_ms < ?", (DueKind.QUARTER, until_ms))
    for (meter_no,) in db.execute("SELECT no FROM meters").fetchall():
        mark_doubtful(db, meter_no, until_ms)


def doubtful_until_ms(db: sqlite3.Connection, meter_no: int) -> int:
    """Return the time before which the cloud and the archive may hold more than the store."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (f"{DOUBTFUL}{meter_no}",)).fetchone()
    return FIRST_MS if row is None else int(row[0])


@contextmanager
def unchanged(db: sqlite3.Connection, from_ms: int, to_ms: int) -> Iterator[None]:
    """Have what the block writes of [from, to] make nothing due that was not due before it.

    For rows that are copied and not new: the cloud has had them, or they are due already.
    """
    kinds = ",".join(f"'{kind}'" for kind in DueKind)
    query = (
        f"SELECT kind, meter_no, start_ms FROM cloud_due WHERE kind IN ({kinds})"  # noqa: S608 - ours
        " AND start_ms BETWEEN ? AND ?"
    )
    span = (from_ms - DAY_MS, to_ms)
    before = set(db.execute(query, span).fetchall())
    yield
    after = set(db.execute(query, span).fetchall())
    db.executemany(
        "DELETE FROM cloud_due WHERE kind = ? AND meter_no = ? AND start_ms = ?", after - before
    )


def read_spans(db: sqlite3.Connection, meter_no: int, day: int) -> bytes:
    """Return for each quarter of a UTC day in which kind of document it is (0: in none)."""
    row = db.execute(
        "SELECT spans FROM cloud_days WHERE meter_no = ? AND day = ?", (meter_no, day)
    ).fetchone()
    return bytes(QUARTERS_A_DAY) if row is None else bytes(row[0])


def write_spans(db: sqlite3.Connection, entries: Sequence[tuple[Due, int]]) -> None:
    """Note in which kind of document quarters are now."""
    days: dict[tuple[int, int], bytearray] = {}
    for entry, code in entries:
        key = (entry.meter_no, entry.start_ms // DAY_MS)
        spans = days.setdefault(key, bytearray(read_spans(db, *key)))
        spans[entry.start_ms % DAY_MS // QUARTER_MS] = code
    db.executemany(
        "INSERT OR REPLACE INTO cloud_days VALUES (?,?,?)",
        [(*key, bytes(spans)) for key, spans in days.items()],
    )


def count(db: sqlite3.Connection, usage: Sequence[Usage]) -> None:
    """Add to what was written."""
    db.executemany(
        "INSERT INTO cloud_usage VALUES (?,?,?,?,?) ON CONFLICT (day, kind) DO UPDATE SET"
        " writes = writes + excluded.writes, bytes = bytes + excluded.bytes,"
        " unknown = unknown + excluded.unknown",
        usage,
    )


def read_usage(db: sqlite3.Connection, from_day: int, to_day: int) -> list[Usage]:
    """Return what was written on days from … to, both included."""
    query = "SELECT * FROM cloud_usage WHERE day >= ? AND day <= ? ORDER BY day, kind"
    return [Usage(*row) for row in db.execute(query, (from_day, to_day))]


def bury(db: sqlite3.Connection, dead: DeadDocument) -> None:
    """Keep a note of a document that is refused for ever; the oldest of too many go."""
    db.execute("DELETE FROM cloud_dead WHERE path = ?", (dead.path,))
    db.execute(
        "INSERT INTO cloud_dead (at_ms, path, reason, bytes) VALUES (?,?,?,?)",
        (dead.at_ms, dead.path, dead.reason, dead.bytes),
    )
    newest = db.execute("SELECT max(no) FROM cloud_dead").fetchone()[0]
    db.execute("DELETE FROM cloud_dead WHERE no <= ?", (newest - MOST_DEAD,))


def read_dead(db: sqlite3.Connection, limit: int) -> list[DeadDocument]:
    """Return the newest documents that were set aside."""
    query = "SELECT no, at_ms, path, reason, bytes FROM cloud_dead ORDER BY no DESC LIMIT ?"
    return [DeadDocument(*row) for row in db.execute(query, (limit,))]


def read_backlog(db: sqlite3.Connection) -> Backlog:
    """Return what waits for the cloud and the archive, and since when."""
    query = "SELECT kind, count(*), min(start_ms) FROM cloud_due WHERE kind != 'gaps' GROUP BY kind"
    wanted = schema_cloud.wanted_kinds(db)
    rows = [row for row in db.execute(query).fetchall() if row[0] in wanted]
    news = "SELECT count(*), min(created_ms) FROM outbox WHERE kind != ?"
    alerts, since_ms = db.execute(news, (RENEWAL,)).fetchone()
    oldest = [since_ms] if alerts else []
    oldest += [start_ms for _, _, start_ms in rows]
    return Backlog({"alert": alerts, **{kind: n for kind, n, _ in rows}}, min(oldest, default=0))
