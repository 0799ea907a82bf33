"""Means over the next seconds of windows, for the `calibrate` command."""

import asyncio
from array import array
from math import sqrt

from errors import MeterError
from micropython import const
from sampler import FRAMES, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from power import PowerMeter, Window
    from sampler import Sampler

GRACE_S = 30  # real time in which windows of so many seconds must have come
_ROWS = const(8)  # by the size of the voltage, 256 codes each
_BURSTS_MOST = const(2000)  # 2000 · FRAMES · 2047 stays below 2**31


class Collector:
    """Hands each window to whoever is collecting; at most one is."""

    def __init__(self, power: "PowerMeter", names: "list[str]") -> None:
        self._power = power
        self._names = names
        self._average: Average | None = None
        self._from_ms: int | None = None
        self._for_ms = 0
        self._full = asyncio.Event()

    def window(self, window: "Window") -> None:
        """Take a window that was just measured."""
        average = self._average
        if average is None or self._full.is_set():
            return
        if self._from_ms is None:
            self._from_ms = window.up_ms - window.dt_ms
        average.add(window)
        if window.up_ms - self._from_ms >= self._for_ms:
            self._full.set()

    async def collect(self, seconds: int) -> "dict[str, Any]":
        """Return the raw means of so many seconds (docs/firmware/calibration.md).

        MeterError when a collection is running already, or no windows come.
        """
        if self._average is not None:
            msg = "busy: a calibration is running"
            raise MeterError(msg)
        self._average = average = Average(len(self._names))
        self._from_ms, self._for_ms = None, seconds * 1000
        self._full.clear()
        self._power.tap = average.tap
        try:
            await asyncio.wait_for(self._full.wait(), seconds + GRACE_S)
        except asyncio.TimeoutError as error:  # noqa: UP041 - two classes on the board
            msg = "no windows came: is the voltage input connected?"
            raise MeterError(msg) from error
        finally:
            self._average = self._power.tap = None
        return average.data(self._names, self._power.calibration.version)


def collect(windows: "Sequence[Window]", names: "Sequence[str]", version: int) -> "dict[str, Any]":
    """Return the `calibrate` command's data: means over windows of live mains.

    {"windows": n, "f": Hz, "v": {"rms", "mean"}, "ch": {name: {"rms", "mean", "p", "q",
    "clipped"}}, "cal": version}; rms and mean in codes, p and q in codes². `rms` has the
    noise in it. Windows without mains are left out and not counted. Bursts that were tapped
    add "bend" to "v" and to each channel; see `Average.data`.
    """
    sums = Average(len(names))
    for window in windows:
        sums.add(window)
    return sums.data(names, version)


class Average:
    """The same, one window at a time, for a board that cannot keep them all."""

    def __init__(self, clamps: int) -> None:
        self.windows = 0
        self._f = 0.0
        self._v2 = 0.0
        self._v_mean = 0.0
        self._rows = [[0.0] * 5 for _ in range(clamps)]
        self._width = clamps + 2
        self._bend = array("i", bytes(4 * _ROWS * self._width))
        self._bursts = 0

    def tap(self, sampler: "Sampler") -> None:
        """Take a burst's codes for what they tell of the converter's bend."""
        if sampler.cycles and self._bursts < _BURSTS_MOST:
            self._bursts += 1
            fold(sampler.codes, self._bend, FRAMES, sampler.places)

    def add(self, window: "Window") -> None:
        """Take one window."""
        raw = window.raw
        if not window.v or not window.f:
            return
        self.windows += 1
        self._f += raw.f
        self._v2 += raw.v2
        self._v_mean += raw.v_mean
        for k, row in enumerate(self._rows):
            row[0] += raw.i2[k]
            row[1] += raw.mean[k]
            row[2] += raw.p[k]
            row[3] += raw.q[k]
            row[4] += raw.clipped[k]

    def data(self, names: "Sequence[str]", version: int) -> "dict[str, Any]":
        """Return the command's data; see `collect`.

        "bend" of "v" is [count, mean |v|] by the size of the voltage, 256 codes each, up to
        the last that was seen; of a channel the mean current there, its sign the voltage's.
        """
        n = self.windows or 1
        channels: dict[str, dict[str, Any]] = {}
        for name, row in zip(names, self._rows):  # noqa: B905 - no strict= on the board
            channels[name] = {
                "rms": sqrt(row[0] / n),
                "mean": row[1] / n,
                "p": row[2] / n,
                "q": row[3] / n,
                "clipped": int(row[4]),
            }
        voltage: dict[str, Any] = {"rms": sqrt(self._v2 / n), "mean": self._v_mean / n}
        if self._bursts:
            voltage["bend"] = [[row[0], row[1]] for row in self._bends()]
            for k, name in enumerate(names):
                channels[name]["bend"] = [row[2 + k] for row in self._bends()]
        return {"windows": self.windows, "f": self._f / n, "v": voltage, "ch": channels,
                "cal": version}  # fmt: skip

    def _bends(self) -> "list[list[float]]":
        """Return each row's count and means; empty ones above the last are left out."""
        out = []
        for at in range(0, len(self._bend), self._width):
            row = self._bend[at : at + self._width]
            count = row[0]
            if not count:
                break
            means = [round(total / count, 2) for total in row]
            means[0] = count
            out.append(means)
        return out
