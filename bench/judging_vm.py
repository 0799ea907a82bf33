"""Runs on MicroPython: what the meter's check of one window takes, collections included.

Arguments: windows, clamps. It prints the median, the 99th percentile and the most, in µs.
"""

import gc
import sys

from check import Check
from model import default
from ticks import ticks_diff, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Seen:
    """A window as power.py makes them."""

    def __init__(self, number: int, clamps: int) -> None:
        self.up_ms = 1000 * number
        self.dt_ms = 1000
        volts = 230.0 + number % 7 / 10
        self.v: float | None = volts
        self.f: float | None = 50.0
        self.i = [1.0 + (number + at) % 13 / 10 for at in range(clamps)]
        self.p = [volts * amps for amps in self.i]
        self.q = [20.0 + number % 5] * clamps
        self.flags = 0
        self.clipped = [0] * clamps
        self.frozen = False


def main() -> None:
    """Check windows of clamps whose power changes, and print what it took."""
    count, clamps = int(sys.argv[1]), int(sys.argv[2])
    events: list[Any] = []
    check = Check([f"l{at}" for at in range(clamps)], default(230.0, 50.0), events.append)
    took = []
    for number in range(1, count + 1):
        window = Seen(number, clamps)
        began_us = ticks_us()
        check.window(window)
        took.append(ticks_diff(ticks_us(), began_us))
        if number % 50 == 0:
            gc.collect()
    took.sort()
    print(took[len(took) // 2], took[int(len(took) * 0.99)], took[-1])


main()
