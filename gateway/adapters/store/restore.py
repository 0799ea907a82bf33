"""Put a backup in the database's place while no daemon runs; the present one is kept aside."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.store import backup, cloud_due
from gateway.adapters.store.database import connect, lock_path
from gateway.adapters.store.readonly import is_ours
from gateway.adapters.store.schema import SCHEMA_VERSION, refuse_newer
from gateway.domain.errors import (
    AlreadyRunningError,
    BadInputError,
    ConfigError,
    SchemaTooNewError,
    StorageError,
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a backup holds; `newest_ms` is when its newest reading was received."""

    meters: int
    newest_ms: int | None


@contextlib.contextmanager
def hold(database: Path) -> Iterator[None]:
    """Keep the daemon out for the time of a `with` block.

    Raises AlreadyRunningError while it runs, ConfigError when the folder cannot be used.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(lock_path(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"storage.path: {database} cannot be used: {error.strerror}"
        raise ConfigError(msg) from error
    try:
        own_as(lock_path(database), database.parent)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        msg = (
            f"{database} is in use: a restore under a running daemon is not safe."
            " First: systemctl stop wattwarden"
        )
        raise AlreadyRunningError(msg) from error
    finally:
        os.close(lock)


def examine(file: Path) -> Content:
    """Check a backup wholly and return what it holds.

    Raises BadInputError when it is none or is damaged, SchemaTooNewError when a newer version
    wrote it.
    """
    if not file.is_file():
        msg = f"FILE: no file {file}"
        raise BadInputError(msg)
    try:
        with contextlib.closing(connect(file, read_only=True)) as db:
            ours = is_ours(db)
            if ours:
                refuse_newer(db, str(file))
                meters = int(db.execute("SELECT count(*) FROM meters").fetchone()[0])
                newest = db.execute(
                    "SELECT received_ms FROM readings ORDER BY row DESC LIMIT 1"
                ).fetchone()
    except SchemaTooNewError as error:
        msg = (
            f"FILE: {file} was written by a newer version (this one knows schema"
            f" {SCHEMA_VERSION}); install that version first"
        )
        raise SchemaTooNewError(msg) from error
    except (sqlite3.Error, StorageError) as error:
        msg = f"FILE: {file} is no readable database: {error}"
        raise BadInputError(msg) from error
    if not ours:
        msg = f"FILE: {file} is not a wattwarden database"
        raise BadInputError(msg)
    damage = backup.check(file)
    if damage:
        msg = f"FILE: {file} is damaged: {damage}"
        raise BadInputError(msg)
    return Content(meters, None if newest is None else int(newest[0]))


def restore(file: Path, database: Path, progress: backup.Progress) -> Path | None:
    """Replace the database by a backup; return where the present one now lies, if there was one.

    To be called while `hold` holds and after `examine`. At every moment either the old or the new
    database is in place, whole. Raises StorageError and changes nothing when it cannot be done.
    """
    if file.resolve() == database.resolve():
        msg = f"FILE: {file} is the database itself"
        raise BadInputError(msg)
    part = database.with_name(database.name + ".restoring")
    try:
        needed, free = file.stat().st_size, shutil.disk_usage(database.parent).free
        if free < needed:
            msg = f"{database.parent} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} needed"
            raise StorageError(msg)
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(connect(file, read_only=True)) as source:
            source.execute("BEGIN")
            backup.copy(source, part, progress)
        _mark_doubtful(part)
        damage = backup.check(part)
        if damage:
            msg = f"{part}: the copy is damaged ({damage}); the disk may be failing"
            raise StorageError(msg)
        own_as(part, database if database.exists() else database.parent)
        aside = _set_aside(database)
        backup.settle(part, database)
    except OSError as error:
        msg = f"{database}: {error.strerror}; the present database was left in place"
        raise StorageError(msg) from error
    finally:
        backup.remove_with_journals(part)
    return aside


def _mark_doubtful(part: Path) -> None:
    """Note in the copy that the cloud may hold more than it: what came after the backup."""
    now_ms = time.time_ns() // 1_000_000
    try:
        with contextlib.closing(sqlite3.connect(part)) as db, db:
            for (meter_no,) in db.execute("SELECT no FROM meters").fetchall():
                cloud_due.mark_doubtful(db, meter_no, now_ms)
    except sqlite3.Error as error:
        msg = f"{part}: the copy failed: {error}"
        raise StorageError(msg) from error


def _set_aside(database: Path) -> Path | None:
    """Give the present database a second name, with all it holds, and no companions.

    A -wal left beside the new file would be applied to it and destroy it, hence it is emptied
    into its own database first.
    """
    wal, shm = (database.with_name(database.name + end) for end in ("-wal", "-shm"))
    if not database.exists():
        wal.unlink(missing_ok=True)
        shm.unlink(missing_ok=True)
        return None
    whole = _checkpoint(database)
    aside = _second_name(database)
    if wal.exists() and not whole:
        wal.rename(aside.with_name(aside.name + "-wal"))
    wal.unlink(missing_ok=True)
    shm.unlink(missing_ok=True)
    return aside


def _second_name(database: Path) -> Path:
    """Give the database file a second name, told apart by the time, and return it."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = database.with_name(f"{database.name}.before-restore-{now}")
    number = 1
    while aside.exists():
        number += 1
        aside = database.with_name(f"{database.name}.before-restore-{now}-{number}")
    try:
        os.link(database, aside)
    except PermissionError:  # a file system without links, such as FAT
        database.rename(aside)
    return aside


def _checkpoint(database: Path) -> bool:
    """Move what the -wal holds into the file; False when the file is too damaged for that."""
    try:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
            db.execute("PRAGMA busy_timeout = 2000")
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.DatabaseError:
        return False
    if busy:
        msg = f"{database} is being read by another program, such as an export; end it first"
        raise StorageError(msg)
    return True


def own_as(path: Path, like: Path) -> None:
    """Give a file made by root to the daemon's account."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
