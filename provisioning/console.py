"""The meter's serial console: resets the board and listens to what it prints."""

import contextlib
import os
import select
import termios
import time
import tty
from collections.abc import Iterator
from typing import Self

from provisioning.errors import PortError

_RESET = (b"\r\x03\x03", b"\x02", b"\rimport machine\r", b"machine.reset()\r")
_BETWEEN_S = 0.1
_RAW_REPL = b"raw REPL; CTRL-B to exit\r\n>"
_COMES_BACK_S = 15.0  # a chip with its own USB leaves the bus at a reset
_LONGEST_LINE = 2000


class Console:
    """An open port at 115200 baud; a context manager. PortError when it cannot be used."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._handle = -1
        self._rest = b""

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def reset(self) -> None:
        """Have MicroPython reset the board; what it prints from then on is heard."""
        for words in _RESET:
            with contextlib.suppress(OSError):
                os.write(self._handle, words)
            time.sleep(_BETWEEN_S)

    def break_in(self, within_s: float) -> bool:
        """Stop whatever runs and stay in the raw REPL; return whether that was heard of.

        A board whose firmware fails at its start is in its bootloader most of the time: what
        comes then is lost, so the same is said again and again until one gets through. Never
        the first thing to try: it could interrupt the making of a new board's file system.
        """
        until_s = time.monotonic() + within_s
        heard = b""
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError):
                os.write(self._handle, b"\r\x03\x03\r\x01")
            ready, _, _ = select.select([self._handle], [], [], _BETWEEN_S)
            if not ready:
                continue
            try:
                heard = (heard + os.read(self._handle, 4096))[-_LONGEST_LINE:]
            except OSError:  # it has left the bus, as a chip with its own USB does at a reset
                self._reopen()
            if _RAW_REPL in heard:
                return True
        return False

    def lines(self, within_s: float, every_s: float = 1.0) -> Iterator[str]:
        """Yield each line, and "" whenever none came for `every_s`; ends after `within_s`."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            ready, _, _ = select.select([self._handle], [], [], every_s)
            if not ready:
                yield ""
                continue
            try:
                data = os.read(self._handle, 4096)
            except OSError:
                data = b""
            if not data:
                self._reopen()
                yield ""
                continue
            *whole, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-_LONGEST_LINE:]
            for line in whole:
                yield line.decode(errors="replace").strip()

    def _open(self) -> None:
        try:
            self._handle = os.open(self._port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._handle)
            mode = termios.tcgetattr(self._handle)
            mode[4] = mode[5] = termios.B115200
            termios.tcsetattr(self._handle, termios.TCSANOW, mode)
        except (OSError, termios.error) as error:
            self._close()
            msg = f"{self._port}: cannot be opened ({error}); close what uses it and try again"
            raise PortError(msg) from error

    def _reopen(self) -> None:
        self._close()
        until_s = time.monotonic() + _COMES_BACK_S
        while True:
            time.sleep(_BETWEEN_S)
            try:
                self._open()
            except PortError:
                if time.monotonic() > until_s:
                    raise
            else:
                return

    def _close(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = -1
