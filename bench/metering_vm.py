"""Runs on MicroPython (or CPython with the shim): the firmware's meter on codes from stdin.

A JSON line {"clamps", "frame_us", "read_us", "gap_us", "names"} and 4096 words of the linear
table, then for each stretch a JSON line {"windows": n, "calibration": record or null} and its
bursts: 500 ticks (u32), then 500 codes (u16) of the voltage and of each clamp. It answers with
one JSON line per window and one with the stretch's raw sums.
"""

import asyncio
import gc
import json
import sys
from array import array

import collector
import linear
import power
import tables
from sampler import FRAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PIPE: "Any" = sys.stdin.buffer


def _fill(items: "array[int]", item_bytes: int) -> None:
    """Read items; both interpreters' readinto goes on until all is there."""
    if _PIPE.readinto(items) != len(items) * item_bytes:
        raise SystemExit(0)


class PipeBoard:
    """A board whose converter is stdin and whose time is that of the samples."""

    def __init__(self, head: "dict[str, Any]") -> None:
        self.clamps: int = head["clamps"]
        self.frame_us: int = head["frame_us"]
        self.read_us: int = head["read_us"]
        table = array("H", bytes(2 * 4096))
        _fill(table, 2)
        self.linear = linear.knots(table)
        self._gap_us: int = head["gap_us"]
        self._bursts = 0
        self._ticks = array("I", bytes(4 * FRAMES))
        self._codes = [array("H", bytes(2 * FRAMES)) for _ in range(self.clamps + 1)]

    def open(self, frames: int) -> None:
        """Read the next burst."""
        if frames != FRAMES:
            msg = "bursts have 500 frames here"
            raise ValueError(msg)
        _fill(self._ticks, 4)
        for codes in self._codes:
            _fill(codes, 2)
        self._bursts += 1

    def readers(self) -> "tuple[Callable[[], int], ...]":
        """Return the readers of the burst opened last."""
        arrays = list(self._codes)
        arrays.insert(0, self._ticks)
        return tuple([iter(a).__next__ for a in arrays])

    async def pace(self) -> None:
        """Let nobody run: nobody is there."""

    def up_ms(self) -> int:
        """Return what the samples so far took, with the pauses between bursts."""
        return self._bursts * (FRAMES * self.frame_us + self._gap_us) // 1000


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


async def _main() -> None:
    head = json.loads(_PIPE.readline())
    names = head["names"]
    board = PipeBoard(head)
    gc.collect()
    # CPython's gc has no such figure; the VM's tells what the meter keeps.
    allocated = getattr(gc, "mem_alloc", lambda: 0)
    before = allocated()
    meter = power.PowerMeter(board, tables.nominal(names))
    gc.collect()
    _say({"heap": allocated() - before})
    while True:
        line = _PIPE.readline()
        if not line:
            return
        order = json.loads(line)
        if order["calibration"] is not None:
            meter.calibration = tables.parse(order["calibration"], names)
        average = collector.Average(board.clamps)
        meter.tap = average.tap
        for _ in range(order["windows"]):
            w = await meter.window()
            average.add(w)
            _say([w.v, w.f, w.i, w.p, w.q, w.flags, w.dt_ms, meter.busy_us])
        _say(average.data(names, meter.calibration.version))


asyncio.run(_main())
