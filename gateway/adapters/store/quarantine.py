"""A damaged database is set aside, and what can be read of it is taken over.

At the start only what the gateway needs to go on: who may log in, which meters there are, what
they have delivered, alerts, and the newest readings. History follows while it runs
(salvage_job.py).
"""

import contextlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import structlog

from gateway.adapters.store import (
    salvage,
    salvage_runs,
    schema_care,
    schema_cloud,
    schema_home,
    schema_models,
    segments,
)
from gateway.adapters.store.database import (
    CHECKED,
    Database,
    connect,
    is_damage,
    suspect_path,
)
from gateway.adapters.store.salvage_plan import Plan
from gateway.adapters.store.schema import SEGMENT_BITS
from gateway.domain.errors import StorageError

log = structlog.get_logger()
# In the order of their foreign keys. Sessions and the audit go with the old file.
SALVAGED = (
    "users", "api_tokens", "meters", "channels", "boots", "runs", "gaps", "unplaced", "dirty",
    "judged", "models", "alerts", "alert_history", "verdicts", "outbox", "dead_letter_counts",
    *schema_home.TABLES, *schema_care.TABLES, *schema_cloud.TABLES, *schema_models.TABLES,
)  # fmt: skip
TAIL_ROWS = 200_000  # at most so many readings are copied before the intake begins
ASIDE = "set aside as "  # what the mark says while the taking over is not finished


def open_or_replace(path: Path, *, lasting: bool = False) -> tuple[Database, str]:
    """Open a database; a damaged file is moved away and a fresh one opened in its place.

    `lasting` as for `Database`. A file marked as suspect is checked before it is opened. Return the
    database with a sentence for people that says what happened, "" when nothing did. Raises as
    `Database` does for everything else.
    """
    mark = suspect_path(path)
    reason = _read_mark(mark)
    if reason.startswith(ASIDE):  # an earlier start was cut off in the middle of it
        return _take_over(path, path.with_name(reason.removeprefix(ASIDE)), "damage found earlier")
    said = _confirm(path, reason) if reason else ""
    if not said:
        mark.unlink(missing_ok=True)
        try:
            return Database(path, lasting=lasting), ""
        except StorageError as error:
            if not is_damage(error.__cause__):
                raise
            said = str(error.__cause__)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    mark.write_text(ASIDE + aside.name)
    _sync_folder(path)
    return _take_over(path, aside, said)


def _read_mark(mark: Path) -> str:
    try:
        return mark.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _confirm(path: Path, reason: str) -> str:
    """Return what is wrong with a suspect file, "" when a check finds it sound."""
    if reason.startswith(CHECKED):
        return reason.removeprefix(CHECKED)
    log.info("database_check_started", reason=reason)
    try:
        with closing(connect(path, read_only=True)) as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except (sqlite3.Error, StorageError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        return str(cause) if is_damage(cause) else ""
    log.info("database_checked", result=found)
    return "" if found == "ok" else found.replace("\n", " ")[:200]


def _take_over(path: Path, aside: Path, said: str) -> tuple[Database, str]:
    """Move the file away unless that is done, and fill a fresh one."""
    if not aside.exists():
        for ending in ("-wal", "-shm", ""):  # the file itself last: it says that all is moved
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        log.error("database_set_aside", reason=said, file=str(aside))
    elif not _is_filled(path):
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    database = Database(path)
    try:
        rows = database.write_now(lambda db: _salvage(db, aside))
    except BaseException:
        database.close()
        raise
    suspect_path(path).unlink(missing_ok=True)
    _sync_folder(path)
    log.info("database_salvaged", rows=rows)
    note = (
        f"The database was damaged ({said}). It was set aside as {aside}, and a fresh one was begun"
        f" with {rows} rows of meters, users, alerts and newest readings that could be read; the"
        " history follows in the background. Replace the card, and keep the old file until then."
    )
    return database, note


def _is_filled(path: Path) -> bool:
    """Tell whether the fresh database has taken over what it was to take over."""
    if not path.exists():
        return False
    with contextlib.suppress(sqlite3.Error, StorageError), closing(connect(path)) as db:
        return Plan.load(db) is not None
    return False


def _salvage(db: sqlite3.Connection, aside: Path) -> int:
    """Copy what the gateway needs to go on; return how many rows."""
    if Plan.load(db) is not None:
        return 0
    count = 0
    plan = Plan(file=aside.name)
    try:
        old = salvage.open_old(aside)
    except sqlite3.Error:
        plan.save(db)
        return 0
    with closing(old):
        incomplete = []
        for table in SALVAGED:
            rows, complete = _table(old, table)
            count += sum(_insert(db, table, row) for row in rows)
            if not complete:
                incomplete.append(table)
                log.warning("table_damaged", table=table, rows=len(rows))
        count += _tail(db, old, plan)
        plan.due_lost = not {"cloud_due", "cloud_days", "archived"}.isdisjoint(incomplete)
        if "runs" in incomplete:
            salvage_runs.rebuild(db, old)
        plan.guard_rollups(db, old)
    plan.save(db)
    return count


def _table(old: sqlite3.Connection, table: str) -> tuple[list[salvage.Row], bool]:
    try:
        return salvage.all_rows(old, table)
    except sqlite3.DatabaseError:  # not even the schema can be read, or it is an older one
        return [], False


def _insert(db: sqlite3.Connection, table: str, row: salvage.Row) -> bool:
    """Insert one row unless what it belongs to could not be read; an older one may be shorter."""
    marks = ",".join("?" * len(row))
    known = db.execute(f"PRAGMA table_info({table})").fetchall()
    columns = ",".join(str(column[1]) for column in known[: len(row)])
    try:
        db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608 - ours
    except sqlite3.DatabaseError as error:
        if is_damage(error) or isinstance(error, sqlite3.OperationalError):
            raise
        return False
    return True


def _tail(db: sqlite3.Connection, old: sqlite3.Connection, plan: Plan) -> int:
    """Copy the readings that are not judged and those of the last segment."""
    judged = salvage.highest(old, "SELECT value FROM meta WHERE key = 'looked_at'")
    judged = judged or salvage.highest(db, "SELECT max(row) FROM judged")
    last = salvage.highest(old, "SELECT max(row) FROM readings") or judged + TAIL_ROWS
    first = max(min(judged + 1, last + 1), last - TAIL_ROWS)
    plan.below_row = first = (first >> SEGMENT_BITS) << SEGMENT_BITS
    try:
        rows = list(salvage.rows_around(old, salvage.READINGS, first, last))
    except sqlite3.DatabaseError:
        rows = []
    marks = ",".join("?" * 11)
    db.executemany(f"INSERT OR IGNORE INTO readings VALUES ({marks})", rows)  # noqa: S608
    if rows:
        segments.close_segments(db, first, rows[-1][0])
    db.execute("INSERT OR REPLACE INTO meta VALUES ('looked_at', ?)", (str(judged),))
    return len(rows)


def _sync_folder(path: Path) -> None:
    """Have names in the database's folder survive a power cut."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
