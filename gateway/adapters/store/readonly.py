"""Look into the database beside a running daemon: no lock, no writing, one snapshot."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.adapters.store.database import connect
from gateway.adapters.store.schema import refuse_newer
from gateway.domain.errors import ConfigError, StorageError


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection whose reads all see one moment.

    Raises ConfigError when there is no database that this user may read, SchemaTooNewError when
    a newer version wrote it, StorageError when it cannot be read.
    """
    _expect_file(path)
    db = connect(path, read_only=True)
    try:
        refuse_newer(db, str(path))
        if not is_ours(db):
            msg = f"storage.path: {path} is not a wattwarden database"
            raise ConfigError(msg)
        db.execute("BEGIN")
        yield db
    except sqlite3.Error as error:
        msg = f"storage.path: {path}: {error}; see: wattwarden doctor"
        raise StorageError(msg) from error
    finally:
        db.close()


def is_ours(db: sqlite3.Connection) -> bool:
    """Tell whether a database holds our tables; one of another program does not."""
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('meters','readings','runs','meta')"
    return int(db.execute(query).fetchone()[0]) == len(("meters", "readings", "runs", "meta"))


def _expect_file(path: Path) -> None:
    try:
        found = path.is_file() and os.access(path, os.R_OK)
        missing = not path.exists()
    except OSError as error:
        msg = f"storage.path: {path} cannot be looked at: {error.strerror}"
        raise ConfigError(msg) from error
    if missing:
        msg = f"storage.path: {path} does not exist; the daemon makes it at its first start"
        raise ConfigError(msg)
    if not found:
        msg = f"storage.path: {path} cannot be read by this user; try: sudo -u wattwarden …"
        raise ConfigError(msg)
