"""Rollups: sums over intervals of 1 min, 15 min, 1 h and 1 local day, that add up exactly.

A reading belongs to the interval that holds t - dt/2; means are weighted by dt (rule I).
Every written row is a contribution that is added to what is stored, so that late readings
change a closed interval without reading it back; contributions and the position up to which
readings were taken are committed together, which makes a repetition after a crash exact.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from gateway.domain.readings import Channel, Stored
from gateway.pipeline.registers import Register, counted_wh, step

RESOLUTIONS = ("1m", "15m", "1h", "1d")
MINUTE_MS = 60_000
FIXED_MS = {"1m": MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": 60 * MINUTE_MS}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Bucket(Struct, array_like=True, gc=False):
    """One channel over one interval. `*_sum` are Σ x·dt over the `*_dt` ms that had x.

    `n` counts windows. `wh_in`/`wh_out` are the registers at `reg_at_ms`; register + base never
    falls, so the energy of an interval is the difference to the one before it.
    """

    start_ms: int
    n: int = 0
    dt_ms: int = 0
    p_sum: float = 0.0
    p_dt: int = 0
    p_min: float | None = None
    p_max: float | None = None
    q_sum: float = 0.0
    q_dt: int = 0
    v_sum: float = 0.0
    v_dt: int = 0
    v_min: float | None = None
    v_max: float | None = None
    i_sum: float = 0.0
    i_dt: int = 0
    reg_at_ms: int | None = None
    wh_in: float | None = None
    wh_out: float | None = None
    base_in: float = 0.0
    base_out: float = 0.0

    def take(self, channel: Channel, voltage_v: float | None, reading: Stored) -> None:
        """Add one reading's channel; its registers are taken apart."""
        dt_ms = reading.dt_ms
        self.n += reading.n
        self.dt_ms += dt_ms
        power_w = channel.p
        if power_w is not None:
            self.p_sum += power_w * dt_ms
            self.p_dt += dt_ms
            self.p_min = power_w if self.p_min is None or power_w < self.p_min else self.p_min
            self.p_max = power_w if self.p_max is None or power_w > self.p_max else self.p_max
        if voltage_v is not None:
            self.v_sum += voltage_v * dt_ms
            self.v_dt += dt_ms
            self.v_min = voltage_v if self.v_min is None or voltage_v < self.v_min else self.v_min
            self.v_max = voltage_v if self.v_max is None or voltage_v > self.v_max else self.v_max
        if channel.q is not None:
            self.q_sum += channel.q * dt_ms
            self.q_dt += dt_ms
        if channel.i is not None:
            self.i_sum += channel.i * dt_ms
            self.i_dt += dt_ms

    def merge(self, other: "Bucket") -> None:
        """Add another part of the same or a finer interval."""
        self.n += other.n
        self.dt_ms += other.dt_ms
        self.p_sum += other.p_sum
        self.p_dt += other.p_dt
        self.q_sum += other.q_sum
        self.q_dt += other.q_dt
        self.v_sum += other.v_sum
        self.v_dt += other.v_dt
        self.i_sum += other.i_sum
        self.i_dt += other.i_dt
        self.p_min = _least(self.p_min, other.p_min)
        self.v_min = _least(self.v_min, other.v_min)
        self.p_max = _most(self.p_max, other.p_max)
        self.v_max = _most(self.v_max, other.v_max)
        newer = False
        if other.reg_at_ms is not None and (
            self.reg_at_ms is None or other.reg_at_ms >= self.reg_at_ms
        ):
            newer, self.reg_at_ms = True, other.reg_at_ms
        if other.wh_in is not None and (newer or self.wh_in is None):
            self.wh_in, self.base_in = other.wh_in, other.base_in
        if other.wh_out is not None and (newer or self.wh_out is None):
            self.wh_out, self.base_out = other.wh_out, other.base_out

    def mean(self, field: str) -> float | None:
        """Return the dt-weighted mean of `p`, `q`, `v` or `i`, None where it was never measured."""
        covered_ms: int = getattr(self, f"{field}_dt")
        total: float = getattr(self, f"{field}_sum")
        return total / covered_ms if covered_ms else None


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


class Calendar:
    """Where intervals begin: fixed ones in UTC, days at local midnight across DST."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._day = (0, 0)

    def start_of(self, resolution: str, at_ms: int) -> int:
        """Return the start of the interval that holds `at_ms`."""
        if resolution != "1d":
            return at_ms - at_ms % FIXED_MS[resolution]
        first, after = self._day
        if not first <= at_ms < after:
            self._day = first, _ = self.day_bounds(at_ms)
        return first

    def day_bounds(self, at_ms: int) -> tuple[int, int]:
        """Return the start and end of the local day that holds `at_ms`."""
        local = (EPOCH + timedelta(milliseconds=at_ms)).astimezone(self._zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=self._zone)
        return _ms(midnight), _ms(following)

    def end_of(self, resolution: str, start_ms: int) -> int:
        """Return the end of the interval that begins at `start_ms`."""
        if resolution != "1d":
            return start_ms + FIXED_MS[resolution]
        return self.day_bounds(start_ms)[1]


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


class Contribution(Struct, array_like=True, gc=False):
    """A part of one interval of one channel, to be added to what is stored."""

    channel: str
    resolution: str
    bucket: Bucket


class ChannelRoll(Struct, array_like=True):
    """The open intervals of one channel, and its registers' counted energy."""

    minute: Bucket | None = None
    coarse: dict[str, Bucket] = {}
    reg_in: Register | None = None
    reg_out: Register | None = None
    base_in: float = 0.0
    base_out: float = 0.0


