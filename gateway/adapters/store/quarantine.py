"""A database that cannot be opened is set aside, and what can be read of it is taken over."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import structlog

from gateway.adapters.store.database import Database
from gateway.domain.errors import StorageError

log = structlog.get_logger()
# sqlite.org/rescode.html: SQLITE_CORRUPT, SQLITE_NOTADB
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRIMARY_CODE = 0xFF
# Who may log in, which meters there are, what they have delivered (so that nothing is stored
# twice), and alerts. Readings and rollups stay in the file that was set aside.
SALVAGED = (
    "users", "meters", "channels", "boots", "runs", "gaps", "alerts", "alert_history",
    "verdicts", "outbox", "dead_letter_counts",
)  # fmt: skip


def open_or_replace(path: Path) -> tuple[Database, str]:
    """Open a database; a damaged file is moved away and a fresh one opened in its place.

    Return it with a sentence for people that says what happened, "" when nothing did. Raises
    as `Database` does for everything else.
    """
    try:
        return Database(path), ""
    except StorageError as error:
        if not _is_damage(error):
            raise
        said = str(error)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    log.error("database_set_aside", reason=said, file=str(aside))
    database = Database(path)
    rows = database.write_now(lambda db: _salvage(db, aside))
    log.info("database_salvaged", rows=rows)
    note = (
        f"The database was damaged ({said}). It was set aside as {aside}, and a fresh one was begun"
        f" with {rows} rows of meters, users and alerts that could be read. Replace the card; the"
        " readings in the old file are not lost as long as it is kept."
    )
    return database, note


def _is_damage(error: StorageError) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(code, int) and code & PRIMARY_CODE in DAMAGED


def _salvage(db: sqlite3.Connection, aside: Path) -> int:
    """Copy what can be read, row by row, until a table's damage; return how many rows."""
    count = 0
    try:
        old = sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    with closing(old):
        for table in SALVAGED:
            try:
                for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - names of ours
                    count += _take_over(db, table, row)
            except sqlite3.DatabaseError as error:
                log.warning("table_damaged", table=table, error=str(error))
    return count


def _take_over(db: sqlite3.Connection, table: str, row: tuple[object, ...]) -> bool:
    """Insert one row unless what it belongs to could not be read."""
    marks = ",".join("?" * len(row))
    try:
        db.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608 - names of ours
    except sqlite3.IntegrityError:
        return False
    return True
