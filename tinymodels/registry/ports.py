"""Where a repository lies: what publishing and reading need of the place."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

METADATA = "metadata/"
TARGETS = "targets/"


class StoredFile(Protocol):
    """A file, and which state of it this is: opaque, for `replace`."""

    @property
    def body(self) -> bytes:
        """Its content."""

    @property
    def version(self) -> str:
        """Which state of it."""


class RepositoryStore(Protocol):
    """Where a publisher writes; a directory and Cloud Storage are such places."""

    def put_new(self, name: str, body: bytes) -> None:
        """Store a file under a name nobody has; the same content again changes nothing.

        Raises ConflictError where other content has the name.
        """

    def replace(self, name: str, body: bytes, version: str | None) -> None:
        """Replace a file as it was at `version`, None = make it; TransientError otherwise."""

    def get(self, name: str) -> StoredFile:
        """Return a file; NotFoundError."""

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in order."""


class Source(Protocol):
    """Where a gateway reads. What comes is not believed: its size and content are checked."""

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield a file piece by piece.

        Raises NotFoundError, and TransientError where the place cannot be reached.
        """


class Lifetimes(NamedTuple):
    """For how many days what is signed is good; then a gateway believes it no more."""

    root: int = 1095
    targets: int = 1095
    channel: int = 365
    snapshot: int = 90
    timestamp: int = 30
