"""Codes in, windows out: the firmware's meter in a process of its own, fed through pipes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tests.support.firmware import FIRMWARE, HOST, SHIM, find_vm, vm_environment

FRAMES = 500
BURSTS = 8  # of a window: eight of 125 ms are nearest to a second
GAP_US = 8_000  # between bursts, for everything else a meter does
RUNNER = Path(__file__).with_name("metering_vm.py")


class Codes(Protocol):
    """What converts: see simulation.chain.Chain."""

    clamps: int
    frame_us: int
    read_us: int

    @property
    def linear(self) -> NDArray[np.uint16]:
        """Return the linear table."""


Burst = tuple[NDArray[np.uint32], NDArray[np.uint16]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One window of one clamp meter: V, Hz, A, W, var, and what it cost."""

    v: float
    f: float
    i: Sequence[float]
    p: Sequence[float]
    q: Sequence[float]
    flags: int
    dt_ms: int
    busy_us: int


def command() -> tuple[list[str], dict[str, str]]:
    """Return what runs the firmware: the VM with a board's heap, else CPython."""
    if find_vm() is not None:
        heap = ["-X", "heapsize=160K"]
        return [str(find_vm()), *heap, str(RUNNER)], vm_environment()
    path = os.pathsep.join(str(place) for place in (SHIM, FIRMWARE, HOST))
    return [sys.executable, str(RUNNER)], {**os.environ, "PYTHONPATH": path}


class Rig:
    """A meter's process; use it as a context manager, one stretch after the other."""

    def __init__(self, board: Codes, names: Sequence[str]) -> None:
        self._board = board
        line, environment = command()
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        head = {
            "clamps": board.clamps,
            "frame_us": board.frame_us,
            "read_us": board.read_us,
            "gap_us": GAP_US,
            "names": list(names),
        }
        self._send(json.dumps(head).encode() + b"\n" + board.linear.tobytes())
        self.heap_bytes = int(self._receive()["heap"])

    def __enter__(self) -> Self:
        """Return the rig."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def measure(
        self, bursts: Iterable[Burst], windows: int, record: Mapping[str, Any] | None = None
    ) -> tuple[list[Measured], Mapping[str, Any]]:
        """Return the windows made of 8 bursts each, and their raw sums."""
        order = json.dumps({"windows": windows, "calibration": record}).encode() + b"\n"
        # Fed from a thread, or both sides would wait for each other's full pipes.
        feeder = threading.Thread(target=self._feed, args=(order, iter(bursts)))
        feeder.start()
        made = [Measured(*self._receive()) for _ in range(windows)]
        data = self._receive()
        feeder.join()
        return made, data

    def _feed(self, order: bytes, bursts: Iterator[Burst]) -> None:
        try:
            self._send(order)
            for ticks, codes in bursts:
                self._send(ticks.tobytes() + codes.T.tobytes())
        except BrokenPipeError:
            return  # the reader sees the end of the process, and what it said

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _receive(self) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError as error:
            rest = self._process.stdout.read()
            msg = f"the meter's process ended: {(line + rest).decode(errors='replace')}"
            raise RuntimeError(msg) from error
