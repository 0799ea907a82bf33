"""A meter's USB port without a meter: one pty, behind it an ESP32's ROM and MicroPython by turns.

`python -m tests.support.usb_board JOB.json` runs until SIGTERM. What esptool says reaches
esp32-mock-bootloader, whose flash is a file; when it lets go of the port the board boots what
lies in that file, in MicroPython's unix VM.
"""

import contextlib
import json
import mmap
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from pathlib import Path
from typing import Any, Final, Self

from simulation.firmware_files import ROM_BYTES
from tests.support.firmware import FIRMWARE, HOST, ROOT, find_vm

FLASH_BYTES: Final = 4 << 20
VFS_START: Final = 0x200000
APP_AT: Final = 0x10000
HEAP: Final = "640K"
IDLE_S: Final = 0.02
HANGS_S: Final = 6.0  # less than the 10 s that mpremote waits for a soft reset
SYNC: Final = b"\xc0\x00\x08\x24\x00"  # the start of esptool's first word
RAW_REPL: Final = b"raw REPL; CTRL-B to exit\r\n>"
FRIENDLY: Final = b">>> "
BOOT: Final = Path(__file__).with_name("usb_board_boot.py")
# Where the chip's ROM looks for the image.
IMAGE_AT: Final = {"esp32": 0x1000}


