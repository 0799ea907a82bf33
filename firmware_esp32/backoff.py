"""Pauses between tries: exponential with full jitter, never two tries within half a second."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_MS = 500  # under two tries a second, whatever happens
MOST_MS = 60_000
FIRST_MS = 1_000
SLOW_LEAST_MS = 30_000  # somebody must act first: a wrong password, a wrong certificate


class Backoff:
    """Full jitter (the mean of many meters spreads evenly after an outage)."""

    def __init__(self, random32: "Callable[[], int]") -> None:
        self._random32 = random32
        self._ceiling_ms = FIRST_MS

    def worked(self) -> None:
        """Start over with short pauses."""
        self._ceiling_ms = FIRST_MS

    def pause_ms(self, slow: bool = False) -> int:
        """Return how long to wait before the next try; longer at each call."""
        if slow:
            return SLOW_LEAST_MS + self._random32() % (MOST_MS - SLOW_LEAST_MS)
        pause_ms = LEAST_MS + self._random32() % (self._ceiling_ms - LEAST_MS)
        self._ceiling_ms = min(MOST_MS, 2 * self._ceiling_ms)
        return pause_ms
