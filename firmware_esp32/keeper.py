"""What the meter keeps of its readings, and what it sends next (docs/firmware/keeping.md).

Windows lie in the ring (RAM). What no ack has covered for a minute is also written to the spool
(flash) as one-minute records whose bounds never change. A window that is in the ring is sent as
itself; once the ring needs its room, its whole record leaves the ring and is sent instead. So
records never overlap each other, and cover wholly what was sent of their windows before.
"""

import os

from drops import Drops
from errors import FlashError
from log import log
from ondemand import drop, make_room
from ring import FEW, Ring
from sender import Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from registers import Registers
    from shelf import Shelf

    class Window(Protocol):
        """What `power.PowerMeter.window` returns, as far as it is kept."""

        up_ms: int
        dt_ms: int
        v: float | None
        f: float | None
        i: list[float]
        p: list[float]
        q: list[float]
        flags: int

    Held = dict[str, int]  # an entry of the contract's `have`
    Range = tuple[int, int, int]  # boot, from, to

# For fourteen days on flash (docs/firmware/keeping.md), in segments of 16 KiB; of a board's 2 MiB
# of files this leaves room for two firmware slots, what is being fetched, and the small ones.
SPOOL_BYTES = 64 << 14
LARGE_BYTES = 90 << 14
_FEW_CHANNELS = 3
SHELF = ("shelf", "spool", "reader", "minutes", "records")
_UNACKED_MS = 60000
# What the ring leaves of the heap when it is made: for the link and its messages, and for code that
# is loaded for a while, a bundle's and the spool's (measured in the VM, whose objects are large).
RESERVE_BYTES = 65_536
# The gateway refuses a seq more than 10**6 beyond the highest it has of a boot.
_REBOOT_BEHIND = 900000


