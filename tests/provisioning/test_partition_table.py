"""The table that an installer writes beside an image, so that the firmware runs in place."""

import hashlib
import struct

import pytest

from provisioning.errors import ImageError
from provisioning.partition_table import (
    ROM_BYTES,
    TABLE_BYTES,
    files_at,
    rom_of,
    with_rom,
)

ENTRY = struct.Struct("<2sBBII16sI")
PUBLISHED = [
    (1, 2, 0x9000, 0x6000, b"nvs"),
    (1, 1, 0xF000, 0x1000, b"phy_init"),
    (0, 0, 0x10000, 0x1F0000, b"factory"),
]
FILES = (1, 0x81, 0x200000, 0x200000, b"vfs")


def table(*entries: tuple[int, int, int, int, bytes]) -> bytes:
    packed = b"".join(ENTRY.pack(b"\xaa\x50", *entry, 0) for entry in entries)
    return packed.ljust(TABLE_BYTES, b"\xff")


def names(packed: bytes) -> dict[bytes, tuple[int, int]]:
    found = {}
    for at in range(0, TABLE_BYTES, ENTRY.size):
        magic, _, _, start, size, name, _ = ENTRY.unpack_from(packed, at)
        if magic != b"\xaa\x50":
            digest = packed[at + 16 : at + 32]
            assert packed[at : at + 16] == b"\xeb\xeb" + b"\xff" * 14
            assert digest == hashlib.md5(packed[:at], usedforsecurity=False).digest()
            break
        found[name.rstrip(b"\0")] = (start, size)
    return found


@pytest.mark.parametrize("entries", [PUBLISHED, [*PUBLISHED, FILES]])
def test_the_rom_partition_takes_the_end_of_the_application_s(
    entries: list[tuple[int, int, int, int, bytes]],
) -> None:
    made = with_rom(table(*entries), 1_700_000)
    assert len(made) == TABLE_BYTES
    places = names(made)
    assert places[b"factory"] == (0x10000, 0x1D0000)
    assert places[b"romfs"] == rom_of(made) == (0x1E0000, ROM_BYTES)
    assert places.get(b"vfs") == (FILES[2:4] if FILES in entries else None)
    assert files_at(made) == files_at(table(*entries)) == 0x200000, "a board's files stay"
    assert with_rom(made, 1_700_000) == made


def test_an_application_that_needs_the_room_keeps_it() -> None:
    whole = table(*PUBLISHED)
    assert with_rom(whole, 0x1D0001) == whole
    assert rom_of(whole) is None
    assert rom_of(with_rom(whole, 0x1D0000)) == (0x1E0000, ROM_BYTES)


def test_what_is_no_table_is_refused() -> None:
    for content in (b"\xff" * TABLE_BYTES, b""):
        with pytest.raises(ImageError, match="no partition table"):
            with_rom(content, 1_000_000)
