"""Tells what a simulated meter needs, heap and time per window; SIM.json's `gauge` asks for it."""

import gc
from array import array

import micropython
from micropython import const
from ticks import ticks_diff, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from simboard import Board

_BIN_US = const(500)
_BINS = const(200)
_MOST_PINS = const(200)
_WORD_BYTES = const(8)  # of the VM


class Gauge:
    """Stands between the firmware and its board; says a line each so many windows.

    `gauge <windows> <free> <lowest> <median> <p99>`: bytes free after garbage collection now,
    and at their lowest since the line before; µs per window besides sampling, with all that
    runs between two windows, in steps of 500 µs. With `pieces` it leaves what is free after the
    first so many windows in pieces of so many bytes: the worst that a heap can come to.
    """

    def __init__(
        self, board: "Board", every: int, say: "Callable[[str], None]", pieces: int = 0
    ) -> None:
        self._every = every
        self._pieces = pieces
        self._pins: list[list[int]] = []
        self._say = say
        self._bins = array("H", range(_BINS))
        self._open, self._readers, self._feed = board.open, board.readers, board.feed
        board.open = self.open  # type: ignore[method-assign]
        board.readers = self.readers  # type: ignore[method-assign]
        board.feed = self.feed  # type: ignore[method-assign]
        self._windows = 0
        self._left = 0
        self._begun_us = self._mark_us = ticks_us()
        self._sampled_us = 0
        self._clear()

    def _clear(self) -> None:
        self._lowest = 1 << 29
        for k in range(_BINS):
            self._bins[k] = 0

    def open(self, frames: int) -> None:
        """Note that a burst begins."""
        self._begun_us = ticks_us()
        self._left = frames
        self._open(frames)

    def readers(self) -> "tuple[Callable[[], int], ...]":
        """Return the board's, the last of which tells when the burst is over."""
        readers = list(self._readers())
        self._last = readers[-1]
        readers[-1] = self._read_last
        return tuple(readers)

    def _read_last(self) -> int:
        self._left -= 1
        if not self._left:
            self._sampled_us += ticks_diff(ticks_us(), self._begun_us)
        return self._last()

    def feed(self) -> None:
        """Count a window."""
        busy_us = ticks_diff(ticks_us(), self._mark_us) - self._sampled_us
        if self._windows:  # the first has the boot in it
            self._bins[min(max(busy_us, 0) // _BIN_US, _BINS - 1)] += 1
        self._windows += 1
        self._feed()
        gc.collect()
        free = gc.mem_free()  # type: ignore[attr-defined]  # MicroPython's alone
        self._lowest = min(self._lowest, free)
        if self._windows % self._every == 0:
            told = (self._windows, free, self._lowest, self._share(50), self._share(99))
            # The VM's own lines, with the largest piece: "max free sz: <blocks of 32 bytes>".
            getattr(micropython, "mem_info", gc.collect)()
            self._say("gauge " + " ".join([str(number) for number in told]))
            self._clear()
            if self._pieces and not self._pins:
                self._part()
        self._sampled_us = 0
        self._mark_us = ticks_us()

    def _part(self) -> None:
        """Put something that stays between each two pieces of what is free."""
        pins = self._pins
        pins.extend([[]] * _MOST_PINS)
        try:
            for k in range(_MOST_PINS):
                pins[k] = [0] * (self._pieces // _WORD_BYTES)
        except MemoryError:
            pass
        for pin in pins:
            pin.clear()  # its beginning stays where it is

    def _share(self, percent: int) -> int:
        """Return the µs that so many percent of the windows did not exceed."""
        left = sum(self._bins) * percent // 100
        for k in range(_BINS):
            left -= self._bins[k]
            if left < 0:
                return (k + 1) * _BIN_US
        return _BINS * _BIN_US
