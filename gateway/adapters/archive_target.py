"""The archive in a local directory."""

import contextlib
import os
from pathlib import Path

from gateway.domain.errors import ConfigError, StorageError


class DirectoryTarget:
    """Satisfies `ArchiveTarget`: a file gets its name when all of it is on the disk."""

    def __init__(self, root: Path) -> None:
        """Raise ConfigError where the directory cannot be made."""
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"archive.directory: {root} cannot be made: {error.strerror}"
            raise ConfigError(msg) from error

    def put(self, name: str, body: bytes) -> None:
        """Store a file whole; StorageError where the disk does not take it."""
        path = self._root / name
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            msg = f"archive.directory: {path} cannot be written: {error.strerror}"
            raise StorageError(msg) from error


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut (fsync(2), NOTES)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class MemoryTarget:
    """Satisfies `ArchiveTarget` in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, name: str, body: bytes) -> None:
        """Keep a file."""
        self.files[name] = body