class Board:
    """The board's own side: what its ROM and its interpreter do."""

    def __init__(self, job_path: Path) -> None:
        self._job_path = job_path
        job = json.loads(job_path.read_text())
        self._chip: str = job["chip"]
        self._flash = Path(job["flash"])
        self._image = Path(job["image"])
        self._link = Path(job["link"])
        self._outer, slave = pty.openpty()
        tty.setraw(slave)
        self._name = os.ttyname(slave)
        os.close(slave)  # held open it would look as if another program used the port
        os.set_blocking(self._outer, False)
        self._vm: tuple[int, int] | None = None
        self._raw = False
        self._tail = b""
        self._rom = _Rom(self._flash, self._chip)

    def run(self) -> None:
        """Serve the port for ever."""
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self._name)
        self._boot(hard=True)
        while True:
            self._turn()

    def close(self) -> None:
        """End the interpreter and take the port away."""
        self._end_vm()
        self._link.unlink(missing_ok=True)

    # -- running -----------------------------------------------------------------------------

    def _turn(self) -> None:
        vm = self._vm
        poller = select.poll()
        poller.register(self._outer, select.POLLIN)
        if vm is not None:
            poller.register(vm[1], select.POLLIN)
        ready = dict(poller.poll(500))
        outer = ready.get(self._outer, 0)
        if outer & select.POLLIN:
            with contextlib.suppress(OSError):
                self._from_host(os.read(self._outer, 4096))
        elif outer:
            time.sleep(IDLE_S)  # nobody has the port open
        if vm is not None and self._vm is vm and vm[1] in ready:
            self._from_vm(vm)
        if vm is None and not outer & select.POLLIN:
            time.sleep(IDLE_S)
            self._boot(hard=True)  # a chip without a valid image tries again and again

    def _from_host(self, data: bytes) -> None:
        if SYNC in data:
            self._download_mode(data)
        elif self._vm is not None:
            os.write(self._vm[1], data)

    def _from_vm(self, vm: tuple[int, int]) -> None:
        try:
            data = os.read(vm[1], 4096)
        except OSError:
            data = b""
        if not data:
            self._left(vm)
            return
        self._out(data)
        self._tail = (self._tail + data)[-64:]
        if RAW_REPL in self._tail:
            self._raw, self._tail = True, b""
        elif b"help()" in self._tail:
            self._raw, self._tail = False, b""

    def _left(self, vm: tuple[int, int]) -> None:
        """Boot again: the interpreter left by a reset, or by Ctrl-D as a soft one."""
        os.waitpid(vm[0], 0)
        os.close(vm[1])
        self._vm = None
        hard = b"rst:0x" in self._tail
        if not hard:
            self._out(b"MPY: soft reboot\r\n")
        self._boot(hard=hard)

    def _boot(self, *, hard: bool) -> None:
        self._raw = self._raw and not hard
        self._tail = b""
        if not self._bootable():
            self._out(b"invalid header: 0xffffffff\r\n")
            return
        pid, master = pty.fork()
        if pid == 0:
            try:
                self._become_vm()
            finally:  # never on into the code of the board, whose port it would take away
                os._exit(127)
        self._vm = pid, master
        if self._raw:  # the firmware stays in raw mode over a soft reset
            self._out(self._into_raw(master))

    def _into_raw(self, master: int) -> bytes:
        """Bring a new VM into the raw REPL; return what the host is to see of that."""
        got = _read_until(master, FRIENDLY)
        if not got.endswith(FRIENDLY):
            self._raw = False  # it hangs in its boot, as a real one would
            return got
        os.write(master, b"\x01")
        _read_until(master, RAW_REPL)
        return RAW_REPL

    def _become_vm(self) -> None:
        tty.setraw(0)
        mode = termios.tcgetattr(0)
        mode[3] |= termios.ISIG  # ^C interrupts as it does on a UART's REPL
        termios.tcsetattr(0, termios.TCSANOW, mode)
        vm = find_vm() or "micropython"
        words = [vm, "-X", f"heapsize={HEAP}", "-i", str(BOOT), str(self._job_path)]
        environment = {**os.environ, "MICROPYPATH": f".frozen:{FIRMWARE}:{HOST}"}
        environment["METER_ROM"] = "-" * ROM_BYTES  # where the chip maps its ROM partition
        os.execve(vm, [*words, str(int(self._raw))], environment)  # noqa: S606

    def _bootable(self) -> bool:
        """Tell whether the flash holds the whole image, as a bootloader's hash check would."""
        image = self._image.read_bytes()
        start = IMAGE_AT.get(self._chip, 0)
        with self._flash.open("rb") as file:
            file.seek(APP_AT)
            return file.read(len(image) - (APP_AT - start)) == image[APP_AT - start :]

    # -- download mode -----------------------------------------------------------------------

    def _download_mode(self, data: bytes) -> None:
        """Hand the port to the ROM until the host lets go of it."""
        self._end_vm()
        self._raw = False
        held = True
        self._rom.begin()
        self._rom.write(data)
        poller = select.poll()
        poller.register(self._outer, select.POLLIN)
        poller.register(self._rom.fd, select.POLLIN)
        while held:
            for fd, events in poller.poll():
                if fd == self._outer and events & select.POLLHUP:
                    held = False
                elif fd == self._outer:
                    # What was there a moment ago may have been flushed by the host since.
                    with contextlib.suppress(BlockingIOError):
                        self._rom.write(os.read(self._outer, 65536))
                elif fd == self._rom.fd:
                    self._out(os.read(self._rom.fd, 65536))
        self._rom.end()
        self._boot(hard=True)  # esptool ends with a hard reset

    def _out(self, data: bytes) -> None:
        """Send as a UART does: when nobody takes it, it is lost."""
        poller = select.poll()
        poller.register(self._outer, select.POLLOUT)
        while data:
            events = dict(poller.poll(500)).get(self._outer, select.POLLHUP)
            if events & select.POLLHUP:
                return
            data = data[os.write(self._outer, data) :]

    def _end_vm(self) -> None:
        if self._vm is not None:
            os.kill(self._vm[0], signal.SIGKILL)
            os.waitpid(self._vm[0], 0)
            os.close(self._vm[1])
            self._vm = None


