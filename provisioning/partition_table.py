"""A partition table with room for the firmware to run in place: MicroPython's, and a ROM partition.

Format: ESP-IDF's partition tables; 32-byte entries, then an MD5 entry, erased to the end. The
partition takes the end of the application's, as in the table that MicroPython has for builds with
a ROM file system (ports/esp32/partitions-4MiB-romfs.csv): so the files of a board that was
flashed before stay where they are.
"""

import hashlib
import struct
from typing import Final

from provisioning.errors import ImageError

TABLE_AT: Final = 0x8000  # where it lies in flash
TABLE_BYTES: Final = 0xC00
ROM_BYTES: Final = 0x20000
_ENTRY: Final = struct.Struct("<2sBBII16sI")
_MAGIC: Final = b"\xaa\x50"
_MD5: Final = b"\xeb\xeb" + b"\xff" * 14
_APP, _FACTORY, _DATA, _ROMFS = 0x00, 0x00, 0x01, 0x8F
_FILES: Final = (b"vfs", b"ffat")

Entry = tuple[int, int, int, int, bytes, int]  # type, subtype, offset, size, name, flags


def with_rom(table: bytes, app_bytes: int) -> bytes:
    """Return a table with a partition `romfs` behind an application of so many bytes.

    A table that has one, or has no room for it, comes back as it is. ImageError when it is none.
    """
    entries = _entries(table)
    if rom_of(table) is not None:
        return table
    made: list[Entry] = []
    for entry in entries:
        kind, subtype, start, size, name, flags = entry
        rest = size - ROM_BYTES
        if (kind, subtype) == (_APP, _FACTORY) and app_bytes <= rest:
            made.append((kind, subtype, start, rest, name, flags))
            made.append((_DATA, _ROMFS, start + rest, ROM_BYTES, b"romfs", 0))
        else:
            made.append(entry)
    if made == entries:
        return table
    packed = b"".join(_ENTRY.pack(_MAGIC, *entry) for entry in made)
    packed += _MD5 + hashlib.md5(packed, usedforsecurity=False).digest()
    return packed.ljust(TABLE_BYTES, b"\xff") + table[TABLE_BYTES:]


def rom_of(table: bytes) -> tuple[int, int] | None:
    """Return where the ROM partition lies and its size, None where there is none."""
    for _, _, start, size, name, _ in _entries(table):
        if name == b"romfs":
            return start, size
    return None


def files_at(table: bytes) -> int:
    """Return where MicroPython keeps its files: their partition, else behind the last one.

    ImageError when it is no table.
    """
    for _, _, start, _, name, _ in _entries(table):
        if name in _FILES:
            return start
    return max(start + size for _, _, start, size, _, _ in _entries(table))


def _entries(table: bytes) -> list[Entry]:
    found: list[Entry] = []
    for at in range(0, len(table) - _ENTRY.size + 1, _ENTRY.size):
        magic, *entry = _ENTRY.unpack_from(table, at)
        if magic != _MAGIC:
            break
        kind, subtype, start, size, name, flags = entry
        found.append((kind, subtype, start, size, name.rstrip(b"\0"), flags))
    if not found:
        msg = "the image holds no partition table; download it again"
        raise ImageError(msg)
    return found
