"""A consistent copy of the database beside a running daemon."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gateway.adapters.store.database import connect, lock_path
from gateway.adapters.store.readonly import snapshot
from gateway.domain.errors import BadInputError, StorageError

Progress = Callable[[int, int], None]  # pages done, pages in all
PAGES_A_STEP = 1024  # 4 MB: a progress bar moves, and other processes get their turn


class DamagedError(StorageError):
    """The copy does not pass SQLite's check, so neither would its source."""


def backup(source: Path, target: Path, progress: Progress, *, replace: bool) -> int:
    """Copy the database to `target`, mode 0600, and return its bytes.

    The file appears whole and checked or not at all; a copy of a damaged database is kept as
    `<target>.damaged` and DamagedError raised. BadInputError when `target` cannot be written
    or exists and is not to be replaced, ConfigError and StorageError as `snapshot`.
    """
    refuse_target(source, target, replace=replace)
    part = target.with_name(target.name + ".part")
    try:
        _create(part)
        with snapshot(source) as db:
            copy(db, part, progress)
        damage = check(part)
        if damage:
            kept = target.with_name(target.name + ".damaged")
            settle(part, kept)
            msg = (
                f"{source} is damaged ({damage}); what could be copied is in {kept}."
                " Replace the disk, then restore an older backup"
            )
            raise DamagedError(msg)
        settle(part, target)
    finally:
        remove_with_journals(part)
    return target.stat().st_size


def refuse_target(source: Path, target: Path, *, replace: bool) -> None:
    """Raise BadInputError for a target that cannot or must not be written."""
    if target.is_dir():
        msg = f"FILE: {target} is a folder"
        raise BadInputError(msg)
    if not target.parent.is_dir():
        msg = f"FILE: there is no folder {target.parent}"
        raise BadInputError(msg)
    if target.exists() and not replace:
        msg = f"FILE: {target} exists; give --force to replace it"
        raise BadInputError(msg)
    own = {source.resolve(), lock_path(source).resolve()}
    own |= {source.resolve().with_name(source.name + end) for end in ("-wal", "-shm", ".sock")}
    if target.resolve() in own:
        msg = f"FILE: {target} belongs to the database itself"
        raise BadInputError(msg)
    with contextlib.suppress(OSError):  # a missing source is told of later
        needed, free = source.stat().st_size, shutil.disk_usage(target.parent).free
        if free < needed:
            msg = f"FILE: {target.parent} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} needed"
            raise BadInputError(msg)


def _create(part: Path) -> None:
    """Make an empty file of mode 0600; what an earlier attempt left is removed."""
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"FILE: {part} cannot be written: {error.strerror}"
        raise BadInputError(msg) from error


def copy(source: sqlite3.Connection, part: Path, progress: Progress) -> None:
    """Copy a database page by page into an empty file that nothing else uses.

    The source's open read transaction keeps one snapshot for all steps; without it SQLite
    begins anew whenever the daemon commits (https://www.sqlite.org/c3ref/backup_finish.html).
    Raises StorageError.
    """
    source.execute("SELECT 1 FROM sqlite_master").fetchone()  # BEGIN alone takes no snapshot
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")  # settle() syncs it as a whole
            source.backup(
                db,
                pages=PAGES_A_STEP,
                progress=lambda _, left, total: progress(total - left, total),
            )
            # One file without companions; the daemon turns WAL on again when it opens it.
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("DELETE FROM meta WHERE key = 'open'")  # nobody has the copy open
    except sqlite3.Error as error:
        msg = f"{part}: the copy failed: {error}"
        raise StorageError(msg) from error


def check(path: Path) -> str:
    """Return what SQLite's integrity_check finds wrong with a file at rest, "" for nothing."""
    try:
        with contextlib.closing(connect(path, read_only=True)) as db:
            found = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else found.replace("\n", " ")[:200]


def schema_of(path: Path) -> tuple[int, frozenset[str]]:
    """Return the schema's number and the names of its migrations; StorageError if unreadable."""
    try:
        with contextlib.closing(connect(path, read_only=True)) as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            table = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
            if not db.execute(table).fetchone():
                return version, frozenset()
            rows = db.execute("SELECT name FROM _sqlite_migrations").fetchall()
            return version, frozenset(str(row[0]) for row in rows)
    except sqlite3.Error as error:
        msg = f"{path} cannot be read: {error}"
        raise StorageError(msg) from error


def settle(part: Path, target: Path) -> None:
    """Give a finished file its name for good, even if the power goes now."""
    try:
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        msg = f"{target} cannot be written: {error.strerror}"
        raise StorageError(msg) from error


def remove_with_journals(part: Path) -> None:
    """Remove an unfinished file and what SQLite may have put beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        part.with_name(part.name + end).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
