"""A board that will not let mpremote in: one that restarts all the time, one that hears little."""

import os
import pty
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from provisioning.board import Board
from provisioning.console import Console
from provisioning.tools import Done, run_tool
from tests.provisioning.conftest import NewBoard
from tests.support.firmware import needs_vm

RAW_REPL = b"raw REPL; CTRL-B to exit\r\n>"


class Restarting:
    """A port behind which a board restarts: only what comes at the `heard`th time is heard."""

    def __init__(self, heard: int) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._left = heard
        self.interrupts = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            if b"\x03" in data:
                self.interrupts += 1
                self._left -= 1
            if b"\x01" in data and self._left <= 0:
                os.write(self._master, RAW_REPL)
            else:
                os.write(self._master, b"ets Jul 29 2019 12:21:46\r\nrst:0xc\r\n")

    def close(self) -> None:
        os.close(self._slave)  # nobody holds the other end any more: the thread's read ends
        self._thread.join(timeout=5)
        assert not self._thread.is_alive()
        os.close(self._master)


@pytest.fixture
def restarting() -> Iterator[Callable[[int], Restarting]]:
    made: list[Restarting] = []

    def make(heard: int) -> Restarting:
        made.append(Restarting(heard))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_is_told_again_until_it_hears(restarting: Callable[[int], Restarting]) -> None:
    board = restarting(9)
    with Console(board.port) as console:
        assert console.break_in(20.0)
    assert board.interrupts >= 9


def test_one_that_never_hears_is_given_up(restarting: Callable[[int], Restarting]) -> None:
    board = restarting(10**9)
    with Console(board.port) as console:
        assert not console.break_in(0.5)


def test_a_board_that_mpremote_cannot_enter_is_broken_into_and_asked_again(
    restarting: Callable[[int], Restarting],
) -> None:
    board, calls = restarting(5), list[str]()

    def run(
        module: str, words: Sequence[str], *, within_s: float, hear: object = None
    ) -> Done:  # as mpremote was seen to fail
        calls.append(module)
        if board.interrupts < 5:
            return Done(1, "mpremote.transport.TransportError: could not enter raw repl")
        return Done(0, 'WW1:{"hex": null}')

    assert Board(board.port, run=run, pause=lambda _: None).read("/config.json") is None
    assert calls == ["mpremote", "mpremote"]


def test_at_every_second_time_it_is_reset(restarting: Callable[[int], Restarting]) -> None:
    board, calls = restarting(1), list[str]()

    def run(module: str, words: Sequence[str], *, within_s: float, hear: object = None) -> Done:
        calls.append(words[-1] if module == "esptool" else module)
        refuses = module == "mpremote" and calls.count("mpremote") < 3
        return Done(1, "could not enter raw repl") if refuses else Done(0, 'WW1:{"hex": ""}')

    assert Board(board.port, run=run, pause=lambda _: None).read("/config.json") == b""
    assert calls == ["mpremote", "mpremote", "chip-id", "mpremote"]


@needs_vm
@pytest.mark.timeout(300)
def test_a_firmware_that_fails_at_every_start_does_not_lock_the_board(
    flashed: Path, new_board: NewBoard
) -> None:
    board = new_board(content=flashed)
    files = Board(str(board.port))
    files.put({"/app_a/app.mpy": b"no module at all"}, files.inventory(), lambda _: None)
    with Console(str(board.port)) as console:
        console.reset()
        restarts = 0
        for line in console.lines(30):
            restarts += "rst:" in line
            if restarts >= 3:
                break
    assert restarts >= 3
    assert "/main.py" in Board(str(board.port), run=run_tool).inventory().files
