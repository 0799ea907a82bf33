"""MicroPython images: the pinned ones, fetched once and kept; checks before anything is written."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from gateway.domain.errors import TransientError
from provisioning.errors import ImageError
from provisioning.partition_table import TABLE_AT, files_at, with_rom

VERSION: Final = "1.28.0"
SOURCE: Final = "https://micropython.org/resources/firmware/"
_TABLE_END, _APP_AT = 0x9000, 0x10000
_MAGIC = 0xE9  # of every ESP image
_ENTRY_MAGIC = b"\xaa\x50"
_MOST_BYTES: Final = 8 << 20
_CONNECT_S: Final = 20.0
# `chip_id` of the extended image header (esp_image_format.h of ESP-IDF).
_CHIP_IDS: Final[Mapping[int, str]] = {
    0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6",
    16: "esp32h2", 18: "esp32p4", 23: "esp32c5",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pinned:
    """A released image: where it starts in the flash, and what it must be."""

    name: str
    start: int
    sha256: str


# MicroPython 1.28.0 of 2026-04-06. Whoever changes the version puts in the hashes of the files
# as downloaded from SOURCE; a wrong one refuses the right file and never lets in a wrong one.
PINNED: Final[Mapping[str, Pinned]] = {
    "esp32": Pinned(
        "ESP32_GENERIC-20260406-v1.28.0.bin",
        0x1000,
        "cd7820d02c35d34dd403b44263129c6a511b350aea8446c229890753fe240784",
    ),
    "esp32s3": Pinned(
        "ESP32_GENERIC_S3-20260406-v1.28.0.bin",
        0,
        "8c6039d40024cae3c6b04bb434f77901548f5487df9789af15548c54f9e11d7f",
    ),
    "esp32c3": Pinned(
        "ESP32_GENERIC_C3-20260406-v1.28.0.bin",
        0,
        "c749c22b6fe00cb8211a3b227ed6c0ce9babb518fd8f5a661f7496eb878fa895",
    ),
}


@dataclass(frozen=True, slots=True)
class Image:
    """A checked image. `vfs_start` is where the board will keep its files."""

    parts: tuple[tuple[int, bytes], ...]
    sha256: str
    vfs_start: int


def cache_folder() -> Path:
    """Return where fetched images and built firmware are kept for the next board."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wattwarden"


def from_file(path: Path, chip: str, *, sha256: str | None = None) -> Image:
    """Return the image in a file, for one chip.

    It must have the pinned hash, or the one given. ImageError says what is wrong with it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"--image {path}: cannot be read ({error.strerror}); name the downloaded .bin file"
        raise ImageError(msg) from error
    found = chip_of(content)
    if found != chip:
        kind = f"an image for {found}" if found else "no ESP32 image"
        msg = f"--image {path}: this is {kind}, the board has an {chip}; get {PINNED[chip].name}"
        raise ImageError(msg)
    digest = hashlib.sha256(content).hexdigest()
    if digest != (sha256 or PINNED[chip].sha256).lower():
        msg = (
            f"--image {path}: its SHA-256 is {digest}, which is not that of {PINNED[chip].name};"
            " download it again, or name the hash of an image you trust with --sha256"
        )
        raise ImageError(msg)
    return _split(content, chip, digest)


def fetched(
    chip: str, hear: Callable[[float], None], *, source: str = SOURCE, folder: Path | None = None
) -> Image:
    """Return the pinned image of a chip, downloaded unless it was before.

    TransientError when it cannot be fetched, ImageError when what came is something else.
    """
    pinned = PINNED[chip]
    kept = (folder or cache_folder() / "images") / pinned.name
    if not (kept.is_file() and _sha256(kept) == pinned.sha256):
        _download(source + pinned.name, kept, pinned, hear)
    return _split(kept.read_bytes(), chip, pinned.sha256)


def chip_of(content: bytes) -> str | None:
    """Return the chip an image is made for, None when it is no ESP image."""
    if len(content) < _TABLE_END or content[0] != _MAGIC:
        return None
    number = int.from_bytes(content[12:14], "little")
    return _CHIP_IDS.get(number, f"chip {number}")


def _split(content: bytes, chip: str, sha256: str) -> Image:
    """Leave out what lies between table and application: the board keeps its own there.

    The table gets a partition that the firmware runs from.
    """
    start = PINNED[chip].start
    app = content[_APP_AT - start :]
    table = content[TABLE_AT - start : _TABLE_END - start]
    if not app or app[0] != _MAGIC or not table.startswith(_ENTRY_MAGIC):
        msg = "the image is cut short or not merged; download it again"
        raise ImageError(msg)
    table = with_rom(table, len(app))
    parts = ((start, content[: TABLE_AT - start] + table), (_APP_AT, app))
    return Image(parts, sha256, files_at(table))


def _download(address: str, kept: Path, pinned: Pinned, hear: Callable[[float], None]) -> None:
    part = kept.with_suffix(".part")
    by_hand = f"or download it elsewhere from {address} and give it with --image"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(address, timeout=_CONNECT_S) as answer,  # noqa: S310 - SOURCE
            part.open("wb") as file,
        ):
            _copy(answer, file, hear)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        msg = f"{pinned.name} cannot be fetched ({reason}); mend this machine's network, {by_hand}"
        raise TransientError(msg) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"{part.parent}: {error.strerror}; make room there, {by_hand}"
        raise ImageError(msg) from error
    found = _sha256(part)
    if found != pinned.sha256:
        part.unlink()
        msg = (
            f"what {address} gave has SHA-256 {found}, not that of the released image; try another"
            f" network, {by_hand}"
        )
        raise ImageError(msg)
    part.replace(kept)


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, hear: Callable[[float], None]) -> None:
    total, got = int(answer.headers.get("Content-Length") or 0), 0
    while piece := answer.read(1 << 16):
        got += len(piece)
        if got > _MOST_BYTES:
            msg = f"more than {_MOST_BYTES} bytes came"
            raise http.client.HTTPException(msg)
        file.write(piece)
        hear(got / total if total else 0.0)
    if got < total:
        msg = f"{got} of {total} bytes came"
        raise http.client.HTTPException(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
