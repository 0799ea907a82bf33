"""Running esptool and mpremote as processes of their own, which end when we do."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.domain.errors import ConfigError, TransientError

TIMED_OUT = -9


@dataclass(frozen=True, slots=True)
class Done:
    """How a tool ended, and all it said (stdout and stderr as they came)."""

    status: int
    output: str

    @property
    def last_words(self) -> str:
        """Return its last line that says something."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"it ended with status {self.status}"


class RunTool(Protocol):
    """Runs a Python module as a tool; see `run_tool`."""

    def __call__(
        self,
        module: str,
        words: Sequence[str],
        *,
        within_s: float,
        hear: Callable[[str], None] | None = None,
    ) -> Done:
        """Run it."""


def run_tool(
    module: str,
    words: Sequence[str],
    *,
    within_s: float,
    hear: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> Done:
    """Run `python -m module words…` and wait; `hear` gets each piece of output at once.

    ConfigError when it is not installed, TransientError when it takes longer than `within_s`.
    The tool is killed when this process dies: none may go on writing to a board, unseen, while
    the next run begins.
    """
    if folder is None and importlib.util.find_spec(module) is None:
        msg = f"{module} is not installed; run: pip install 'wattwarden[kit]'"
        raise ConfigError(msg)
    process = subprocess.Popen(  # noqa: S603 - our own words
        [*_bound_to_us(), sys.executable, "-m", module, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(folder),
        cwd=folder,
    )
    timer = threading.Timer(within_s, process.kill)
    timer.start()
    try:
        output = _listen(process, hear)
        status = process.wait()
    finally:
        late = not timer.is_alive()
        timer.cancel()
        process.kill()
        process.wait()
    if late:
        msg = f"{module} did not end within {within_s:.0f} s; unplug the board, plug it in again"
        raise TransientError(msg)
    return Done(status, output)


def _listen(process: subprocess.Popen[bytes], hear: Callable[[str], None] | None) -> str:
    output = bytearray()
    if process.stdout is None:
        return ""
    with process.stdout as stream:
        while piece := os.read(stream.fileno(), 4096):
            output += piece
            if hear is not None:
                hear(piece.decode(errors="replace"))
    return output.decode(errors="replace")


def _bound_to_us() -> list[str]:
    """Return what makes the kernel kill a child with its parent, where util-linux has it.

    A parent that was killed before the kernel knew of that is no parent any more: then the child
    ends by itself.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    orphaned = '[ "$PPID" = "$0" ] || exit 1; exec "$@"'
    return [setpriv, "--pdeathsig", "KILL", "--", "sh", "-c", orphaned, str(os.getpid())]


def _environment(folder: Path | None) -> dict[str, str]:
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
    if folder is not None:
        plain["PYTHONPATH"] = str(folder)
    return {**os.environ, **plain}