class MeterRoll:
    """Rolls up one meter's readings; its whole state is `channels`, which a snapshot keeps."""

    def __init__(self, calendar: Calendar, channels: dict[str, ChannelRoll] | None = None) -> None:
        self._calendar = calendar
        self.channels: dict[str, ChannelRoll] = {} if channels is None else channels

    def add(self, reading: Stored, out: list[Contribution], *, late: bool = False) -> None:
        """Take one reading in; what closes (or comes late) is appended to `out`."""
        mid_ms = reading.at_ms - reading.dt_ms // 2
        start_ms = mid_ms - mid_ms % MINUTE_MS
        for name, channel in reading.ch.items():
            roll = self.channels.get(name)
            if roll is None:
                roll = self.channels[name] = ChannelRoll(coarse={})
            bucket = roll.minute
            if bucket is None or bucket.start_ms != start_ms:
                if bucket is not None and start_ms > bucket.start_ms:
                    self._close(name, roll, bucket, out)
                    roll.minute = None
                bucket = Bucket(start_ms)
                if roll.minute is None:
                    roll.minute = bucket  # else it lies behind the open minute
            bucket.take(channel, reading.v if channel.v is None else channel.v, reading)
            _take_registers(roll, bucket, reading.at_ms, channel, late=late)
            if bucket is not roll.minute:
                self._close(name, roll, bucket, out)

    def resume(self, channel: str, before: Bucket) -> None:
        """Count energy on from the registers at the end of an earlier interval."""
        roll = self.channels.setdefault(channel, ChannelRoll(coarse={}))
        roll.reg_in = None if before.wh_in is None else Register(before.wh_in)
        roll.reg_out = None if before.wh_out is None else Register(before.wh_out)
        roll.base_in, roll.base_out = before.base_in, before.base_out

    def flush(self, out: list[Contribution]) -> None:
        """Append everything that is still open and forget it; what follows adds to it."""
        for name, roll in self.channels.items():
            if roll.minute is not None:
                self._close(name, roll, roll.minute, out)
                roll.minute = None
            out.extend(Contribution(name, res, bucket) for res, bucket in roll.coarse.items())
            roll.coarse = {}

    def open_parts(self) -> Iterable[Contribution]:
        """Yield what is held in memory and not yet written, at every resolution."""
        for name, roll in self.channels.items():
            minute = roll.minute
            if minute is not None:
                yield Contribution(name, "1m", minute)
                for resolution in RESOLUTIONS[1:]:
                    start_ms = self._calendar.start_of(resolution, minute.start_ms)
                    part = Bucket(start_ms)
                    part.merge(minute)
                    yield Contribution(name, resolution, part)
            for resolution, bucket in roll.coarse.items():
                yield Contribution(name, resolution, bucket)

    def _close(self, name: str, roll: ChannelRoll, minute: Bucket, out: list[Contribution]) -> None:
        """Write a minute, and add it to the coarser intervals that hold it."""
        out.append(Contribution(name, "1m", minute))
        for resolution in RESOLUTIONS[1:]:
            start_ms = self._calendar.start_of(resolution, minute.start_ms)
            bucket = roll.coarse.get(resolution)
            if bucket is not None and start_ms < bucket.start_ms:
                late = Bucket(start_ms)
                late.merge(minute)
                out.append(Contribution(name, resolution, late))
                continue
            if bucket is None or start_ms > bucket.start_ms:
                if bucket is not None:
                    out.append(Contribution(name, resolution, bucket))
                bucket = roll.coarse[resolution] = Bucket(start_ms)
            bucket.merge(minute)


def _take_registers(
    roll: ChannelRoll, bucket: Bucket, at_ms: int, channel: Channel, *, late: bool
) -> None:
    """Count energy in the order of the registers; a late value does not move them."""
    wh_in, wh_out = channel.wh_in, channel.wh_out
    if (wh_in is None and wh_out is None) or (late and (roll.base_in or roll.base_out)):
        return  # after a fall nobody knows which count a late value belongs to
    if not late:
        if wh_in is not None:
            roll.reg_in, roll.base_in = _count(roll.reg_in, roll.base_in, wh_in)
        if wh_out is not None:
            roll.reg_out, roll.base_out = _count(roll.reg_out, roll.base_out, wh_out)
    if bucket.reg_at_ms is None or at_ms >= bucket.reg_at_ms:
        bucket.reg_at_ms = at_ms
        if wh_in is not None:
            bucket.wh_in, bucket.base_in = wh_in, roll.base_in
        if wh_out is not None:
            bucket.wh_out, bucket.base_out = wh_out, roll.base_out


def _count(known: Register | None, base_wh: float, now_wh: float) -> tuple[Register | None, float]:
    """Return a register after a value, and the base that keeps register + base from falling."""
    if known is None or (known.high_wh is None and now_wh >= known.wh):
        return Register(now_wh), base_wh
    return step(known, now_wh), base_wh + known.wh + counted_wh(known, now_wh) - now_wh
