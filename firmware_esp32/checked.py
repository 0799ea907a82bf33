"""A small record in two alternating files, each with a counter and a CRC-32.

The newest valid file counts. A power cut while one is written leaves the other as it was, so a
record is either the last one saved or the one before it, and never a mixture.
"""

import os
import struct
from binascii import crc32

from errors import FlashError

# Counter, length of the data, CRC-32 over both and the data; little endian.
_HEAD = "<IHI"
_HEAD_BYTES = 10
_CRC_AT = 6
# Whatever a damaged length field says, no more than this is read.
MAX_BYTES = 4096


def _read(path: str) -> "tuple[int, bytes] | None":
    """Return counter and data of one file, None when it is missing or damaged."""
    try:
        # MicroPython takes all that is asked for from the heap at once, whatever there is to read.
        size = min(os.stat(path)[6], _HEAD_BYTES + MAX_BYTES)
        with open(path, "rb") as file:
            raw = file.read(size)
    except OSError:
        return None
    if len(raw) < _HEAD_BYTES:
        return None
    counter, length, crc = struct.unpack(_HEAD, raw[:_HEAD_BYTES])
    data = raw[_HEAD_BYTES:]
    if length != len(data) or crc != crc32(data, crc32(raw[:_CRC_AT])):
        return None
    return counter, data


class Checked:
    """A record named `name` in directory `root` (no trailing slash; "" is the file system's)."""

    def __init__(self, root: str, name: str) -> None:
        self._paths = (root + "/" + name + ".a", root + "/" + name + ".b")
        self._counter = -1  # of the newest valid file; -1 = not looked yet
        self._next = 0  # which file the next save writes

    def load(self) -> "bytes | None":
        """Return the record saved last, None when there is none; never raises on damage."""
        first = _read(self._paths[0])
        second = _read(self._paths[1])
        newest, self._next = first, 1
        if first is None or (second is not None and second[0] > first[0]):
            newest, self._next = second, 0
        if newest is None:
            self._counter = 0
            return None
        self._counter = newest[0]
        return newest[1]

    def save(self, data: bytes) -> None:
        """Save a record of at most MAX_BYTES; FlashError leaves the one before it valid."""
        if len(data) > MAX_BYTES:
            msg = f"a checked record holds at most {MAX_BYTES} bytes"
            raise FlashError(msg)
        if self._counter < 0:
            self.load()
        head = struct.pack("<IH", self._counter + 1, len(data))
        try:
            with open(self._paths[self._next], "wb") as file:
                file.write(head + struct.pack("<I", crc32(data, crc32(head))))
                file.write(data)  # not joined: a heap in use may have no room for it once more
        except OSError as error:
            msg = f"cannot write {self._paths[self._next]}"
            raise FlashError(msg) from error
        self._counter += 1
        self._next = 1 - self._next

    def remove(self) -> None:
        """Forget the record."""
        for path in self._paths:
            try:
                os.remove(path)
            except OSError:
                pass  # was not there
        self._counter = 0
        self._next = 0
