"""A board whose converter is a formula: for tests of the firmware's sampling and maths."""

import math
from array import array
from collections.abc import Callable

import linear

TICKS = 1 << 30


class Wave:
    """A sine: peak in codes around a bias in codes, angle in rad that it lags."""

    def __init__(self, peak: float, lag: float = 0.0, bias: float = 2048.0) -> None:
        self.peak = peak
        self.lag = lag
        self.bias = bias

    def at(self, angle: float) -> float:
        """Return the code at an angle of the mains."""
        return self.bias + self.peak * math.sin(angle - self.lag)


class FormulaBoard:
    """See typings/hardware.pyi; place 0 is the voltage. `frozen` makes every code the same.

    `alter(place, frame, code)` may replace a code, `late_us(frame)` hold up a frame;
    frames count from the start.
    """

    def __init__(
        self,
        *waves: Wave,
        hz: float = 50.0,
        angle: float = 0.3,
        read_us: int = 35,
        start_us: int = TICKS - 100_000,
    ) -> None:
        self.clamps = len(waves) - 1
        self.frame_us = 250
        self.read_us = read_us
        self.linear = linear.straight()
        self.waves = list(waves)
        self.hz = hz
        self.angle = angle
        self.alter: Callable[[int, int, float], float] = lambda _place, _frame, code: code
        self.late_us: Callable[[int], int] = lambda _frame: 0
        self.root = ""
        self._start_us = start_us  # soon after, ticks wrap
        self._frame = 0
        self._burst: list[array[int]] = []

    def open(self, frames: int) -> None:
        """Compute the next burst."""
        numbers = range(self._frame, self._frame + frames)
        self._frame += frames
        ticks = [
            (self._start_us + n * self.frame_us + self.late_us(n - numbers[0])) % TICKS
            for n in numbers
        ]
        self._burst = [array("I", ticks)]
        for place in range(self.clamps + 1):
            codes = [self._code(place, n) for n in numbers]
            self._burst.append(array("H", [code << 4 | code >> 8 for code in codes]))

    def _code(self, place: int, frame: int) -> int:
        at_s = (frame * self.frame_us + place * self.read_us) * 1e-6
        code = self.waves[place].at(2 * math.pi * self.hz * at_s + self.angle)
        return min(max(round(self.alter(place, frame, code)), 0), 4095)

    def readers(self) -> tuple[Callable[[], int], ...]:
        """Return readers of the burst."""
        return tuple(iter(codes).__next__ for codes in self._burst)

    async def pace(self) -> None:
        """Let nobody run."""

    def up_ms(self) -> int:
        """Return the time of the samples."""
        return self._frame * self.frame_us // 1000
