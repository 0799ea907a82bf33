"""Sets of whole numbers kept as sorted, disjoint, inclusive runs."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Intervals:
    """Which sequence numbers are there; memory grows with holes, not with numbers."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in runs:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of every run in order."""
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        """Tell whether one number is in the set."""
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    @property
    def highest(self) -> int:
        """Return the highest number, -1 when empty."""
        return self._lasts[-1] if self._lasts else -1

    def contiguous_from_zero(self) -> int:
        """Return the largest S such that 0 … S are all in the set, -1 when 0 is not."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 0 else -1

    def covers(self, first: int, last: int) -> bool:
        """Tell whether every number from `first` to `last` is in the set."""
        at = bisect_right(self._firsts, first) - 1
        return at >= 0 and last <= self._lasts[at]

    def overlaps(self, first: int, last: int) -> bool:
        """Tell whether any number from `first` to `last` is in the set."""
        at = bisect_right(self._firsts, last) - 1
        return at >= 0 and self._lasts[at] >= first

    def add(self, first: int, last: int) -> None:
        """Add `first` … `last`, joining what touches."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:  # the usual case: the next window
            lasts[-1] = last
            return
        left = bisect_right(lasts, first - 2)  # first run that touches or follows
        right = bisect_right(firsts, last + 1)
        if left < right:
            first = min(first, firsts[left])
            last = max(last, lasts[right - 1])
        firsts[left:right] = [first]
        lasts[left:right] = [last]

    def holes(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the runs between `first` and `last` that are not in the set."""
        missing = []
        at = first
        start = max(bisect_right(self._firsts, first) - 1, 0)
        for low, high in zip(self._firsts[start:], self._lasts[start:], strict=True):
            if high < at:
                continue
            if low > last:
                break
            if low > at:
                missing.append((at, low - 1))
            at = high + 1
        if at <= last:
            missing.append((at, last))
        return missing
