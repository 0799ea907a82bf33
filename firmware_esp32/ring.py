"""The last minutes of windows in RAM: bounded memory, packed once, read without big garbage."""

import struct

from pages import PAGE_BYTES, Pages

# Windows kept with 1 … 6 channels: 10 minutes at 1 s with one and 5 with more, also just after a
# minute left for the flash, and never more than 51 KiB.
_CAPACITY = (660, 480, 360, 360, 364, 364)
FEW = 30  # windows that it holds at least
# up and dt in ms, voltage in 10 mV, frequency in mHz above 30 Hz, flags
_HEAD = "<IHHHB"
_HEAD_BYTES = 11
# I, P, Q as float32; anomaly score in 1/100; low 32 bits of both registers in mWh
_CHANNEL = "<fffHII"
_CHANNEL_BYTES = 22
_NONE = 0xFFFF
_F_BASE_MHZ = 30000
_F_MAX_MHZ = 40000  # 70 Hz
_V_MAX_CV = 50000  # 500 V
_LOW = 0xFFFFFFFF
_NAN = float("nan")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Row:
    """One window as it comes out of the ring; used again and again.

    Voltage in 10 mV and frequency in mHz, -1 = not measured; i, p, q in A, W, var (NaN = not
    measured); z in 1/100, -1 = none; registers in mWh.
    """

    def __init__(self, channels: int) -> None:
        self.seq = 0
        self.up_ms = 0
        self.dt_ms = 0
        self.v_cv = -1
        self.f_mhz = -1
        self.flags = 0
        self.i = [0.0] * channels
        self.p = [0.0] * channels
        self.q = [0.0] * channels
        self.z = [-1] * channels
        self.mwh_in = [0] * channels
        self.mwh_out = [0] * channels


class Ring:
    """Windows lo … end - 1 of the running boot, each under its seq.

    Its memory is taken here and kept; `reserve_bytes` of the heap stay free, if it can be.
    """

    def __init__(self, channels: int, reserve_bytes: int = 0) -> None:
        self.channels = channels
        self.capacity = _CAPACITY[channels - 1]
        self.lo = 0
        self.end = 0
        self._size = _HEAD_BYTES + channels * _CHANNEL_BYTES
        self._per_page = PAGE_BYTES // self._size
        count = (self.capacity + self._per_page - 1) // self._per_page
        few = (FEW + self._per_page - 1) // self._per_page + 1  # they begin within a page
        self.pages = Pages(count, self._per_page * self._size, few, reserve_bytes)
        self._up_ms = 0  # of the newest window: what the low bits of older ones belong to
        self._mwh_in = [0] * channels
        self._mwh_out = [0] * channels

    @property
    def full(self) -> bool:
        """Tell whether the oldest window must go before the next comes."""
        if self.end - self.lo >= self.capacity:
            return True
        return not self.pages.take(self.end % self.capacity // self._per_page)

    def put(  # noqa: PLR0913, PLR0917 - the fields of a window
        self,
        up_ms: int,
        dt_ms: int,
        v: "float | None",
        f: "float | None",
        flags: int,
        i: "Sequence[float | None]",
        p: "Sequence[float | None]",
        q: "Sequence[float | None]",
        z: "Sequence[float | None] | None",
        mwh_in: "Sequence[int]",
        mwh_out: "Sequence[int]",
    ) -> int:
        """Enter a window and return its seq; the ring must not be full.

        `up_ms` and registers never fall. Values out of the contract's range count as not measured.
        """
        if self.full:  # takes the page, too
            raise IndexError(self.end)
        page, at = self._place(self.end)
        dt_ms = min(max(dt_ms, 0), _NONE)
        struct.pack_into(_HEAD, page, at, up_ms & _LOW, dt_ms, _cv(v), _mhz(f), flags & 0xFF)
        at += _HEAD_BYTES
        for k in range(self.channels):
            struct.pack_into(
                _CHANNEL, page, at,
                _NAN if i[k] is None else i[k], _NAN if p[k] is None else p[k],
                _NAN if q[k] is None else q[k], _score(None if z is None else z[k]),
                mwh_in[k] & _LOW, mwh_out[k] & _LOW,
            )  # fmt: skip
            self._mwh_in[k] = mwh_in[k]
            self._mwh_out[k] = mwh_out[k]
            at += _CHANNEL_BYTES
        self._up_ms = up_ms
        self.end += 1
        return self.end - 1

    def free_to(self, seq: int) -> None:
        """Let go of every window below `seq`, and of pages that hold no other."""
        before, self.lo = self.lo, min(max(self.lo, seq), self.end)
        held = (self.end - 1) % self.capacity // self._per_page if self.lo < self.end else -1
        first = self.lo % self.capacity // self._per_page if self.lo < self.end else -1
        while before < self.lo:
            number = before % self.capacity // self._per_page
            if number not in (held, first):
                self.pages.drop(number)
            slot = before % self.capacity
            before += min(self._per_page - slot % self._per_page, self.capacity - slot)

    def page_end(self) -> int:
        """Return the last window of the page that the oldest one lies in."""
        slot = self.lo % self.capacity
        rest = min(self._per_page - slot % self._per_page, self.capacity - slot)
        return min(self.lo + rest, self.end) - 1

    def middle_ms(self, seq: int) -> int:
        """Return the `up` of the middle of a window that is held."""
        page, at = self._place(seq)
        low, dt_ms = struct.unpack_from("<IH", page, at)
        return int(self._up_ms - ((self._up_ms - low) & _LOW) - dt_ms // 2)

    def read(self, seq: int, row: Row) -> None:
        """Read a window that is held into `row`."""
        page, at = self._place(seq)
        low, row.dt_ms, cv, mhz, row.flags = struct.unpack_from(_HEAD, page, at)
        row.seq = seq
        row.up_ms = self._up_ms - ((self._up_ms - low) & _LOW)
        row.v_cv = -1 if cv == _NONE else cv
        row.f_mhz = -1 if mhz == _NONE else mhz + _F_BASE_MHZ if mhz else 0
        at += _HEAD_BYTES
        for k in range(self.channels):
            row.i[k], row.p[k], row.q[k], z, low_in, low_out = struct.unpack_from(
                _CHANNEL, page, at
            )
            row.z[k] = -1 if z == _NONE else z
            row.mwh_in[k] = self._mwh_in[k] - ((self._mwh_in[k] - low_in) & _LOW)
            row.mwh_out[k] = self._mwh_out[k] - ((self._mwh_out[k] - low_out) & _LOW)
            at += _CHANNEL_BYTES

    def _place(self, seq: int) -> "tuple[bytearray, int]":
        slot = seq % self.capacity
        place = self.pages.place(slot // self._per_page)
        if place is None:
            raise IndexError(seq)
        return place[0], place[1] + slot % self._per_page * self._size


def _cv(v: "float | None") -> int:
    if v is None or not 0 <= v <= _V_MAX_CV / 100:
        return _NONE
    return int(v * 100 + 0.5)


def _mhz(f: "float | None") -> int:
    """Return mHz above 30 Hz, 0 for a measured 0 Hz."""
    if f is None or not (f == 0 or 40 <= f <= 70):  # noqa: PLR2004 - contract, section 3
        return _NONE
    return min(int((f - 30) * 1000 + 0.5), _F_MAX_MHZ) if f else 0


def _score(z: "float | None") -> int:
    if z is None or not z >= 0:  # NaN too
        return _NONE
    return min(int(min(z, 1e4) * 100 + 0.5), _NONE - 1)
