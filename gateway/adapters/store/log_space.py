"""Give the write-ahead log its full length at once, so that commits overwrite and never extend it.

A commit that makes a file longer has ext4 write its journal too: as many bytes again as the
commit itself (measured on a loop device, docs/performance.md).
"""

import os
import shutil
from pathlib import Path

from gateway.domain.errors import StorageError

# A header, then 1000 pages, each with a header before it (sqlite.org/fileformat2.html#walformat):
# then SQLite begins the log again (wal_autocheckpoint), so that it stays about this long.
LOG_BYTES = 32 + 1000 * (24 + 4096)
ENOUGH_FREE_BYTES = 64 * 1024 * 1024
PIECE = bytes(256 * 1024)


def log_path(database: Path) -> Path:
    """Return the write-ahead log beside a database."""
    return database.with_name(database.name + "-wal")


def give_log_space(database: Path) -> None:
    """Fill the log up with zeros; what it holds stays.

    Only for the one writer, while it writes nothing. SQLite takes zeros for the end of a log: no
    checksum fits them (the same format, 4.1). Nothing is done where the disk has no room to spare.
    Raises StorageError when the disk fails.
    """
    path = log_path(database)
    try:
        missing = LOG_BYTES - path.stat().st_size
        if missing <= 0 or shutil.disk_usage(path.parent).free < ENOUGH_FREE_BYTES:
            return
        with path.open("ab", buffering=0) as file:
            while missing > 0:
                missing -= file.write(PIECE[:missing])
            os.fsync(file.fileno())
    except FileNotFoundError:
        return  # nothing has been written through a log yet
    except OSError as error:
        msg = f"storage.path: {path} cannot be written: {error.strerror}"
        raise StorageError(msg) from error
