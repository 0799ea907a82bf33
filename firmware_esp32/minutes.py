"""Windows of the ring into one-minute records."""

from records import Minute
from ring import Ring, Row

_MINUTE_MS = 60000
# Windows are about a second long; more than these in a minute would be a fault of the clock.
_MAX_WINDOWS = 120


def last_of_minute(ring: Ring, first: int, offset_ms: "int | None") -> "tuple[int, bool]":
    """Return the last window of the minute that `first` lies in, and whether the minute is over.

    Minutes are the clock's where `offset_ms` is known, else those of `up`; a window belongs to the
    one that holds its middle (rule I).
    """
    shift_ms = offset_ms or 0
    minute = (ring.middle_ms(first) + shift_ms) // _MINUTE_MS
    seq = first + 1
    while seq < ring.end and seq - first < _MAX_WINDOWS:
        if (ring.middle_ms(seq) + shift_ms) // _MINUTE_MS != minute:
            return seq - 1, True
        seq += 1
    return seq - 1, seq - first >= _MAX_WINDOWS


class _Mean:
    """A mean weighted by time, in whole numbers: exact where a float32 is not."""

    def __init__(self) -> None:
        self._sum = 0
        self._ms = 0

    def add(self, value: int, dt_ms: int) -> None:
        self._sum += value * dt_ms
        self._ms += dt_ms

    def value(self) -> "int | None":
        return (self._sum + self._ms // 2) // self._ms if self._ms else None


class Averager:
    """Makes the record of windows first … last; keeps what it needs for the next time."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._row = Row(ring.channels)
        self._minute = Minute(ring.channels)

    def record(self, first: int, last: int) -> Minute:
        """Return the averages of windows first … last, all held; valid until the next call.

        Frequency: over windows with mains, as a mean with 0 Hz would be no frequency at all.
        """
        minute, count = self._minute, self._ring.channels
        v, f, live = _Mean(), _Mean(), False
        i, p, q = _means(count), _means(count), _means(count)
        minute.flags = minute.dt_ms = 0
        minute.z = [None] * count
        row = self._row
        for seq in range(first, last + 1):
            self._ring.read(seq, row)
            dt_ms = max(row.dt_ms, 1)
            minute.dt_ms += row.dt_ms
            minute.flags |= row.flags
            if row.v_cv >= 0:
                v.add(row.v_cv, dt_ms)
            if row.f_mhz > 0:
                f.add(row.f_mhz, dt_ms)
            live = live or row.f_mhz >= 0
            for k in range(count):
                _add(i[k], row.i[k], 1000, dt_ms)
                _add(p[k], row.p[k], 1000, dt_ms)
                _add(q[k], row.q[k], 1000, dt_ms)
                if row.z[k] >= 0:
                    minute.z[k] = max(minute.z[k] or 0, (row.z[k] + 5) // 10)
        minute.seq, minute.n, minute.up_ms = last, last - first + 1, row.up_ms
        minute.v, minute.f = v.value(), f.value()
        if minute.f is None and live:
            minute.f = 0
        for k in range(count):
            minute.i[k] = i[k].value()
            minute.p[k] = _tenths(p[k].value())
            minute.q[k] = _tenths(q[k].value())
            minute.mwh_in[k], minute.mwh_out[k] = row.mwh_in[k], row.mwh_out[k]
        return minute


def _means(count: int) -> "list[_Mean]":
    return [_Mean() for _ in range(count)]


def _add(mean: _Mean, value: float, scale: int, dt_ms: int) -> None:
    """Add a value in whole 1/scale; NaN was not measured."""
    if value == value:  # noqa: PLR0124 - NaN is the one that differs from itself
        mean.add(int(value * scale + (0.5 if value >= 0 else -0.5)), dt_ms)


def _tenths(thousandths: "int | None") -> "int | None":
    return None if thousandths is None else (thousandths + 50) // 100
