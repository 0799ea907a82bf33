"""The ROM partition of a simulated board: memory outside the VM's heap, and a file behind it."""

import os

from envmem import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

SECTOR = 4096
_KEY = b"METER_ROM="
_COUNT, _AREA, _ERASE, _WRITE, _DONE = 1, 2, 3, 4, 5
_EINVAL = 22


class Rom:
    """What `vfs.rom_ioctl` is on a chip, as flash behaves: erased to ones, written to zeros.

    It lies in a file, from the byte `start` on; without the file it is empty.
    """

    def __init__(self, path: str, size: int, start: int = 0) -> None:
        self._start = start
        self._area = memory(_KEY, size)
        try:
            os.stat(path)
        except OSError:
            with open(path, "wb") as new:
                for _ in range(size // SECTOR):  # noqa: FURB122 - the VM has no writelines
                    new.write(b"\xff" * SECTOR)
        self._file: BinaryIO = open(path, "r+b")  # noqa: SIM115 - open as long as the process
        self._file.seek(start)
        self._file.readinto(self._area)

    def ioctl(self, what: int, *given: "object") -> "object":
        """Do an operation; a negative number is an error."""
        if what == _COUNT:
            return 1
        if not given or given[0] != 0:
            return -_EINVAL
        if what == _AREA:
            return self._area
        if what == _ERASE:
            return self._erase(given[1])  # type: ignore[arg-type]
        if what == _WRITE:
            return self._write(given[1], given[2])  # type: ignore[arg-type]
        return 0 if what == _DONE else -_EINVAL

    def _erase(self, length: int) -> int:
        if length > len(self._area):
            return -_EINVAL
        for sector in range((length + SECTOR - 1) // SECTOR):
            for at in range(sector * SECTOR, (sector + 1) * SECTOR):
                self._area[at] = 0xFF
            self._keep(sector * SECTOR, SECTOR)
        return 4  # the least that can be written

    def _write(self, at: int, piece: "bytearray") -> int:
        if at + len(piece) > len(self._area):
            return -_EINVAL
        for k in range(len(piece)):
            self._area[at + k] &= piece[k]
        self._keep(at, len(piece))
        return 0

    def _keep(self, at: int, length: int) -> None:
        self._file.seek(self._start + at)
        self._file.write(memoryview(self._area)[at : at + length])
        self._file.flush()
