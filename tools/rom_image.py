"""Images of MicroPython's ROM file system: files that an interpreter runs where they lie."""

from collections.abc import Mapping
from typing import Final

# MicroPython's manual, reference/romfs: the magic, then records of kind, length and content.
MAGIC: Final = b"\xd2\xcd\x31"
_VERBATIM: Final = 2
_FILE: Final = 5


def pack_image(files: Mapping[str, bytes]) -> bytes:
    """Return the image of one folder with these files, in their order; its length is even."""
    content = b"".join(_record(_FILE, _named(name, data)) for name, data in files.items())
    length = _number(len(content))
    if (len(MAGIC) + len(length) + len(content)) % 2:
        length = b"\x80" + length
    return MAGIC + length + content


def _named(name: str, data: bytes) -> bytes:
    return _number(len(name)) + name.encode("ascii") + _record(_VERBATIM, data)


def _record(kind: int, content: bytes) -> bytes:
    return _number(kind) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """Return a number in groups of 7 bits, the highest first."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))
