"""Named files somewhere: what a repository of models is published to and fetched from.

What is published under a name of its own never changes (`put_new`); the one file that does, TUF's
timestamp, is replaced only by who has seen what it replaces (`replace`).
"""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cloud_sync.bucket import storage_errors
from cloud_sync.errors import CloudBusyError
from gateway.domain.errors import BadInputError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.auth.credentials import Credentials

TIMEOUT_S = 60.0
LONGEST_NAME = 500
PIECE_BYTES = 262_144


class TakenError(ConflictError):
    """The name is taken by other content: the publisher must choose a new version."""


class Stored(NamedTuple):
    """A file, and which state of it this is: opaque, for `replace`."""

    body: bytes
    version: str


class ObjectStore(Protocol):
    """A place for files. All methods may block: call in a thread."""

    def put_new(self, name: str, body: bytes) -> None:
        """Store a file under a name nobody has; the same content again changes nothing.

        Raises TakenError where other content has the name.
        """

    def replace(self, name: str, body: bytes, version: str | None) -> None:
        """Replace a file as it was at `version`, None = make it; CloudBusyError otherwise."""

    def get(self, name: str) -> Stored:
        """Return a file; NotFoundError."""

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in order."""


class DirectoryStore:
    """Satisfies `ObjectStore` on a directory, which one publisher at a time writes to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_new(self, name: str, body: bytes) -> None:
        """Store a file under a name nobody has; the same content again changes nothing."""
        path = self._path(name)
        with self._written(path, body) as new:
            try:
                os.link(new, path)  # fails where the name is taken, whoever is quicker
            except FileExistsError:
                if path.read_bytes() != body:
                    raise _taken(name) from None

    def replace(self, name: str, body: bytes, version: str | None) -> None:
        """Replace a file as it was at `version`, None = make it; CloudBusyError otherwise."""
        path = self._path(name)
        found = self.get(name).version if path.is_file() else None
        if found != version:
            raise _changed(name)
        with self._written(path, body) as new:
            new.replace(path)

    def get(self, name: str) -> Stored:
        """Return a file; NotFoundError."""
        try:
            body = self._path(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _missing(name) from error
        return Stored(body, hashlib.sha256(body).hexdigest())

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in order."""
        files = (path for path in self._root.rglob("*") if path.is_file())
        names = (path.relative_to(self._root).as_posix() for path in files)
        return sorted(n for n in names if n.startswith(prefix) and "/.new-" not in f"/{n}")

    def _path(self, name: str) -> Path:
        return self._root / checked(name)

    @contextmanager
    def _written(self, path: Path, body: bytes) -> "Iterator[Path]":
        """Write beside the place, so that what stands there is always whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        new = Path(temporary)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            new.chmod(0o644)  # what is published is for all to read
            yield new
        finally:
            new.unlink(missing_ok=True)


class BucketStore:
    """Satisfies `ObjectStore` on Cloud Storage, below a prefix; conditions are the server's own."""

    def __init__(
        self, bucket: str, credentials: "Credentials", project: str, prefix: str = ""
    ) -> None:
        self._name = bucket
        self._credentials = credentials
        self._project = project
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._bucket: Any = None

    def put_new(self, name: str, body: bytes) -> None:
        """Store a file under a name nobody has; the same content again changes nothing."""
        try:
            self._upload(name, body, 0)
        except CloudBusyError:
            if self.get(name).body != body:
                raise _taken(name) from None

    def replace(self, name: str, body: bytes, version: str | None) -> None:
        """Replace a file as it was at `version`, None = make it; CloudBusyError otherwise."""
        self._upload(name, body, 0 if version is None else int(version))

    def get(self, name: str) -> Stored:
        """Return a file; NotFoundError."""
        from google.api_core.exceptions import NotFound

        with storage_errors():
            blob = self._blob(name)
            try:
                body = blob.download_as_bytes(timeout=TIMEOUT_S, retry=None)
            except NotFound as error:
                raise _missing(name) from error
            return Stored(body, str(blob.generation))

    def stream(self, name: str) -> "Iterator[bytes]":
        """Yield a file piece by piece, so that its reader can stop; NotFoundError."""
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        start = 0
        while True:
            with storage_errors():
                try:
                    piece = self._blob(name).download_as_bytes(
                        start=start, end=start + PIECE_BYTES - 1, timeout=TIMEOUT_S, retry=None
                    )
                except NotFound as error:
                    raise _missing(name) from error
                except RequestRangeNotSatisfiable:  # it ended with the piece before
                    return
            yield piece
            start += len(piece)
            if len(piece) < PIECE_BYTES:
                return

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in order."""
        with storage_errors():
            self._blob("any")  # opens the bucket
            found = self._bucket.list_blobs(
                prefix=self._prefix + prefix, timeout=TIMEOUT_S, retry=None
            )
            return sorted(blob.name.removeprefix(self._prefix) for blob in found)

    def _upload(self, name: str, body: bytes, generation: int) -> None:
        from google.api_core.exceptions import PreconditionFailed

        with storage_errors():
            try:
                self._blob(name).upload_from_string(
                    body, content_type="application/octet-stream", timeout=TIMEOUT_S, retry=None,
                    if_generation_match=generation,
                )  # fmt: skip
            except PreconditionFailed as error:
                raise _changed(name) from error

    def _blob(self, name: str) -> Any:  # noqa: ANN401 - google's untyped object
        if self._bucket is None:
            from google.cloud.storage import Client

            client = Client(project=self._project, credentials=self._credentials)
            self._bucket = client.bucket(self._name)
        return self._bucket.blob(self._prefix + checked(name))


def checked(name: str) -> str:
    """Return a name that stays below its root, or raise BadInputError."""
    parts = name.split("/")
    bad = any(part in ("", ".", "..") or part.startswith(".new-") for part in parts)
    if bad or len(name) > LONGEST_NAME or not name.isprintable() or "\\" in name:
        msg = f"{name[:60]!r} is no name of a file"
        raise BadInputError(msg)
    return name


def _taken(name: str) -> TakenError:
    return TakenError(f"{name} is published already, with other content")


def _changed(name: str) -> CloudBusyError:
    return CloudBusyError(f"{name} was changed by somebody else meanwhile")


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"no file {name[:200]}")
