"""Means over the next seconds of windows, for the `calibrate` command."""

import asyncio

from errors import MeterError
from power import Average

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from power import PowerMeter, Window

GRACE_S = 30  # real time in which windows of so many seconds must have come


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
        try:
            await asyncio.wait_for(self._full.wait(), seconds + GRACE_S)
        except asyncio.TimeoutError as error:  # noqa: UP041 - two classes on the board
            msg = "no windows came: is the voltage input connected?"
            raise MeterError(msg) from error
        finally:
            self._average = None
        return average.data(self._names, self._power.calibration.version)
