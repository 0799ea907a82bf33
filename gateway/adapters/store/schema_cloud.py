"""Tables of what the cloud and the archive still lack, and the triggers that note it."""

import sqlite3
from collections.abc import Iterable

from gateway.services.cloud_feed import DAY_MS, HOUR_MS, QUARTER_MS, DueKind

NAME = "0007_cloud"
TABLES = ("cloud_due", "cloud_days", "cloud_usage", "cloud_dead", "cloud_digests", "archived")
SCRIPT = """
CREATE TABLE cloud_due (
    kind TEXT NOT NULL, meter_no INTEGER NOT NULL, start_ms INTEGER NOT NULL,
    noted_ms INTEGER NOT NULL, taken INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, start_ms, meter_no)
) STRICT, WITHOUT ROWID;
CREATE TABLE cloud_days (
    meter_no INTEGER NOT NULL, day INTEGER NOT NULL, spans BLOB NOT NULL,
    PRIMARY KEY (meter_no, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE cloud_usage (
    day INTEGER NOT NULL, kind TEXT NOT NULL, writes INTEGER NOT NULL, bytes INTEGER NOT NULL,
    unknown INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE cloud_dead (
    no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE cloud_digests (path TEXT PRIMARY KEY, digest BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE archived (
    meter_no INTEGER NOT NULL, start_ms INTEGER NOT NULL, last_row INTEGER NOT NULL,
    PRIMARY KEY (meter_no, start_ms)
) STRICT, WITHOUT ROWID;
"""
# Seconds will do; `strftime` is there in every SQLite.
NOW_MS = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
# A row that waits is left as it is, so that a minute costs no page of the disk; one that is
# being sent is noted anew, and what is confirmed then is no longer forgotten.
NOTE = (
    " ON CONFLICT (kind, start_ms, meter_no) DO UPDATE SET taken = 0,"
    " noted_ms = excluded.noted_ms WHERE taken = 1"
)
SPANS_MS = {DueKind.QUARTER: QUARTER_MS, DueKind.HOUR: HOUR_MS}
EVENTS = (("insert", "INSERT", "NEW"), ("update", "UPDATE", "NEW"), ("delete", "DELETE", "OLD"))


def create(db: sqlite3.Connection) -> None:
    """Create the tables; triggers come when the cloud or the archive is switched on."""
    for statement in SCRIPT.split(";\n"):
        if statement.strip():
            db.execute(statement)


def _select(kind: DueKind, row: str) -> str:
    """Return what a changed row of the kind's table makes due."""
    if kind is DueKind.GAPS:
        return f"SELECT '{kind}', meter_no, 0, {NOW_MS} FROM boots WHERE no = {row}.boot_no"  # noqa: S608
    span_ms = SPANS_MS.get(kind)
    start = f"{row}.start_ms" if span_ms is None else f"{row}.start_ms - {row}.start_ms % {span_ms}"
    return f"SELECT '{kind}', meter_no, {start}, {NOW_MS} FROM channels WHERE no = {row}.channel_no"  # noqa: S608


SOURCES = {
    DueKind.QUARTER: "rollup_1m",
    DueKind.HOUR: "rollup_1m",
    DueKind.DAY: "rollup_1d",
    DueKind.GAPS: "gaps",
}
WANTED = "cloud_kinds"  # key in meta
MISSING = {
    DueKind.QUARTER: (
        "NOT EXISTS (SELECT 1 FROM cloud_days c WHERE c.meter_no = s.meter_no"  # noqa: S608 - numbers of ours
        f" AND c.day = s.start_ms / {DAY_MS}"
        f" AND substr(c.spans, s.start_ms % {DAY_MS} / {QUARTER_MS} + 1, 1) != x'00')"
    ),
    DueKind.HOUR: (
        "NOT EXISTS (SELECT 1 FROM archived a WHERE a.meter_no = s.meter_no"
        " AND a.start_ms = s.start_ms)"
    ),
}
INSERT = "INSERT INTO cloud_due (kind, meter_no, start_ms, noted_ms)"


def arm(db: sqlite3.Connection, kinds: Iterable[DueKind], *, backfill_from_ms: int) -> int:
    """Say which kinds are wanted now, and note from now on what makes them due.

    A kind that was never noted before is due with all that is stored from `backfill_from_ms` on
    and not in the cloud or the archive yet (they may know more than a database that was damaged).
    One that is wanted no more is noted all the same: it may be wanted again. Return how many
    entries were added.
    """
    wanted = sorted(set(kinds))
    text = ",".join(wanted)
    if text or db.execute("SELECT 1 FROM meta WHERE key = ?", (WANTED,)).fetchone():
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (WANTED, text))
    added = 0
    for kind in wanted:
        known = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        if db.execute(known, (f"cloud_{kind}_insert",)).fetchone() is None:
            for name, event, row in EVENTS:
                db.execute(
                    f"CREATE TRIGGER cloud_{kind}_{name} AFTER {event} ON {SOURCES[kind]} BEGIN"
                    f" {INSERT} {_select(kind, row)}{NOTE}; END"
                )
            added += _backfill(db, kind, backfill_from_ms)
    return added


def note_missing(db: sqlite3.Connection, from_ms: int) -> None:
    """Make due what is stored from `from_ms` on and not known to be in the cloud or the archive.

    For a database that has lost what was due.
    """
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    for kind in DueKind:
        if f"cloud_{kind}_insert" in names:
            _backfill(db, kind, from_ms)


def wanted_kinds(db: sqlite3.Connection) -> list[str]:
    """Return the kinds that the running, or last, daemon sends or archives."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (WANTED,)).fetchone()
    return [] if row is None else [kind for kind in str(row[0]).split(",") if kind]


def _backfill(db: sqlite3.Connection, kind: DueKind, from_ms: int) -> int:
    if kind is DueKind.GAPS:
        source = "SELECT DISTINCT meter_no, 0 AS start_ms FROM gaps JOIN boots ON no = boot_no"
        low = 0
    else:
        table = {DueKind.QUARTER: "rollup_15m", DueKind.HOUR: "rollup_1h"}.get(kind, "rollup_1d")
        source = f"SELECT DISTINCT meter_no, start_ms FROM {table} JOIN channels ON no = channel_no"  # noqa: S608
        low = from_ms - from_ms % DAY_MS
    missing = MISSING.get(kind, "true")
    return db.execute(
        f"{INSERT} SELECT ?, meter_no, start_ms, 0 FROM ({source}) AS s"  # noqa: S608 - ours
        f" WHERE start_ms >= ? AND {missing}{NOTE}",
        (kind, low),
    ).rowcount
