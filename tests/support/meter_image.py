"""A MicroPython image for tests: the real layout and headers, and nothing that could run."""

import hashlib
import random
import struct
from pathlib import Path
from typing import Final

CHIP_IDS: Final = {"esp32": 0, "esp32s3": 9, "esp32c3": 5}
START: Final = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0}
TABLE_AT, APP_AT = 0x8000, 0x10000
_APP_BYTES: Final = 100_000


def image(chip: str = "esp32", *, seed: int = 1) -> bytes:
    """Return bootloader, partition table and application, as micropython.org merges them."""
    start = START[chip]
    merged = bytearray(b"\xff" * (APP_AT - start))
    boot = _program(chip, random.Random(seed).randbytes(20_000))
    merged[0x1000 - start if chip == "esp32" else 0 :][: len(boot)] = boot
    at = (0x1000 if chip == "esp32" else 0) - start
    merged[at : at + len(boot)] = boot
    table = _table()
    merged[TABLE_AT - start : TABLE_AT - start + len(table)] = table
    return bytes(merged) + _program(chip, random.Random(seed + 1).randbytes(_APP_BYTES))


def write_image(path: Path, chip: str = "esp32", *, seed: int = 1) -> tuple[Path, str]:
    """Write an image; return its path and its SHA-256."""
    content = image(chip, seed=seed)
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def _program(chip: str, content: bytes) -> bytes:
    """Return an ESP image of one segment: header, extended header, checksum, SHA-256."""
    content += b"\0" * (-len(content) % 4)
    head = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40080000)
    extended = struct.pack("<B3sHBHH4sB", 0xEE, b"\0" * 3, CHIP_IDS[chip], 0, 0, 99, b"\0" * 4, 1)
    body = head + extended + struct.pack("<II", 0x3FFB0000, len(content)) + content
    checksum = 0xEF
    for byte in content:
        checksum ^= byte
    body += b"\0" * (15 - len(body) % 16) + bytes([checksum])
    return body + hashlib.sha256(body).digest()


def _table() -> bytes:
    """Return the partition table of MicroPython's 4 MiB boards."""
    rows = (
        (1, 2, 0x9000, 0x6000, b"nvs"),
        (1, 1, 0xF000, 0x1000, b"phy_init"),
        (0, 0, 0x10000, 0x1F0000, b"factory"),
        (1, 0x81, 0x200000, 0x200000, b"vfs"),
    )
    table = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, sub, at, size, name, 0)
        for kind, sub, at, size, name in rows
    )
    return table + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()  # noqa: S324 - ESP-IDF's
