"""A meter in a home: windows turned into the readings that go over the wire."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, NotRequired, TypedDict

from simulation.home import ChannelWindow, Home, Window

_MWH_PER_STEP = 10  # registers are shown in steps of 0.01 Wh
_STEPS_PER_WH = 100


class ChannelReading(TypedDict):
    """One channel: A, W, var, and registers in Wh."""

    i: float
    p: float
    q: float
    wh_in: float
    wh_out: float


class Reading(TypedDict):
    """One reading as the wire contract has it, with a meter's resolution.

    0.01 V, 0.01 Hz, 0.001 A, 0.1 W, 0.1 var, 0.01 Wh.
    """

    boot: int
    seq: int
    n: NotRequired[int]
    up: int
    t: int | None
    dt: int
    v: float
    f: float
    ch: dict[str, ChannelReading]
    flags: NotRequired[list[str]]


class Span(NamedTuple):
    """Windows by sequence number, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a meter reports.

    `windows_per_record` > 1 gives spool records of so many windows. The clock is off
    by `clock_offset_ms`, and unset until `clock_set_after_ms` after boot (None =
    never): `t` is then null, with the flag `nosync`. Windows in `lost` are never
    reported, though their numbers and energy count.
    """

    windows_per_record: int = 1
    clock_offset_ms: int = 0
    clock_set_after_ms: int | None = 0
    lost: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of a meter: `missed_mwh` is what each register did not count before it."""

    boot: int
    number: int
    start_ms: int
    missed_mwh: dict[str, tuple[int, int]]


class MeterStream:
    """The readings of one meter, boot after boot, with registers that go on.

    `boot` is the random number of the first boot, `number` its persisted count.
    While a `meter_silent` fault lasts nothing is reported, as for `lost` windows.
    """

    def __init__(
        self,
        home: Home,
        *,
        boot: int,
        number: int = 1,
        start_ms: int | None = None,
        options: StreamOptions | None = None,
    ) -> None:
        start = home.since_ms if start_ms is None else home.align(start_ms)
        self.home = home
        self.options = options or StreamOptions()
        self._boot = Boot(boot, number, start, dict.fromkeys(home.spec.channels, (0, 0)))
        self._windows = 0  # of this boot, reported or not

    @property
    def boot(self) -> Boot:
        """Return the present boot."""
        return self._boot

    @property
    def now_ms(self) -> int:
        """Return the end of the last window taken."""
        return self._boot.start_ms + self._windows * self.home.dt_ms

    @property
    def next_seq(self) -> int:
        """Return the number the next window will have."""
        return self._windows

    def take(self, windows: int) -> Iterator[Reading]:
        """Yield the readings of the next windows, fewer where some are lost.

        With spool records a rest shorter than a record makes a shorter record.
        """
        held: list[Window] = []
        for window in self.home.iterate(self.now_ms, windows):
            seq = self._windows
            self._windows += 1
            lost = window.silent or any(s.first <= seq <= s.last for s in self.options.lost)
            if held and lost:
                yield self._reading(held, seq - 1)
                held = []
            if not lost:
                held.append(window)
            if len(held) >= self.options.windows_per_record:
                yield self._reading(held, seq)
                held = []
        if held:
            yield self._reading(held, self._windows - 1)

    def reboot(self, boot: int, at_ms: int) -> None:
        """Start again at an instant; what flowed since the last window is not counted.

        ValueError if the instant is before the last window's end.
        """
        start = self.home.align(at_ms)
        if start < self.now_ms:
            msg = f"a reboot at {at_ms} would be before the last window's end {self.now_ms}"
            raise ValueError(msg)
        missed = {}
        before, after = self._registers(self.now_ms), self._registers(start)
        for name, old in self._boot.missed_mwh.items():
            gone_in, gone_out = (after[name][side] - before[name][side] for side in (0, 1))
            missed[name] = (old[0] + gone_in, old[1] + gone_out)
        self._boot = Boot(boot, self._boot.number + 1, start, missed)
        self._windows = 0

    def set_clock(self, offset_ms: int) -> None:
        """Set the clock now; later readings carry wall time with this error."""
        after = self.now_ms - self._boot.start_ms
        self.options = replace(self.options, clock_offset_ms=offset_ms, clock_set_after_ms=after)

    def _registers(self, at_ms: int) -> dict[str, tuple[int, int]]:
        """Return the home's registers at an instant, in mWh."""
        if at_ms <= self.home.since_ms:
            return dict.fromkeys(self.home.spec.channels, (0, 0))
        last = self.home.windows(at_ms - self.home.dt_ms, 1)
        return {
            name: (int(channel.in_mwh[0]), int(channel.out_mwh[0]))
            for name, channel in last.channels.items()
        }

    def _reading(self, held: Sequence[Window], seq: int) -> Reading:
        """Return the reading of windows that end with number `seq`."""
        last = held[-1]
        up = last.end_ms - self._boot.start_ms
        set_after = self.options.clock_set_after_ms
        synchronised = set_after is not None and up > set_after
        reading: Reading = {
            "boot": self._boot.boot,
            "seq": seq,
            "up": up,
            "t": last.end_ms + self.options.clock_offset_ms if synchronised else None,
            "dt": sum(window.dt_ms for window in held),
            "v": round(_mean([window.v for window in held]), 2),
            "f": round(_mean([window.f for window in held]), 2),
            "ch": {
                name: self._channel(name, [window.channels[name] for window in held])
                for name in last.channels
            },
        }
        if len(held) > 1:
            reading["n"] = len(held)
        flags = {
            "clip": any(window.clip for window in held),
            "nosync": not synchronised,
            "spool": len(held) > 1,
        }
        if any(flags.values()):
            reading["flags"] = [name for name, is_set in flags.items() if is_set]
        return reading

    def _channel(self, name: str, held: Sequence[ChannelWindow]) -> ChannelReading:
        missed_in, missed_out = self._boot.missed_mwh[name]
        return {
            "i": round(_mean([window.i for window in held]), 3),
            "p": round(_mean([window.p for window in held]), 1),
            "q": round(_mean([window.q for window in held]), 1),
            "wh_in": _wh(held[-1].in_mwh - missed_in),
            "wh_out": _wh(held[-1].out_mwh - missed_out),
        }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wh(register_mwh: int) -> float:
    """Return Wh cut to 0.01, so that a register never shows what has not flowed yet."""
    return register_mwh // _MWH_PER_STEP / _STEPS_PER_WH