class _Rom:
    """esp32-mock-bootloader in a thread, its flash a file; each `begin` is a reset into it."""

    def __init__(self, flash: Path, chip: str) -> None:
        from esp32_mock_bootloader import server  # noqa: PLC0415 - it loads all of esptool

        # Its 0.05 s make read-flash fail wherever esptool has to wait for the processor.
        server._CLIENT_RECV_TIMEOUT = 20.0  # noqa: SLF001
        # On a busy machine esptool may take longer from one file to the next than the mock waits
        # before it forgets that its stub runs.
        server._FLASH_END_IDLE_SEC = 3600.0  # noqa: SLF001
        self._server = server
        self._chip = chip
        self._image = server.FlashImage()
        with flash.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._image.data = self._map
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.fd = -1

    def begin(self) -> None:
        """Start anew, without a stub."""
        self._stop = threading.Event()
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.fd = slave
        # What it holds as its slave is none: so our closing ends it at once.
        port = self._server.PtyMasterTransport(master, os.open(os.devnull, os.O_RDONLY))
        self._thread = threading.Thread(target=self._serve, args=(port, self._stop), daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Give it what the host said."""
        while data:
            data = data[os.write(self.fd, data) :]

    def end(self) -> None:
        """Finish what was begun, and put the flash on disk."""
        self._stop.set()
        os.close(self.fd)
        if self._thread is not None:
            self._thread.join()
        self._map.flush()

    def _serve(self, port: Any, stop: threading.Event) -> None:  # noqa: ANN401 - untyped package
        connection = self._server.BootloaderConnection(pty=port)
        self._server.handle_client(connection, stop, self._chip, flash=self._image)
        port.close()


def _read_until(fd: int, end: bytes) -> bytes:
    """Read until a text has come, the VM ends, or it has hung for long; return what came."""
    got = b""
    until_s = time.monotonic() + HANGS_S
    with contextlib.suppress(OSError):
        while not got.endswith(end) and time.monotonic() < until_s:
            if select.select([fd], [], [], 0.5)[0]:
                got += os.read(fd, 4096)
    return got


class UsbBoard:
    """The board as a test sees it: a port, a flash file, wires that can be hung in."""

    def __init__(
        self, directory: Path, image: Path, *, chip: str = "esp32", vfs_bytes: int = 2 << 20
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = directory / "ttyUSB0"
        self.flash = directory / "flash.bin"
        self._job_path = directory / "board.json"
        self._log = directory / "board.log"
        self._process: subprocess.Popen[bytes] | None = None
        if not self.flash.exists():
            self.flash.write_bytes(b"\xff" * FLASH_BYTES)
        self._job: dict[str, Any] = {
            "chip": chip,
            "flash": str(self.flash),
            "image": str(image),
            "link": str(self.port),
            "vfs_start": VFS_START,
            "vfs_bytes": vfs_bytes,
            "rom_bytes": ROM_BYTES,
            "host": [str(FIRMWARE), str(HOST)],
            "sim": {},
        }
        self._write()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Put the plug in; wait until the port is there."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.usb_board", str(self._job_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        until = time.monotonic() + 20
        while not self.port.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                msg = f"no board: {self._log.read_text()[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.02)

    def stop(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def log(self) -> str:
        """Return what the board's program complained of, for a test that fails."""
        return self._log.read_text()[-2000:]

    def boots(self, image: Path) -> None:
        """Have it boot another image than the one it was made with, once that is written."""
        self.stop()
        self._job["image"] = str(image)
        self._write()
        self.start()

    def wire(self, supply: dict[str, Any], *, networks: dict[str, str], **sim: object) -> None:
        """Hang its clamps on a supply (simulation.supply) and put Wi-Fi networks in reach.

        Counts from the next boot.
        """
        base = {"root": "", "speed": 1.0, "frame_us": 250, "read_us": 35}
        self._job["sim"] = {**base, **sim, "supply": supply, "networks": networks}
        self._write()

    def _write(self) -> None:
        fresh = self._job_path.with_suffix(".new")
        fresh.write_text(json.dumps(self._job))
        fresh.replace(self._job_path)


def _end(*_: object) -> None:
    sys.exit(0)


def main() -> None:
    """Run the board of the job file named on the command line until SIGTERM."""
    # A ^C on the port is the interpreter's, also while that is only about to be one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    board = Board(Path(sys.argv[1]))
    try:
        board.run()
    finally:
        board.close()


if __name__ == "__main__":
    main()
