"""The content of a site's backup: a manifest with the sha256 of every file, then the files."""

import gzip
import hashlib
import io
import json
import stat
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from gateway.adapters.safekeeping.sealing import CUT_OFF, SealedReader, SealedWriter
from gateway.domain.errors import BadInputError

MANIFEST = "manifest.json"
DATABASE = "database"
FORMAT = 1
LARGEST_MANIFEST = 4_000_000
BLOCK = 1 << 20
COMPRESSION = 1  # a Pi's processor is slower than its disk beyond that


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: where it belongs, and what it must be. `user` and `group` are names."""

    path: str  # absolute; DATABASE for the database
    size: int
    sha256: str
    mode: int
    user: str
    group: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `made_ms` is Unix milliseconds."""

    site: str
    version: str
    made_ms: int
    config: str
    entries: Sequence[Entry]
    format: int = FORMAT


def entry_of(path: Path, name: str) -> Entry:
    """Describe a file."""
    found = path.stat()
    return Entry(name, found.st_size, digest(path), stat.S_IMODE(found.st_mode), *_owner(path))


def digest(path: Path) -> str:
    """Return the sha256 of a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(
    out: IO[bytes], manifest: Manifest, files: Sequence[Path], passphrase: str | None
) -> None:
    """Write a backup; `files` are the entries' files in their order. Raises OSError."""
    sealed = SealedWriter(out, passphrase)
    with (
        gzip.GzipFile(
            fileobj=cast("BinaryIO", sealed), mode="wb", compresslevel=COMPRESSION, mtime=0
        ) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        text = json.dumps(asdict(manifest), indent=1).encode()
        _add(tar, MANIFEST, len(text), io.BytesIO(text))
        for number, (entry, path) in enumerate(zip(manifest.entries, files, strict=True)):
            with path.open("rb") as stream:
                _add(tar, str(number), entry.size, stream)
    sealed.finish()


def unpack(source: IO[bytes], folder: Path, passphrase: str | None) -> tuple[Manifest, list[Path]]:
    """Lay out a backup's files in an empty folder, each proven by its sha256.

    Returns the manifest and the files, in the order of its entries. BadInputError when anything
    is missing or not as the manifest says, or the passphrase is wrong.
    """
    files = []
    sealed = SealedReader(source, passphrase)
    try:
        with (
            gzip.GzipFile(fileobj=cast("BinaryIO", sealed), mode="rb") as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            manifest = _manifest(tar)
            for number, entry in enumerate(manifest.entries):
                target = folder / str(number)
                _extract(tar, entry, str(number), target)
                files.append(target)
            while packed.read(BLOCK):  # to the end, whose checksum counts too
                pass
    except (tarfile.TarError, EOFError) as error:
        raise BadInputError(CUT_OFF) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        msg = f"FILE: it is damaged: {error}"
        raise BadInputError(msg) from error
    return manifest, files


def _manifest(tar: tarfile.TarFile) -> Manifest:
    member = tar.next()
    stream = tar.extractfile(member) if member is not None and member.name == MANIFEST else None
    if member is None or stream is None or member.size > LARGEST_MANIFEST:
        raise BadInputError(CUT_OFF)
    try:
        fields = json.loads(stream.read())
        if fields.get("format") != FORMAT:
            msg = "FILE: a newer version made it; install that version first"
            raise BadInputError(msg)
        entries = [Entry(**one) for one in fields.pop("entries")]
        return Manifest(entries=entries, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"FILE: its manifest cannot be read: {error}"
        raise BadInputError(msg) from error


def _extract(tar: tarfile.TarFile, entry: Entry, name: str, target: Path) -> None:
    member = tar.next()
    stream = tar.extractfile(member) if member is not None and member.name == name else None
    if stream is None:
        raise BadInputError(CUT_OFF)
    target.touch(mode=0o600)
    found, size = hashlib.sha256(), 0
    with target.open("wb") as out:
        while block := stream.read(BLOCK):
            found.update(block)
            size += len(block)
            out.write(block)
    if size != entry.size or found.hexdigest() != entry.sha256:
        msg = f"FILE: {entry.path} in it is damaged; nothing was changed. Take another backup"
        raise BadInputError(msg)


def _add(tar: tarfile.TarFile, name: str, size: int, stream: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    tar.addfile(info, stream)


def _owner(path: Path) -> tuple[str, str]:
    try:
        return path.owner(), path.group()
    except KeyError:  # a number nobody bears
        return "root", "root"
