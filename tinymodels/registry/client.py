"""A gateway's view of a repository: python-tuf's client, on a source of ours."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from gateway.domain.errors import (
    ConfigError,
    GatewayError,
    NotFoundError,
    StorageError,
    TransientError,
)
from gateway.services.models.ports import Offer, RegistryRefusedError, Why
from tinymodels.registry.items import MOST_BYTES
from tinymodels.registry.ports import METADATA, TARGETS, Source

LONGEST_FILE_S: Final = 120.0  # 4 MB at 35 kB/s
LONGEST_PULL_S: Final = 900.0
LIMITS: Final = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=4,
    root_max_length=65_536,
    timestamp_max_length=16_384,
    snapshot_max_length=65_536,
    targets_max_length=1_048_576,
)
MOST_OFFERS = 2000
VOUCHING = ("root", "timestamp", "snapshot", "targets")


class SourceFetcher(FetcherInterface):
    """Reads files of a source; the updater bounds their size, this their time."""

    def __init__(
        self, source: Source, *, file_s: float = LONGEST_FILE_S, pull_s: float = LONGEST_PULL_S
    ) -> None:
        self._source = source
        self._file_s = file_s
        self._until_s = time.monotonic() + pull_s
        self.unreachable: GatewayError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Yield a file; a missing one raises here already, as the updater expects."""
        pieces = self._source.stream(url)
        try:
            first = next(pieces, b"")
        except NotFoundError as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        except GatewayError as error:
            self.unreachable = error
            raise exceptions.DownloadError(str(error)) from error
        return self._rest(url, first, pieces)

    def _rest(self, url: str, first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
        until_s = min(self._until_s, time.monotonic() + self._file_s)
        yield first
        try:
            for piece in pieces:
                if time.monotonic() > until_s:
                    msg = f"{url}: not here within its time"
                    raise exceptions.SlowRetrievalError(msg)
                yield piece
        except GatewayError as error:
            self.unreachable = error
            raise exceptions.DownloadError(str(error)) from error


class Client:
    """Satisfies `Registry`. What it trusts lies in `folder`, which no other process may use."""

    def __init__(
        self, source: Source, root: bytes, folder: Path, channel: str, *,
        file_s: float = LONGEST_FILE_S,
    ) -> None:  # fmt: skip
        """`root` is the pinned root: with another one nothing of a repository is believed."""
        self._source = source
        self._root = root
        self._folder = folder
        self._channel = channel
        self._file_s = file_s
        self._updater: Updater | None = None
        self._fetcher: SourceFetcher | None = None

    def offers(self, at_ms: int) -> Sequence[Offer]:
        """Look what there is, expiry judged as at that time (UTC ms)."""
        with self._told():
            updater = self._begin(at_ms)
            updater.refresh()
            updater.get_targetinfo(f"{self._channel}/none")  # has the channel's metadata loaded
            listed, expires_ms = self._listed()
            infos = [updater.get_targetinfo(path) for path in listed[:MOST_OFFERS]]
            self._keep_safe()
        return [_offer(info, expires_ms) for info in infos if info is not None]

    def _begin(self, at_ms: int) -> Updater:
        """Return a new updater: one instance looks once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob("tmp*"):  # of a write that the power cut ended
            left.unlink(missing_ok=True)
        self._fetcher = SourceFetcher(self._source, file_s=self._file_s)
        self._updater = updater = Updater(
            str(self._folder), METADATA, str(self._folder), TARGETS, self._fetcher, LIMITS,
            bootstrap=self._root,
        )  # fmt: skip
        # There is no public way to say what time it is (theupdateframework/python-tuf has
        # `reference_time` on the set alone); docs/adr says why a gateway must.
        trusted = updater._trusted_set  # noqa: SLF001
        trusted.reference_time = datetime.fromtimestamp(at_ms / 1000, UTC)
        return updater

    def _listed(self) -> tuple[list[str], int]:
        """Return the channel's paths, and until when all that vouches for them is good.

        The files were verified and written a moment ago; each path is asked of the updater again.
        """
        channel = self._read(self._channel)
        moments = [self._read(name).expires for name in VOUCHING] + [channel.expires]
        return list(channel.targets), int(min(moments).timestamp() * 1000)

    def _read(self, name: str) -> Any:  # noqa: ANN401 - tuf's union of roles
        return Metadata[Any].from_bytes((self._folder / f"{name}.json").read_bytes()).signed

    def _keep_safe(self) -> None:
        """Have what is trusted now survive a power cut: it is what refuses older states."""
        for path in [*self._folder.rglob("*.json"), self._folder, self._folder / "root_history"]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def fetch(self, offer: Offer) -> bytes:
        """Return an offered file, as long as its metadata says and with its hash."""
        if self._updater is None:
            msg = "look for offers first"
            raise RuntimeError(msg)
        if offer.length > MOST_BYTES:
            msg = f"{offer.path}: {offer.length} bytes are more than {MOST_BYTES}"
            raise RegistryRefusedError(Why.ENDLESS, msg)
        path = self._folder / "download"
        with self._told():
            info = self._updater.get_targetinfo(offer.path)
            if info is None or info.hashes.get("sha256") != offer.sha256:
                msg = f"{offer.path}: offered no more"
                raise RegistryRefusedError(Why.METADATA, msg)
            try:
                self._updater.download_target(info, str(path))
                return path.read_bytes()
            finally:
                path.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise our errors for tuf's, each with a word for what is wrong."""
        try:
            yield
        except exceptions.DownloadLengthMismatchError as error:
            raise RegistryRefusedError(Why.ENDLESS, str(error)) from error
        except exceptions.DownloadError as error:
            known = self._fetcher.unreachable if self._fetcher else None
            msg = str(known or "") or str(error) or "the repository is too slow"
            raise TransientError(msg) from error
        except exceptions.RepositoryError as error:
            raise RegistryRefusedError(_word(error), _text(error)) from error
        except OSError as error:
            msg = f"what the models' repository says cannot be kept: {error.strerror or error}"
            raise StorageError(msg) from error


def pinned(path: Path) -> bytes:
    """Return the pinned root; ConfigError where the file holds none."""
    try:
        body = path.read_bytes()
        kind = Metadata[Any].from_bytes(body).signed.type
    except OSError as error:
        msg = f"models.root_file: {path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    except exceptions.RepositoryError as error:
        msg = f"models.root_file: {path} is no root.json of a repository"
        raise ConfigError(msg) from error
    if kind != "root":
        msg = f"models.root_file: {path} holds {kind}, not root"
        raise ConfigError(msg)
    return body


def _offer(info: TargetFile, expires_ms: int) -> Offer:
    custom = info.custom if isinstance(info.custom, dict) else {}
    return Offer(info.path, info.length, info.hashes.get("sha256", ""), custom, expires_ms)


def _word(error: exceptions.RepositoryError) -> Why:
    words: tuple[tuple[type[Exception], Why], ...] = (
        (exceptions.ExpiredMetadataError, Why.EXPIRED),
        (exceptions.BadVersionNumberError, Why.ROLLBACK),
        (exceptions.UnsignedMetadataError, Why.SIGNATURE),
        (exceptions.LengthOrHashMismatchError, Why.CONTENT),
    )
    return next((word for kind, word in words if isinstance(error, kind)), Why.METADATA)


def _text(error: Exception) -> str:
    if isinstance(error, exceptions.ExpiredMetadataError):
        return f"{error}: its publisher has not renewed it, or somebody holds newer ones back"
    return str(error) or type(error).__name__
