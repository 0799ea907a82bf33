"""Where a gateway reads a repository: a directory, or a web server."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from gateway.domain.errors import ConfigError, NotFoundError, TransientError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

PIECE_BYTES: Final = 65_536
CONNECT_S: Final = 10.0
SILENCE_S: Final = 20.0  # between two pieces
NOT_THERE: Final = (403, 404)  # a bucket that may not be listed answers 403 for what is not there
GOOD: Final = 200


class DirectorySource:
    """Satisfies `Source` on a directory: a disk, a share, a stick."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield a file piece by piece."""
        try:
            with (self._root / name).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if not self._root.is_dir():
                msg = f"models.repository: there is no directory {self._root}"
                raise TransientError(msg) from error
            msg = f"no file {name[:200]}"
            raise NotFoundError(msg) from error
        except OSError as error:
            msg = f"models.repository: {self._root} cannot be read: {error.strerror}"
            raise TransientError(msg) from error


class HttpSource:
    """Satisfies `Source` on a web server. Nothing it says is believed, nor followed elsewhere."""

    def __init__(self, url: str, *, silence_s: float = SILENCE_S) -> None:
        """Raise ConfigError for an address that is neither https nor this machine's own."""
        self._url = checked_url(url).rstrip("/")
        self._silence_s = silence_s

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield a file piece by piece, as it comes and as it lies there: nothing is unpacked."""
        import urllib3  # noqa: PLC0415 - a daemon without a repository never needs it

        pool = urllib3.PoolManager(
            num_pools=1, retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=self._silence_s),
        )  # fmt: skip
        try:
            answer = pool.request(
                "GET", f"{self._url}/{quote(name)}", preload_content=False, redirect=False,
                decode_content=False, headers={"User-Agent": "wattwarden"},
            )  # fmt: skip
            try:
                yield from _pieces(name, answer)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            msg = f"models.repository: {self._url} does not answer: {error}"[:300]
            raise TransientError(msg) from error
        finally:
            pool.clear()


def _pieces(name: str, answer: "BaseHTTPResponse") -> Iterator[bytes]:
    if answer.status in NOT_THERE:
        msg = f"no file {name[:200]}"
        raise NotFoundError(msg)
    if answer.status != GOOD:
        msg = f"models.repository: the server answers {answer.status} for {name[:200]}"
        raise TransientError(msg)
    while piece := answer.read1(PIECE_BYTES):  # what is there: a slow server cannot hold us long
        yield piece


def checked_url(url: str) -> str:
    """Return an address that a gateway may read, or raise ConfigError naming the setting.

    Everything is signed, so plain http would be safe; but it tells the neighbours what a home
    runs, and is allowed on this machine alone.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return url
    msg = f"models.repository: {url[:100]!r} must be https://…, gs://… or a directory"
    raise ConfigError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
