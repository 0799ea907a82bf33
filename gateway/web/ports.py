"""What single parts of the API need of the gateway beside its operations and views."""

from collections.abc import AsyncIterator
from typing import Protocol

from gateway.logs import Line
from gateway.services.trust import Certificate


class Upload(Protocol):
    """A file that is being uploaded."""

    def write(self, piece: bytes) -> None:
        """Append a piece."""

    def finish(self) -> None:
        """Have everything on the disk."""

    async def take(self, name: str, who: str) -> dict[str, object]:
        """Take it in, finished, under a file's name; return its import."""

    def discard(self) -> None:
        """Forget it, whatever became of it."""


class Uploads(Protocol):
    """What takes uploaded tables in."""

    def begin(self) -> Upload:
        """Begin an upload; TransientError where too many are under way."""


class System(Protocol):
    """What the process knows of itself and its files."""

    def log_tail(self, lines: int, level: str | None) -> list[Line]:
        """Return the newest lines of at least this level, newest last."""

    def backup(self) -> AsyncIterator[bytes]:
        """Yield a consistent copy of the database, gzipped; StorageError where that fails."""

    def certificate(self) -> Certificate | None:
        """Return the site's CA, None where it has none."""
