"""Which readings are sent next: live ones first, the backlog oldest first between them."""

import wire
from ring import Ring, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shelf import Shelf

    Taken = tuple[str, str]  # payload, kind

# Contract, rule D.
RESEND_MS = 10000
# What a board can build, encrypt and send: its heap is soon without large blocks.
MAX_TEXT = 3000
_MIN_TEXT = 1000  # one reading of six channels
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
        self._max_text = MAX_TEXT
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

        Where the heap has no room for a whole message, later ones are made smaller.
        """
        try:
            return self._take(now_ms, offset_ms)
        except MemoryError:
            if self._max_text <= _MIN_TEXT:
                raise
            self._max_text = max(self._max_text // 2, _MIN_TEXT)
            self._live_from = self._live_at
            self._rewind()
            return None

    def _take(self, now_ms: int, offset_ms: "int | None") -> "Taken | None":
        self._go_back_when_due(now_ms)
        backlog = len(self._flight) < self._window and self._has_backlog()
        self._live_at = max(self._live_at, self._ring.lo, self._acked + 1)
        if self._live_at < self._ring.end and not (self._was_live and backlog):
            self._was_live = True
            return self._take_live(now_ms, offset_ms), "live"
        self._was_live = False
        if backlog:
            return self._take_backlog(now_ms, offset_ms), "backlog"
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

    def _take_live(self, now_ms: int, offset_ms: "int | None") -> str:
        text, self._live_at = self._windows(self._live_at, self._ring.end, [], offset_ms)
        if len(self._lives) < _MAX_LIVES:
            self._lives.append([self._live_at - 1, now_ms])
        else:  # the newest stands for several; the oldest decides when it is time
            self._lives[-1] = [self._live_at - 1, now_ms]
        return text

    def _take_backlog(self, now_ms: int, offset_ms: "int | None") -> str:
        parts: list[str] = []
        boot, last, size = self._boot, -1, 2
        shelf = self.shelf
        while shelf is not None and len(parts) < MAX_READINGS and self._has_minute():
            reader = shelf.reader
            if parts and reader.boot != boot:
                break  # one boot a message, so that one number says whether it is covered
            boot = reader.boot
            text = shelf.text(offset_ms)
            if size + len(text) > self._max_text:
                break
            parts.append(text)
            size += len(text) + 1
            last = reader.minute.seq
            reader.skip()
        else:
            if boot == self._boot and len(parts) < MAX_READINGS:
                text, self._at = self._windows(self._at, self._live_from, parts, offset_ms)
                self._flight.append((boot, max(last, self._at - 1), now_ms))
                return text
        self._flight.append((boot, last, now_ms))
        return "[" + ",".join(parts) + "]"

    def _windows(
        self, first: int, end: int, parts: "list[str]", offset_ms: "int | None"
    ) -> "tuple[str, int]":
        """Return `parts` and windows first … as a payload, and the window it got to."""
        size = 2
        for part in parts:
            size += len(part) + 1
        at, row = first, self._row
        while at < end and len(parts) < MAX_READINGS:
            self._ring.read(at, row)
            text = window_text(self._boot, self._names, row, offset_ms)
            if size + len(text) > self._max_text:
                break
            parts.append(text)
            size += len(text) + 1
            at += 1
        return "[" + ",".join(parts) + "]", at


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
