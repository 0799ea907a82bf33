"""Which readings are sent next: live ones first, the backlog oldest first between them."""

import wire
from ring import Ring, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shelf import Shelf

    Taken = tuple[memoryview, str]  # payload (until the next `take`), kind

# Contract, rule D.
RESEND_MS = 10000
# Built in memory that is kept for it: the heap is soon without blocks of this size.
MAX_TEXT = 2000
MAX_READINGS = 120
# Backlog messages on their way without an ack: doubled with each ack, from one.
_MAX_FLIGHT = 8
_MAX_LIVES = 32


class Sender:
    """Chooses, writes and repeats messages; what the acks cover is told to it.

    An ack covers a beginning of a boot. So when nothing came for RESEND_MS, the oldest that is
    uncovered is sent again, alone; the ack for it tells what of the later ones had arrived.
    """

    def __init__(self, ring: Ring, boot: int, names: "list[str]") -> None:
        self._ring = ring
        self._boot = boot
        self._names = names
        self.shelf: Shelf | None = None  # set by the keeper while the spool holds something
        self._row = Row(ring.channels)
        self._acked = -1
        self._text = bytearray(MAX_TEXT)
        self._used = 0  # bytes of it
        self._count = 0  # readings in it
        self._lives: list[list[int]] = []  # last window, time: live messages uncovered
        self._flight: list[tuple[int, int, int]] = []  # boot, last window, time: backlog ones
        self._was_live = False
        self.restart()

    def restart(self) -> None:
        """Begin anew after a connect: what is uncovered becomes backlog."""
        self._live_at = self._ring.end  # the next window to be sent live
        self._live_from = self._ring.end  # where the backlog ends
        self._rewind()

    def _rewind(self) -> None:
        self._flight.clear()
        self._lives.clear()
        if self.shelf is not None:
            self.shelf.reader.rewind()
        self._at = 0  # the next window of the ring to be sent as backlog
        self._window = 1

    def covered(self, boot: int, upto: int) -> None:
        """Take note that windows ≤ upto of a boot need not be sent again."""
        if boot == self._boot:
            self._acked = max(self._acked, upto)
            while self._lives and self._lives[0][0] <= self._acked:
                self._lives.pop(0)
        left = [sent for sent in self._flight if sent[0] != boot or sent[1] > upto]
        if len(left) < len(self._flight):
            self._flight = left
            self._window = min(self._window * 2, _MAX_FLIGHT)

    def take(self, now_ms: int, offset_ms: "int | None") -> "Taken | None":
        """Return the next payload and its kind, None when nothing is due.

        The payload is valid until the next call.
        """
        self._go_back_when_due(now_ms)
        backlog = len(self._flight) < self._window and self._has_backlog()
        self._live_at = max(self._live_at, self._ring.lo, self._acked + 1)
        self._used = self._count = 0
        if self._live_at < self._ring.end and not (self._was_live and backlog):
            self._was_live = True
            self._take_live(now_ms, offset_ms)
            return self._payload(), "live"
        self._was_live = False
        if backlog:
            self._take_backlog(now_ms, offset_ms)
            return self._payload(), "backlog"
        return None

    # -- when ----------------------------------------------------------------------------------

    def _has_backlog(self) -> bool:
        self._at = max(self._at, self._ring.lo, self._acked + 1)
        return self._has_minute() or self._at < self._live_from

    def _has_minute(self) -> bool:
        shelf = self.shelf
        return shelf is not None and shelf.reader.peek(self._boot, self._ring.lo)

    def _go_back_when_due(self, now_ms: int) -> None:
        if self._flight:
            sent_ms = self._flight[0][2]
        elif self._lives and not self._has_backlog():
            sent_ms = self._lives[0][1]
        else:
            return
        if now_ms - sent_ms >= RESEND_MS:
            self._live_from = self._live_at
            self._rewind()

    # -- what ----------------------------------------------------------------------------------

    def _take_live(self, now_ms: int, offset_ms: "int | None") -> None:
        self._live_at = self._windows(self._live_at, self._ring.end, offset_ms)
        if len(self._lives) < _MAX_LIVES:
            self._lives.append([self._live_at - 1, now_ms])
        else:  # the newest stands for several; the oldest decides when it is time
            self._lives[-1] = [self._live_at - 1, now_ms]

    def _take_backlog(self, now_ms: int, offset_ms: "int | None") -> None:
        boot, last = self._boot, -1
        shelf = self.shelf
        while shelf is not None and self._has_minute():
            reader = shelf.reader
            if self._count and reader.boot != boot:
                break  # one boot a message, so that one number says whether it is covered
            boot = reader.boot
            if not self._add(shelf.text(offset_ms)):
                break
            last = reader.minute.seq
            reader.skip()
        else:
            if boot == self._boot:
                self._at = self._windows(self._at, self._live_from, offset_ms)
                last = max(last, self._at - 1)
        self._flight.append((boot, last, now_ms))

    def _windows(self, first: int, end: int, offset_ms: "int | None") -> int:
        """Add windows first … end - 1 to the message; return the one it got to."""
        at, row = first, self._row
        while at < end:
            self._ring.read(at, row)
            if not self._add(window_text(self._boot, self._names, row, offset_ms)):
                break
            at += 1
        return at

    def _add(self, reading: str) -> bool:
        """Add a reading to the message; False when it is full."""
        raw = reading.encode()
        at = self._used + 1
        end = at + len(raw)
        if end >= MAX_TEXT or self._count >= MAX_READINGS:  # the bracket at the end has its place
            return False
        self._text[at - 1] = ord("," if self._count else "[")
        self._text[at:end] = raw
        self._used = end
        self._count += 1
        return True

    def _payload(self) -> memoryview:
        self._text[self._used] = ord("]")
        return memoryview(self._text)[: self._used + 1]


def window_text(boot: int, names: "list[str]", row: Row, offset_ms: "int | None") -> str:
    """Return a window of the ring as the contract's reading."""
    v = row.v_cv / 100 if row.v_cv >= 0 else None
    f = row.f_mhz / 1000 if row.f_mhz >= 0 else None
    parts = [wire.head_text(boot, row.seq, 1, row.up_ms, offset_ms, row.dt_ms, v, f)]
    for k, name in enumerate(names):
        if k:
            parts.append(",")
        z = row.z[k] / 100 if row.z[k] >= 0 else None
        parts.append(
            wire.channel_text(name, row.i[k], row.p[k], row.q[k], row.mwh_in[k], row.mwh_out[k], z)
        )
    parts.append(wire.tail_text(row.flags))
    return "".join(parts)
