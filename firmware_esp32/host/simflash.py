"""A NOR flash in a file for littlefs: counts what is written, and can lose its power."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

BLOCK = 4096  # an ESP32's flash is erased in sectors of this size
ERASED = b"\xff" * BLOCK  # made once: a small heap soon has no room for a whole block
_SYNC, _COUNT, _SIZE, ERASE = 3, 4, 5, 6  # ioctl of MicroPython's block devices


class Flash:
    """A block device with MicroPython's extended interface.

    `writes` and `erases` count since the start. The write (or erase) number
    `cut_after`, counted from 1, is done by half and then the process kills itself as a
    power cut does.
    """

    def __init__(self, path: str, size: int, cut_after: "int | None" = None) -> None:
        self.writes = 0
        self.erases = 0
        self._size = size
        self._cut_after = cut_after
        try:
            os.stat(path)
        except OSError:
            with open(path, "wb") as new:
                for _ in range(size // BLOCK):  # noqa: FURB122 - the VM has no writelines
                    new.write(ERASED)
        self._file: BinaryIO = open(path, "r+b")  # noqa: SIM115 - open as long as the process

    def readblocks(self, block: int, buf: "bytearray", offset: int = 0) -> None:
        """Fill a buffer from a place."""
        self._file.seek(block * BLOCK + offset)
        self._file.readinto(buf)  # type: ignore[attr-defined]

    def writeblocks(self, block: int, buf: "bytearray", offset: "int | None" = None) -> None:
        """Write a buffer; without an offset the block is erased before."""
        if offset is None:
            self.ioctl(ERASE, block)
            offset = 0
        self.writes += 1
        self._put(block * BLOCK + offset, buf)

    def ioctl(self, what: int, argument: int) -> "int | None":
        """Answer the driver: sizes, and erase."""
        if what == _COUNT:
            return self._size // BLOCK
        if what == _SIZE:
            return BLOCK
        if what == ERASE:
            self.erases += 1
            self._put(argument * BLOCK, ERASED)
            return 0
        return 0 if what == _SYNC else None

    def _put(self, place: int, data: "bytes | bytearray") -> None:
        self._file.seek(place)
        if self._cut_after is not None and self.writes + self.erases >= self._cut_after:
            self._file.write(memoryview(data)[: len(data) // 2])
            self._file.flush()
            cut_power()
        self._file.write(data)
        self._file.flush()


def cut_power() -> None:
    """End this process with SIGKILL; nothing after this runs."""
    if hasattr(os, "getpid"):
        os.kill(os.getpid(), 9)
    os.system("kill -9 $PPID")  # noqa: S605, S607 - the VM has no kill; sh's parent is this process


def mount(path: str, size: int, cut_after: "int | None", place: str) -> Flash:
    """Mount the file as littlefs at a place, made anew when it holds none.

    RuntimeError under CPython, which has no littlefs.
    """
    try:
        import vfs  # noqa: PLC0415 - only the VM has it
    except ImportError:
        msg = "a flash image needs the MicroPython VM"
        raise RuntimeError(msg) from None
    flash = Flash(path, size, cut_after)
    try:
        system = vfs.VfsLfs2(flash)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        system = vfs.VfsLfs2(flash)
    vfs.mount(system, place)
    return flash
