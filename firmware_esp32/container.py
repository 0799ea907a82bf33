"""A firmware bundle: the modules of one version in one file, unpacked into a slot's folder.

Layout: "WWFW", format (one byte, 1), length of the manifest (4 bytes, little endian), the
manifest (JSON `{"files":[[name,size,sha256],…],"format":1,"version":N}`), then the files'
contents in the manifest's order. docs/firmware/bundles.md.
"""

import json
import os
import struct
import sys

from bootslot import MANIFEST, faults
from errors import BadBundleError
from refusals import SELFTEST
from wire import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, BinaryIO

    from slots import Lend

    Pause = Callable[[], Awaitable[None]]

MAGIC = b"WWFW"
FORMAT = 1
_HEAD = "<4sBI"
_HEAD_BYTES = 9
_MOST_MANIFEST = 12_000
_MOST_FILES = 96
_PIECE = 1024
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
_SHA256_DIGITS = 64
# They stay on the root for ever: a firmware that brought its own would only mislead.
_FORBIDDEN = ("main", "boot")


async def unpack(
    path: str, folder: str, version: int, pause: "Pause", lend: "Lend | None" = None
) -> None:
    """Unpack the container into the folder in place of what was there.

    The manifest is removed first and written last: a folder with a manifest is complete.
    BadBundleError "selftest" when the container does not fit together or is of another
    version than announced; OSError when the flash cannot be written. Awaits `pause` between
    pieces of work. The manifest is read in memory that `lend` lends, where it does.
    """
    with open(path, "rb") as source:
        manifest = _manifest(source, os.stat(path)[6], version, lend)
        await _clear(folder, pause)
        for name, size, _ in manifest["files"]:
            await _copy(source, folder + "/" + name, size, pause)
    with open(folder + "/" + MANIFEST, "w") as target:
        json.dump(manifest, target)


async def check(folder: str, pause: "Pause") -> None:
    """Read an unpacked slot back; BadBundleError "selftest" naming the first bad file.

    Every SHA-256 must be right, and every .mpy must be loadable by this interpreter.
    """
    for name in faults(folder, True):
        if name:
            _refuse(name + " is damaged")
        await pause()
    for name in os.listdir(folder):
        if name.endswith(".mpy"):
            with open(folder + "/" + name, "rb") as file:
                _check_bytecode(name, file.read(4))
            await pause()


def _refuse(detail: str) -> None:
    raise BadBundleError(SELFTEST, detail)


def _manifest(
    source: "BinaryIO", total: int, version: int, lend: "Lend | None"
) -> "dict[str, Any]":
    """Read and check the head; leaves the source at the first file's first byte."""
    head = source.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        _refuse("no firmware of a format known here")
    manifest: dict[str, Any] = {}
    try:
        magic, form, length = struct.unpack(_HEAD, head)
        if magic != MAGIC or form != FORMAT or length > _MOST_MANIFEST:
            _refuse("no firmware of a format known here")
        manifest = _json(source, length, lend)
        files = manifest["files"]
        if manifest["format"] != FORMAT or not 0 < len(files) <= _MOST_FILES:
            _refuse("manifest of another format")
        rest = total - _HEAD_BYTES - length
        for name, size, sha256 in files:
            _check_name(name)
            if len(sha256) != _SHA256_DIGITS or not 0 <= size <= rest or int(size) != size:
                _refuse(name + " goes beyond the bundle")
            rest -= size
        if manifest["version"] != version:
            _refuse("contains version " + str(manifest["version"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBundleError(SELFTEST, "manifest cannot be read") from error
    if rest:
        _refuse(str(rest) + " bytes too many")
    if not any(name in ("app.py", "app.mpy") for name, _, _ in files):
        _refuse("contains no app")
    return manifest


def _json(source: "BinaryIO", length: int, lend: "Lend | None") -> "dict[str, Any]":
    room = None if lend is None else lend(length)
    text = source.read(length) if room is None else room[: source.readinto(room)]  # type: ignore[attr-defined]
    read: dict[str, Any] = parsed(text)  # type: ignore[assignment]
    return read


def _check_name(name: str) -> None:
    stem, dot, kind = name.rpartition(".")
    plain = all(character in _NAME_CHARACTERS for character in stem)
    if not dot or not stem or not plain or kind not in ("py", "mpy") or stem in _FORBIDDEN:
        _refuse("file name " + repr(name))


async def _clear(folder: str, pause: "Pause") -> None:
    try:
        os.mkdir(folder)
    except OSError:
        pass  # is there already
    names = os.listdir(folder)
    if MANIFEST in names:
        os.remove(folder + "/" + MANIFEST)
        names.remove(MANIFEST)
    for name in names:
        os.remove(folder + "/" + name)
        await pause()


async def _copy(source: "BinaryIO", path: str, size: int, pause: "Pause") -> None:
    with open(path, "wb") as target:
        while size:
            piece = source.read(min(size, _PIECE))
            target.write(piece)
            size -= len(piece)
            await pause()


def _check_bytecode(name: str, head: bytes) -> None:
    """Compare a .mpy's head with what the interpreter loads (MicroPython's manual, mpy files)."""
    here = getattr(sys.implementation, "_mpy", None)
    if here is None:
        return  # CPython: nothing of it runs there
    machine = head[2] >> 2  # 0: no native code
    same_machine = machine == here >> 10 and head[2] & 3 == here >> 8 & 3
    if head[0] != ord("M") or head[1] != here & 0xFF or (machine and not same_machine):
        _refuse(name + " is for another interpreter or chip")