class Keeper:
    """Readings from the window to the gateway's ack: a ring in RAM, a spool on flash.

    `root` is the directory of the meter's files, `channels` the names in the order of the
    window's lists. `spool_bytes` is what the spool may take of the flash, by default enough for
    fourteen days of so many channels. `feed` is called now and then in long reads (the watchdog).
    All `…_ms` of this class are the board's `up_ms()`, `offset_ms` what makes Unix ms of them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - identity, place and bounds
        self,
        root: str,
        channels: "list[str]",
        boot: int,
        bootn: int,
        spool_bytes: "int | None" = None,
        feed: "Callable[[], None] | None" = None,
    ) -> None:
        self.boot = boot
        self.bootn = bootn
        self.failed_writes = 0
        self._ring = Ring(len(channels), RESERVE_BYTES)
        self._sender = Sender(self._ring, boot, channels)
        self._shelf: Shelf | None = None
        if spool_bytes is None:
            spool_bytes = SPOOL_BYTES if len(channels) <= _FEW_CHANNELS else LARGE_BYTES
        self._given = (root, channels, boot, bootn, spool_bytes, feed)
        self._drops = Drops()
        self._acked = -1
        self._spooled = -1  # every window up to here is covered, in a record, or lost
        self._ends: list[int] = []  # last windows of this boot's records that reach into the ring
        self._gone = -1  # records up to here were dropped from the spool
        self._offset_ms: int | None = None
        if _holds_something(root):
            self._storage()

    def _storage(self) -> "Shelf":
        """Return the spool and what goes with it; loads it when it is needed first."""
        shelf = self._shelf
        if shelf is None:
            make_room()
            root, channels, boot, bootn, spool_bytes, feed = self._given
            try:
                from shelf import Shelf  # noqa: PLC0415 - only while readings pile up

                shelf = Shelf(root, channels, boot, bootn, spool_bytes, feed, self._ring)
            except MemoryError:
                drop(*SHELF)  # what there is of it
                raise
            shelf.spool.covered(boot, self._acked)
            self._shelf = self._sender.shelf = shelf
            self._collect_lost()
        return shelf

    def _let_go(self) -> None:
        """Let go of the spool when it is empty: all is acked."""
        shelf = self._shelf
        if shelf is None or shelf.spool.segments or self._ends:
            return
        self._collect_lost()
        self._shelf = self._sender.shelf = None
        del shelf
        drop(*SHELF)

    @property
    def shelved(self) -> bool:
        """Tell whether the spool's code is loaded: readings pile up, or are sent from it."""
        return self._shelf is not None

    @property
    def seq(self) -> int:
        """Return the seq of the newest window, -1 before the first."""
        return self._ring.end - 1

    # -- in -----------------------------------------------------------------------------------

    def add(
        self, window: "Window", registers: "Registers", z: "Sequence[float | None] | None"
    ) -> int:
        """Keep one window with the registers after it; return its seq.

        Raises neither FlashError nor MemoryError: then the oldest windows are given up instead.
        """
        while self._ring.full:
            try:
                self._make_room()
            except MemoryError as error:
                self._no_memory(error)
                # What was written before it failed is given up whole: records never overlap.
                self._give_up(max(self._ring.page_end(), self._spooled))
        return self._ring.put(
            window.up_ms, window.dt_ms, window.v, window.f, window.flags,
            window.i, window.p, window.q, z, registers.mwh_in, registers.mwh_out,
        )  # fmt: skip

    def minute(self, up_ms: int, offset_ms: "int | None") -> None:
        """Save whole minutes that no ack has covered for 60 s; call it at least once a minute.

        What cannot be saved now, for lack of memory or since the flash refuses, stays in the ring.
        """
        self._offset_ms = offset_ms
        try:
            while True:
                first = self._next_to_spool()
                if first >= self._ring.end or up_ms - self._ring.middle_ms(first) < _UNACKED_MS:
                    return
                last, over = self._storage().last_of_minute(first, offset_ms)
                if not over or not self._write(first, last):
                    return
        except MemoryError as error:
            self._no_memory(error)

    def flush(self, offset_ms: "int | None") -> None:
        """Save everything that no ack covers; before an ordered reboot."""
        self._offset_ms = offset_ms
        while (first := self._next_to_spool()) < self._ring.end:
            last, _ = self._storage().last_of_minute(first, offset_ms)
            if not self._write(first, last):
                return

    def _next_to_spool(self) -> int:
        return max(self._ring.lo, self._acked + 1, self._spooled + 1)

    def _write(self, first: int, last: int) -> bool:
        shelf = self._storage()
        try:
            shelf.spool.append(shelf.averager.record(first, last), self._offset_ms)
        except FlashError:
            self.failed_writes += 1
            self._collect_lost()
            return False
        self._spooled = last
        self._ends.append(last)
        self._collect_lost()
        return True

    def _make_room(self) -> None:
        """Take the oldest record's windows out of the ring; write the record if need be."""
        lo = self._ring.lo
        if not self._ends:
            last, _ = self._storage().last_of_minute(lo, self._offset_ms)
            if not self._write(lo, last):
                self._give_up(last)
                return
        last = self._ends.pop(0)
        if lo <= self._gone:
            self._drops.add(self.boot, lo, min(last, self._gone))
        self._ring.free_to(last + 1)

    def _give_up(self, last: int) -> None:
        """Let go of the oldest windows up to `last`, which are in no record, and tell it."""
        self._spooled = last
        self._drops.add(self.boot, self._ring.lo, last)
        self._ring.free_to(last + 1)

    def _no_memory(self, error: MemoryError) -> None:
        self.failed_writes += 1
        log(f"keeper: not written: {error!r}")

    def lend(self, size: int) -> "memoryview | None":
        """Return so much of the ring's memory, to be used before the next window is added.

        For that, minutes leave the ring for the flash; what leaves lives on as a part of its
        minute. None where the ring has not as much.
        """
        ring = self._ring
        while True:
            lent = ring.pages.lend(size)
            if lent is not None or ring.end - ring.lo <= FEW:
                return lent
            self._make_room()

    def _collect_lost(self) -> None:
        """Take what the spool had to drop; what of it is still in the ring is not lost yet."""
        if self._shelf is None:
            return
        for boot, first, last in self._shelf.spool.lost:
            if boot != self.boot:
                self._drops.add(boot, first, last)
                continue
            self._gone = max(self._gone, last)
            if first < self._ring.lo:
                self._drops.add(boot, first, min(last, self._ring.lo - 1))
        self._shelf.spool.lost.clear()

    # -- acks ---------------------------------------------------------------------------------

    def covered(self, ack: "dict[str, object]") -> None:
        """Take a gateway's ack (wire.read_ack or json.loads); what it covers is let go.

        What is no ack is overlooked: the meter keeps what it has.
        """
        self._cover(ack)
        more = ack.get("more")
        if isinstance(more, list):
            for entry in more:
                if isinstance(entry, dict):
                    self._cover(entry)
        self._let_go()

    def _cover(self, entry: "dict[str, object]") -> None:
        boot, upto = entry.get("boot"), entry.get("upto")
        if not isinstance(boot, int) or not isinstance(upto, int):
            return
        if boot == self.boot:
            upto = min(upto, self._ring.end - 1)  # never windows that are still to come
            if upto <= self._acked:
                return
            self._acked = upto
            self._ring.free_to(upto + 1)
            while self._ends and self._ends[0] <= upto:
                self._ends.pop(0)
        if self._shelf is not None:
            self._shelf.spool.covered(boot, upto)
        self._sender.covered(boot, upto)
        self._drops.covered(boot, upto)

    # -- out ----------------------------------------------------------------------------------

    def connected(self) -> None:
        """Begin anew after a (re)connect: everything uncovered is due, oldest first."""
        self._sender.restart()
        self._drops.tell_again()

    def take(self, now_ms: int, offset_ms: "int | None") -> "tuple[memoryview, str] | None":
        """Return the next `readings` payload and its kind, "live" or "backlog"; None = none due.

        The payload is valid until the next call.
        """
        self._offset_ms = offset_ms
        self._drops.tick(now_ms)
        taken = self._sender.take(now_ms, offset_ms)
        self._collect_lost()
        return taken

    def have(self) -> "list[Held]":
        """Return the `have` of a `state` message: boots held, and each one's lowest window."""
        held: dict[int, int] = {}
        boots = {self.boot: self.bootn}
        spool = None if self._shelf is None else self._shelf.spool
        for segment in () if spool is None else spool.segments:
            if spool is not None and segment.boot not in held:
                known = spool.boots[segment.boot]
                boots[segment.boot] = known.bootn
                upto = known.upto
                held[segment.boot] = max(segment.first, upto + 1)
        lowest = max(self._ring.lo, self._acked + 1)
        held[self.boot] = min(held.get(self.boot, lowest), lowest)
        return [{"boot": b, "bootn": boots[b], "from": held[b]} for b in held]

    def backlog(self) -> int:
        """Return how many windows wait for an ack."""
        count = self._ring.end - max(self._ring.lo, self._acked + 1)
        if self._shelf is None:
            return count
        spool = self._shelf.spool
        for segment in spool.segments:
            first = max(segment.first, spool.boots[segment.boot].upto + 1)
            last = segment.last
            if segment.boot == self.boot:
                last = min(last, self._ring.lo - 1)  # the rest is counted in the ring
            count += max(last - first + 1, 0)
        return count

    def dropped(self) -> "list[Range]":
        """Return (boot, from, to) of windows no longer held, to be told as `dropped` events."""
        return self._drops.pending()

    def reported(self, ok: bool) -> None:
        """Tell whether the ranges that `dropped` returned last have reached the broker."""
        held = (self.boot,) if self._shelf is None else self._shelf.spool.boots
        self._drops.told(ok, held)

    def wants_reboot(self) -> bool:
        """Tell that a new boot number is needed: the gateway refuses a seq 10**6 ahead.

        True after about ten days without an ack. The app then saves the registers, flushes and
        resets the board.
        """
        return self._ring.end - (self._acked + 1) > _REBOOT_BEHIND


def _holds_something(root: str) -> bool:
    """Tell whether an earlier boot left records."""
    try:
        return any(name.endswith(".seg") for name in os.listdir(root + "/spool"))
    except OSError:
        return False
