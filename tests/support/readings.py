"""Valid readings with physics that fit: |p| <= v*i, registers that follow p."""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Reading = dict[str, Any]
MS_PER_HOUR = 3_600_000


def now_ms() -> int:
    """Wall time, Unix ms."""
    return int(time.time() * 1000)


@dataclass
class House:
    """A meter's own view: one channel, a base load and a fridge that cycles.

    `start_ms` is the wall time of boot; window `seq` ends at
    `start_ms + (seq + 1) * dt_ms`. The same seed gives the same readings.
    """

    start_ms: int
    boot: int
    dt_ms: int = 1000
    channel: str = "grid"
    base_w: float = 180.0
    seed: int = 1
    wh_in: float = 120_345.0
    _seq: int = field(default=0, init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the house's own randomness."""
        self._random = random.Random(self.seed)

    def next(self) -> Reading:
        """Return the following window."""
        seq = self._seq
        self._seq += 1
        fridge = 95.0 if seq // 600 % 2 else 0.0
        watts = round(self.base_w + fridge + self._random.uniform(-5, 5), 1)
        return self.window(seq, watts)

    def window(self, seq: int, watts: float, volts: float | None = None) -> Reading:
        """Return the window `seq` with a given active power."""
        voltage = volts or round(230 + self._random.uniform(-1.5, 1.5), 2)
        reactive = round(-0.14 * abs(watts), 1)
        # Rounded up, so that the apparent power is never below the active one.
        amperes = math.ceil(math.hypot(watts, reactive) / voltage * 1000) / 1000
        self.wh_in = round(self.wh_in + max(watts, 0) * self.dt_ms / MS_PER_HOUR, 4)
        up = (seq + 1) * self.dt_ms
        channel = {"i": amperes, "p": watts, "q": reactive}
        registers = {"wh_in": self.wh_in, "wh_out": 0.0}
        return {
            "boot": self.boot,
            "seq": seq,
            "up": up,
            "t": self.start_ms + up,
            "dt": self.dt_ms,
            "v": voltage,
            "f": round(50 + self._random.uniform(-0.02, 0.02), 3),
            "ch": {self.channel: {**channel, **registers}},
        }

    def take(self, count: int) -> list[Reading]:
        """Return the next `count` windows."""
        return [self.next() for _ in range(count)]

    def __iter__(self) -> Iterator[Reading]:
        """Yield windows for ever."""
        while True:
            yield self.next()


def recent_house(*, windows: int, boot: int, dt_ms: int = 1000, seed: int = 1) -> House:
    """Return a house whose first `windows` windows end a moment ago."""
    start = now_ms() - windows * dt_ms - 2000
    return House(start_ms=start, boot=boot, dt_ms=dt_ms, seed=seed)
