"""The chosen firmware's copy in the flash's ROM partition, where its bytecode runs in place.

Lies on the root beside main.py, where no update ever replaces it. A slot's folder is what is
updated and fallen back to; the partition only repeats it, so that a power cut cannot harm it:
what is not whole is written again at the next boot. docs/firmware/layout.md.
"""

import hashlib
import json
import os
from binascii import hexlify

from bootslot import MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Ioctl = Callable[..., Any]  # vfs.rom_ioctl
    Files = Sequence[tuple[str, int, str]]  # name, size, SHA-256

MOUNT = "/rom"  # where MicroPython itself mounts an image that it finds at boot
# Operations of vfs.rom_ioctl, MicroPython's manual.
_COUNT, _AREA, _ERASE, _WRITE, _DONE = 1, 2, 3, 4, 5
_MAGIC = b"\xd2\xcd1"
_VERBATIM, _FILE = 2, 5  # kinds of records in an image
_SECTOR = 4096
_PIECE = 512  # a multiple of what any chip writes at least


def rom_ioctl() -> "Ioctl | None":
    """Return the interpreter's access to its ROM partitions, None where it has none."""
    try:
        import vfs  # noqa: PLC0415 - MicroPython's
    except ImportError:
        return None
    return getattr(vfs, "rom_ioctl", None)


def mounted(folder: str, ioctl: "Ioctl | None") -> "str | None":
    """Return where the copy of a slot's folder is mounted, made before if need be.

    None says that the firmware must run from its folder: there is no partition, it has no
    room, or it cannot be written.
    """
    area = _area(ioctl)
    _unmount()
    if ioctl is None or area is None:
        return None
    try:
        with open(folder + "/" + MANIFEST) as file:
            files = json.load(file)["files"]
        if _holds(area, files):
            return MOUNT
        _write(ioctl, len(area), folder, files)
        if _holds(area, files):
            return MOUNT
    except (OSError, ValueError, KeyError, TypeError) as error:
        print("loader: no copy in the ROM partition:", repr(error))  # noqa: T201
    return None


def _area(ioctl: "Ioctl | None") -> "memoryview | bytearray | None":
    """Return the first partition as memory."""
    if ioctl is None or ioctl(_COUNT) < 1:
        return None
    area = ioctl(_AREA, 0)
    return area if isinstance(area, (memoryview, bytearray)) else None


def _unmount() -> None:
    try:
        import vfs  # noqa: PLC0415 - MicroPython's

        vfs.umount(MOUNT)
    except (ImportError, OSError):
        pass


def _holds(area: "memoryview | bytearray", files: "Files") -> bool:
    """Mount what is in the partition; True when it is these files, else it is left unmounted."""
    import vfs  # noqa: PLC0415 - MicroPython's

    try:
        vfs.mount(vfs.VfsRom(area), MOUNT)
    except OSError:
        return False  # erased, or no image
    try:
        if len(os.listdir(MOUNT)) == len(files) and all(_same(*entry) for entry in files):
            return True
    except OSError:
        pass
    vfs.umount(MOUNT)
    return False


def _same(name: str, size: int, sha256: str) -> bool:
    """Tell whether a file in the partition is what the manifest says."""
    with open(MOUNT + "/" + name, "rb") as file:
        content = memoryview(file)  # type: ignore[arg-type]  # in place, MicroPython's VfsRom
        if len(content) != size:
            return False
        return hexlify(hashlib.sha256(content).digest()).decode() == sha256


def _write(ioctl: "Ioctl", room: int, folder: str, files: "Files") -> None:
    """Write an image of the files. OSError when it does not fit or cannot be written."""
    heads = [_head(name, size) for name, size, _ in files]
    total = sum(len(head) for head in heads) + sum(size for _, size, _ in files)
    length = _number(total)
    if (len(_MAGIC) + len(length) + total) % 2:
        length = b"\x80" + length  # the whole has an even length
    whole = len(_MAGIC) + len(length) + total
    sectors = (whole + _SECTOR - 1) // _SECTOR * _SECTOR
    if sectors > room:
        msg = "needs " + str(whole) + " bytes"
        raise OSError(msg)
    print("loader: copying", folder, "to the ROM partition")  # noqa: T201
    _checked(ioctl(_ERASE, 0, sectors))
    at = 0
    block, used = bytearray(_PIECE), 0
    for piece in _pieces(_MAGIC + length, heads, folder, files):
        done = 0
        while done < len(piece):
            part = piece[done : done + _PIECE - used]
            block[used : used + len(part)] = part
            used += len(part)
            done += len(part)
            if used == _PIECE:
                _checked(ioctl(_WRITE, 0, at, block))
                at += _PIECE
                used = 0
    if used:
        block[used:] = b"\xff" * (_PIECE - used)
        _checked(ioctl(_WRITE, 0, at, block))
    _checked(ioctl(_DONE, 0))


def _pieces(begin: bytes, heads: "list[bytes]", folder: str, files: "Files") -> "Iterator[bytes]":
    """Yield an image, piece by piece."""
    yield begin
    for head, (name, size, _) in zip(heads, files):  # noqa: B905 - no strict= on the board
        yield head
        with open(folder + "/" + name, "rb") as file:
            left = size
            while left:
                piece = file.read(min(left, _PIECE))
                if not piece:
                    msg = name + " is too short"
                    raise OSError(msg)
                left -= len(piece)
                yield piece


def _head(name: str, size: int) -> bytes:
    """Return what stands before a file's content: a record in a record."""
    inner = _number(len(name)) + name.encode() + _number(_VERBATIM) + _number(size)
    return _number(_FILE) + _number(len(inner) + size) + inner


def _number(value: int) -> bytes:
    """Return a number in groups of 7 bits, the highest first."""
    groups = bytes([value & 0x7F])
    while value := value >> 7:
        groups = bytes([0x80 | value & 0x7F]) + groups
    return groups


def _checked(result: "int | None") -> None:
    """OSError for what `rom_ioctl` returns when it fails."""
    if result is not None and result < 0:
        raise OSError(-result)
