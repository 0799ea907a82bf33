"""The chip in download mode, through esptool: what it is, and its flash."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.domain.errors import TransientError
from provisioning.errors import BoardError, PortError
from provisioning.tools import Done, RunTool, run_tool

# esptool's names of the chips the firmware has pins for (firmware_esp32/board.py).
CHIPS: Final[Mapping[str, str]] = {
    "ESP32": "esp32",
    "ESP32-S3": "esp32s3",
    "ESP32-C3": "esp32c3",
}
BAUD: Final = 460_800
ATTEMPTS: Final = 7  # esptool's own number of tries to reach a chip
_IDENTIFY_S, _READ_S, _WRITE_S, _ERASE_S = 60.0, 60.0, 300.0, 180.0
_TRIES = 3
_SILENT = "Failed to connect"  # after as many tries as esptool makes by itself
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
_HOLD_BOOT = (
    "hold the board's BOOT button while you plug it in, then try again; use a cable that carries"
    " data and another USB port if that does not help"
)
_WORDS: Final = (
    ("Permission denied", PortError, "the port may not be used; add yourself to group dialout"),
    ("port is busy or doesn't exist", PortError, "the port is busy or gone; close what uses it"),
    ("could not open port", PortError, "the port is busy or gone; close what uses it"),
    ("Failed to connect", BoardError, f"the board does not answer: {_HOLD_BOOT}"),
    ("No serial data received", BoardError, f"the board does not answer: {_HOLD_BOOT}"),
    ("Wrong boot mode", BoardError, f"the board is not in download mode: {_HOLD_BOOT}"),
    ("Invalid head of packet", BoardError, f"the line is disturbed: {_HOLD_BOOT}"),
    ("device disconnected", BoardError, "the board was unplugged; plug it in and start again"),
)


@dataclass(frozen=True, slots=True)
class Chip:
    """What hangs on the port. `name` is esptool's, as in CHIPS."""

    name: str
    text: str
    flash_bytes: int
    mac: str


class Esptool:
    """One board in download mode. Every call ends with a hard reset: the board boots.

    PortError, BoardError: see their classes. `hear` of the longer calls gets a fraction.
    """

    def __init__(self, port: str, *, run: RunTool = run_tool, attempts: int = ATTEMPTS) -> None:
        self._port = port
        self._attempts = str(attempts)
        self._run = run
        self._chip: Chip | None = None

    def identify(self) -> Chip:
        """Return what chip it is. BoardError for one that the firmware does not know."""
        done = self._call(["flash-id"], within_s=_IDENTIFY_S)
        said = re.search(r"Connected to (ESP\S+) on", done.output)
        size = re.search(r"Detected flash size: (\d+)(MB|KB)", done.output)
        mac = re.search(r"MAC:\s+([0-9a-f:]{17})", done.output)
        kind = re.search(r"Chip type:\s+(.+)", done.output)
        if said is None or size is None:
            msg = f"the chip or the size of its flash cannot be read: {done.last_words}"
            raise BoardError(msg)
        name = CHIPS.get(said[1])
        if name is None:
            msg = f"this board has an {said[1]}; the firmware runs on {', '.join(CHIPS)} only"
            raise BoardError(msg)
        unit = 1 << 20 if size[2] == "MB" else 1 << 10
        text = kind[1].strip() if kind else said[1]
        self._chip = Chip(name, text, int(size[1]) * unit, mac[1] if mac else "")
        return self._chip

    def reset(self) -> None:
        """Have the board start anew, whatever it does now."""
        self._call(["chip-id"], within_s=_IDENTIFY_S)

    def holds(self, parts: Sequence[tuple[int, bytes]]) -> bool:
        """Tell whether the flash has these bytes at these places (MD5 on the chip)."""
        with tempfile.TemporaryDirectory(prefix="wattwarden-") as folder:
            words = ["verify-flash", *_files(parts, Path(folder))]
            done = self._call(words, within_s=_READ_S, expect=("Verification failed",))
        return done.status == 0

    def write(self, parts: Sequence[tuple[int, bytes]], hear: Callable[[float], None]) -> None:
        """Erase the sectors of these parts, write them, have the chip compare their hashes."""
        with tempfile.TemporaryDirectory(prefix="wattwarden-") as folder:
            words = ["write-flash", *_files(parts, Path(folder))]
            self._call(words, within_s=_WRITE_S, hear=_Percent(parts, hear))

    def read(self, start: int, size: int) -> bytes:
        """Return a part of the flash."""
        with tempfile.TemporaryDirectory(prefix="wattwarden-") as folder:
            into = Path(folder) / "read.bin"
            self._call(["read-flash", hex(start), hex(size), str(into)], within_s=_READ_S)
            return into.read_bytes()

    def erase(self) -> None:
        """Erase the whole flash."""
        self._call(["erase-flash"], within_s=_ERASE_S)

    def erase_region(self, start: int, size: int) -> None:
        """Erase whole sectors."""
        self._call(["erase-region", hex(start), hex(size)], within_s=_ERASE_S)

    def _call(
        self,
        words: Sequence[str],
        *,
        within_s: float,
        expect: Sequence[str] = (),
        hear: Callable[[str], None] | None = None,
    ) -> Done:
        chip = self._chip.name if self._chip else "auto"
        head = ["--port", self._port, "--baud", str(BAUD), "--chip", chip]
        head += ["--connect-attempts", self._attempts]
        for left in reversed(range(_TRIES)):
            try:
                done = self._run("esptool", [*head, *words], within_s=within_s, hear=hear)
            except TransientError as error:
                msg = f"{self._port}: the board does not answer any more: {_HOLD_BOOT}"
                raise BoardError(msg) from error
            if done.status == 0 or any(text in done.output for text in expect):
                break
            fault = self._fault(done)
            # A byte lost on the line is no fault of the board: the next try is a new connection.
            if not left or isinstance(fault, PortError) or _SILENT in done.output:
                raise fault
        return done

    def _fault(self, done: Done) -> Exception:
        for text, kind, advice in _WORDS:
            if text.lower() in done.output.lower():
                return kind(f"{self._port}: {advice}")
        cause = done.last_words.removeprefix("ERROR: ").removeprefix("A fatal error occurred: ")
        return BoardError(f"{self._port}: esptool says: {cause}; unplug the board and start again")


class _Percent:
    """Turns esptool's percentages, which start anew with each part, into one fraction."""

    def __init__(self, parts: Sequence[tuple[int, bytes]], hear: Callable[[float], None]) -> None:
        total = sum(len(data) for _, data in parts) or 1
        self._shares = [len(data) / total for _, data in parts]
        self._hear = hear
        self._part, self._last = 0, 0.0

    def __call__(self, text: str) -> None:
        for found in _PERCENT.findall(text):
            now = min(float(found) / 100, 1.0)
            if now < self._last and self._part < len(self._shares) - 1:
                self._part += 1
            self._last = now
            done = sum(self._shares[: self._part]) + self._shares[self._part] * now
            self._hear(min(done, 1.0))


def _files(parts: Sequence[tuple[int, bytes]], folder: Path) -> list[str]:
    words = []
    for start, data in parts:
        path = folder / f"{start:x}.bin"
        path.write_bytes(data)
        words += [hex(start), str(path)]
    return words
