"""What esptool's troubles become, with esptool itself where a pretended board can make them."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.domain.errors import TransientError
from provisioning.board import Board
from provisioning.chip import Esptool
from provisioning.errors import BoardError, PortError
from provisioning.tools import Done, run_tool
from tests.support.gateway_stub import until


@pytest.fixture
def deaf() -> Iterator[str]:
    """Give a port that takes everything and says nothing."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    stop = threading.Event()

    def swallow() -> None:
        while not stop.is_set():
            try:
                os.read(master, 4096)
            except OSError:
                return

    threading.Thread(target=swallow, daemon=True).start()
    yield name
    stop.set()
    os.close(slave)
    os.close(master)


def saying(output: str, status: int = 2) -> Callable[..., Done]:
    """Return a runner of a tool that fails with these words, as the tools were seen to."""

    def run(module: str, words: Sequence[str], *, within_s: float, hear: object = None) -> Done:
        return Done(status, output)

    return run


def test_a_board_that_does_not_answer(deaf: str) -> None:
    with pytest.raises(BoardError) as caught:
        Esptool(deaf, attempts=1).identify()
    assert "the board does not answer: hold the board's BOOT button" in str(caught.value)
    assert "a cable that carries data" in str(caught.value)


def test_a_port_that_is_gone() -> None:
    with pytest.raises(PortError, match="the port is busy or gone; close what uses it"):
        Esptool("/dev/ttyUSB77").identify()
    with pytest.raises(PortError, match="the port is busy or gone; close what uses it"):
        Board("/dev/ttyUSB77", pause=lambda _: None).inventory()


@pytest.mark.parametrize(
    ("words", "kind", "advice"),
    [
        ("A fatal error occurred: Wrong boot mode detected (0x13)!", BoardError, "BOOT button"),
        ("serial.SerialException: device disconnected or multiple access", BoardError, "unplugged"),
        ("[Errno 13] Permission denied: '/dev/ttyUSB0'", PortError, "group dialout"),
        (
            "A fatal error occurred: Invalid head of packet (0x08)",
            BoardError,
            "the line is disturbed",
        ),
        (
            "A fatal error occurred: something new",
            BoardError,
            "esptool says: something new; unplug the board and start again",
        ),
        ("", BoardError, "it ended with status 2"),
    ],
)
def test_esptool_s_words_become_ours(words: str, kind: type[Exception], advice: str) -> None:
    with pytest.raises(kind) as caught:
        Esptool("/dev/ttyUSB0", run=saying(words)).identify()
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("words", "kind", "advice"),
    [
        ("mpremote.transport.TransportError: could not enter raw repl", BoardError, "reset button"),
        ("OSError: [Errno 28] ENOSPC", BoardError, "flash is full; let the meter deliver"),
        ("mpremote: failed to access /dev/ttyUSB0 (it may be in use", PortError, "busy or gone"),
        ("Traceback\nOSError: [Errno 5] EIO", BoardError, "mpremote says: OSError: [Errno 5] EIO"),
    ],
)
def test_mpremote_s_words_become_ours(words: str, kind: type[Exception], advice: str) -> None:
    waited: list[float] = []
    with pytest.raises(kind) as caught:
        Board("/dev/ttyUSB0", run=saying(words, 1), pause=waited.append).inventory()
    assert advice in str(caught.value)
    assert bool(waited) == ("ENOSPC" not in words)  # what may heal is tried again


def test_a_tool_that_hangs_is_ended() -> None:
    with pytest.raises(TransientError, match=r"http\.server did not end within 1 s"):
        run_tool("http.server", ["0"], within_s=1)


def test_what_a_tool_says_comes_as_it_says_it() -> None:
    heard: list[str] = []
    done = run_tool("this", [], within_s=30, hear=heard.append)
    assert done.status == 0
    assert "".join(heard) == done.output
    assert done.last_words.startswith("Namespaces are one honking great idea")


def test_a_tool_ends_with_whoever_started_it(tmp_path: Path) -> None:
    mark = tmp_path / "began"
    (tmp_path / "endless.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    caller = "import sys; from pathlib import Path; from provisioning.tools import run_tool\n"
    caller += f"run_tool('endless', [], within_s=600, folder=Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", caller]) as process:
        until(mark.exists, within_s=30)
        process.kill()
    tool = Path("/proc") / mark.read_text()
    until(lambda: not tool.exists() or "\nState:\tZ" in (tool / "status").read_text(), within_s=10)
