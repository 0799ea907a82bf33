"""Hard daily limits of what is written to the cloud: near them it coarsens, and drops nothing.

Coarser means that one document holds the minutes of an hour, six hours or a day instead of a
quarter: the same rows, fewer writes, later. At the limit everything waits for the next day but
alerts, for which a part of the limit is kept back.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from cloud_sync.prices import LEASES
from gateway.services.cloud_feed import DAY_MS, HOUR_MS, QUARTER_MS, Usage


class Span(IntEnum):
    """Over what span a packed document reaches; the value is what the store remembers."""

    QUARTER = 1
    HOUR = 2
    SIX_HOURS = 3
    DAY = 4

    @property
    def ms(self) -> int:
        """Return its length; spans begin at multiples of it since 1970 in UTC."""
        return SPANS_MS[self]


SPANS_MS = {
    Span.QUARTER: QUARTER_MS,
    Span.HOUR: HOUR_MS,
    Span.SIX_HOURS: 6 * HOUR_MS,
    Span.DAY: DAY_MS,
}
# Shares of a day's limit from which on a span is used.
STEPS = ((0.90, Span.DAY), (0.80, Span.SIX_HOURS), (0.65, Span.HOUR))
BULK_SHARE = 0.95  # the rest is for alerts
LEASE_SHARE = 0.5  # looking on may not use up what the history needs


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be written on one UTC day, viewers' leases included."""

    writes: int
    bytes: int


class Governor:
    """Meters one day at a time; the store keeps the count over restarts."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.day = -1
        self._writes = 0
        self._bytes = 0
        self._leases = 0

    def load(self, day: int, usage: Iterable[Usage]) -> None:
        """Begin a day with what was written on it already."""
        self.day = day
        self._writes = self._bytes = self._leases = 0
        for used in usage:
            self.count(used)

    def count(self, used: Usage) -> None:
        """Take in what was written; what got no answer counts as written."""
        if used.day != self.day:
            return
        self._writes += used.writes + used.unknown
        self._bytes += used.bytes
        self._leases += used.writes if used.kind == LEASES else 0

    @property
    def share(self) -> float:
        """Return which part of the day's limit is used."""
        return max(self._writes / self._limits.writes, self._bytes / self._limits.bytes)

    def span(self) -> Span | None:
        """Return over what span documents may reach now; None: none today any more."""
        share = self.share
        if share >= BULK_SHARE:
            return None
        return next((span for step, span in STEPS if share >= step), Span.QUARTER)

    def room(self) -> int:
        """Return how many writes that are no alerts may follow before the span must grow."""
        share = self.share
        following = min((step for step, _ in STEPS if step > share), default=BULK_SHARE)
        return max(0, math.ceil(self._limits.writes * following) - self._writes)

    def may_alert(self) -> bool:
        """Tell whether an alert may be written today."""
        return self.share < 1.0

    def may_lease(self) -> bool:
        """Tell whether a viewer may be served every few seconds."""
        return self.share < LEASE_SHARE
