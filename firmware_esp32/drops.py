"""Ranges of windows that the meter no longer has, until the gateway is known to know it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    Range = tuple[int, int, int]  # boot, from, to

_MAX_RANGES = 64
_AT_ONCE = 8
_RETELL_MS = 60000


class _Drop:
    def __init__(self, boot: int, first: int, last: int) -> None:
        self.boot = boot
        self.first = first
        self.last = last
        self.told = False
        self.telling = False


class Drops:
    """Told until an ack passes them: the broker's word that it has an event is no promise.

    At most 64 ranges; beyond that the oldest is forgotten, which the `from` of `have` still tells.
    """

    def __init__(self) -> None:
        self._ranges: list[_Drop] = []
        self._told_ms = 0

    def add(self, boot: int, first: int, last: int) -> None:
        """Take in a range; one that continues the newest extends it."""
        if self._ranges:
            newest = self._ranges[-1]
            if newest.boot == boot and newest.first <= first <= newest.last + 1:
                newest.last = max(newest.last, last)
                newest.told = newest.telling = False
                return
        if len(self._ranges) >= _MAX_RANGES:
            self._ranges.pop(0)
        self._ranges.append(_Drop(boot, first, last))

    def covered(self, boot: int, upto: int) -> None:
        """Forget what an ack has passed."""
        self._ranges = [r for r in self._ranges if r.boot != boot or r.last > upto]

    def pending(self) -> "list[Range]":
        """Return ranges that have not been told, a few at once."""
        found: list[Range] = []
        for drop in self._ranges:
            if not drop.told and len(found) < _AT_ONCE:
                drop.telling = True
                found.append((drop.boot, drop.first, drop.last))
        return found

    def told(self, ok: bool, held: "Container[int]") -> None:
        """Note whether what `pending` returned last was told; `held` are the boots still held."""
        for drop in self._ranges:
            drop.told = drop.told or (drop.telling and ok)
            drop.telling = False
        # A boot that is not held is missing from `have`, which says the same for good.
        self._ranges = [r for r in self._ranges if not r.told or r.boot in held]

    def tell_again(self) -> None:
        """Have everything told once more, after a reconnect."""
        for drop in self._ranges:
            drop.told = False

    def tick(self, now_ms: int) -> None:
        """Have everything told once more when a minute has passed without an ack for it."""
        if now_ms - self._told_ms >= _RETELL_MS:
            self._told_ms = now_ms
            self.tell_again()
