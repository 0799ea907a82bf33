"""Boots a board in MicroPython's unix VM: littlefs in the flash's file, boot.py, main.py, REPL."""

import json
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

# Runs in the VM: usb_board_boot.py JOB.json RAW, where RAW is 1 after a soft reset of the raw REPL.
with open(sys.argv[1]) as _file:  # noqa: PTH123 - MicroPython
    _JOB: "dict[str, Any]" = json.load(_file)
_RAW = sys.argv[2] == "1"
_BLOCK = 4096
_EMPTY = b"\xff" * _BLOCK


class _Flash:
    """A NOR flash's part as MicroPython's block device."""

    def __init__(self, path: str, start: int, size: int) -> None:
        self._file: BinaryIO = open(path, "r+b")  # noqa: SIM115, PTH123 - as long as the board
        self._start = start
        self._size = size

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
        self._file.seek(self._start + block * _BLOCK + offset)
        self._file.readinto(buf)  # type: ignore[attr-defined]

    def writeblocks(self, block: int, buf: bytearray, offset: "int | None" = None) -> None:
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        self._file.seek(self._start + block * _BLOCK + offset)
        self._file.write(buf)

    def ioctl(self, what: int, argument: int) -> int:
        if what == 4:
            return self._size // _BLOCK
        if what == 5:
            return _BLOCK
        if what == 6:
            self._file.seek(self._start + argument * _BLOCK)
            self._file.write(_EMPTY)
        return 0


def _reset() -> None:
    """End as a board's reset does, whatever runs: the VM has no other way out of `-i`."""
    print("\r\nets Jul 29 2019 12:21:46\r\n\r\nrst:0xc (SW_CPU_RESET),boot:0x13")  # noqa: T201
    os.system("kill -9 $PPID")  # noqa: S605 - sh's parent is this process


class _Machine:
    """What the installer's tools ask of `machine`."""

    reset = staticmethod(_reset)

    class WDT:
        def __init__(self, timeout: int = 5000) -> None:
            pass

        def feed(self) -> None:
            pass

    @staticmethod
    def unique_id() -> bytes:
        return b"\x24\x0a\xc4\x00\x00\x01"


class _Page:
    """Stands in for the board page: gives the simulated one, on the wires that the job names."""

    def Board(self, clamps: int) -> "simboard.Board":  # noqa: N802 - a class's name
        params = dict(_JOB["sim"])
        params["clamps"] = clamps
        board = simboard.Board(params, None)
        board.reset = _reset  # type: ignore[method-assign,assignment]
        return board


sys.path[:0] = _JOB["host"]
import simboard  # noqa: E402 - from the host, before / is the board's own
import vfs  # noqa: E402
from simrom import Rom  # noqa: E402

_MODULES: "dict[str, Any]" = sys.modules
_MODULES["machine"] = _Machine()
_MODULES["board"] = _Page()
sys.path[:] = ["", ".frozen", "/lib"]
_flash = _Flash(_JOB["flash"], _JOB["vfs_start"], _JOB["vfs_bytes"])


def _rom_ioctl(what: int, *_: object) -> int:
    """Answer as a chip does whose partition table has no ROM partition."""
    return 0 if what == 1 else -22


def _rom() -> "Any":  # noqa: ANN401 - an ioctl
    """Return the access to the ROM partition that the table in the flash names."""
    with open(_JOB["flash"], "rb") as file:  # noqa: PTH123
        file.seek(0x8000)
        table = file.read(0xC00)
    for at in range(0, len(table), 32):
        magic, _, _, start, size, name, _ = struct.unpack("<2sBBII16sI", table[at : at + 32])
        if magic == b"\xaa\x50" and name.rstrip(b"\0") == b"romfs":
            return Rom(_JOB["flash"], min(size, _JOB["rom_bytes"]), start).ioctl
    return _rom_ioctl


class _Vfs:
    """The interpreter's module, with the ROM partition that the VM lacks."""

    mount = staticmethod(vfs.mount)
    umount = staticmethod(vfs.umount)
    VfsLfs2 = vfs.VfsLfs2
    VfsRom = vfs.VfsRom
    rom_ioctl = staticmethod(_rom())


_MODULES["vfs"] = _Vfs


def _mount() -> None:
    """Mount as the ESP32 port's _boot.py and inisetup.py do."""
    try:
        system = vfs.VfsLfs2(_flash)
    except OSError:
        first = bytearray(_BLOCK)
        _flash.readblocks(0, first)
        while first != _EMPTY:
            print("The filesystem appears to be corrupted. If you had important data there, you")  # noqa: T201
            time.sleep(3)
        vfs.VfsLfs2.mkfs(_flash)
        system = vfs.VfsLfs2(_flash)
        with system.open("boot.py", "w") as file:  # type: ignore[attr-defined]
            file.write("# This file is executed on every boot\n")
    vfs.mount(system, "/")
    os.chdir("/")


def _run(name: str) -> None:
    try:
        os.stat(name)  # noqa: PTH116
    except OSError:
        return
    try:
        with open(name) as file:  # noqa: PTH123
            exec(compile(file.read(), name, "exec"), {"__name__": "__main__"})  # noqa: S102
    except SystemExit:
        _reset()
    except KeyboardInterrupt as error:
        sys.print_exception(error)  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - as the board does
        sys.print_exception(error)  # type: ignore[attr-defined]


# First of all: whatever happens below, nothing that runs here may reach the host's files.
vfs.umount("/")
_mount()
_run("boot.py")
if not _RAW:
    _run("main.py")
