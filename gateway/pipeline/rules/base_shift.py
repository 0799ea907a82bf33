"""Whether a home's base load has moved away from what its model was fitted on."""

import math
from typing import Final

from msgspec import Struct, field

from gateway.pipeline.rules.condition import DAY_MS, HOUR_MS

# Population stability index: above .1 something has moved, above .25 much has (the usual reading
# of it in credit scoring; docs: an early refit).
SHIFTED: Final = 0.25
BINS: Final = 16  # half a unit each of asinh(P / 50 W): factors of about 1.65, export too
SCALE_W: Final = 50.0
WIDTH: Final = 0.5
RECENT_DAYS: Final = 7.0
LONG_DAYS: Final = 56.0
ENOUGH_DAYS: Final = 14.0  # of data before the two can be compared
SMOOTH: Final = 0.02  # share that a bin is held to have at least


class BaseShift(Struct, array_like=True):
    """Two exponential histograms of each hour's least power: of a week, and of eight."""

    hour: int = -1
    least_w: float = math.inf
    began_ms: int = 0
    recent: list[float] = field(default_factory=lambda: [0.0] * BINS)
    usual: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def add(self, at_ms: int, power_w: float) -> None:
        """Take in a minute's mean power."""
        hour = at_ms // HOUR_MS
        if hour != self.hour:
            if self.hour >= 0:
                self._count()
            self.began_ms = self.began_ms or at_ms
            self.hour, self.least_w = hour, math.inf
        self.least_w = min(self.least_w, power_w)

    def _count(self) -> None:
        number = int(math.asinh(self.least_w / SCALE_W) / WIDTH) + BINS // 4
        number = min(max(number, 0), BINS - 1)
        for counts, days in ((self.recent, RECENT_DAYS), (self.usual, LONG_DAYS)):
            kept = math.exp(-1 / 24 / days)
            counts[:] = [kept * count for count in counts]
            counts[number] += 1.0

    def index(self, at_ms: int) -> float:
        """Return the population stability index of the week against the eight; 0 too early."""
        if not self.began_ms or at_ms - self.began_ms < ENOUGH_DAYS * DAY_MS:
            return 0.0
        return sum(
            (now - was) * math.log(now / was)
            for now, was in zip(_shares(self.recent), _shares(self.usual), strict=True)
        )


def _shares(counts: list[float]) -> list[float]:
    total = sum(counts) or 1.0
    return [max(count / total, SMOOTH) for count in counts]
