"""What every meter has delivered: boots, runs of received windows, final gaps, registers.

The ledger mirrors tables in memory and is the only judge of «new» and «already there»
(rules X, G, R). It changes when a batch is planned; if that batch cannot be committed, the
ledger is stale and must be loaded anew.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Reading
from gateway.pipeline.intervals import Intervals
from gateway.pipeline.placement import BootClock
from gateway.pipeline.registers import Registers

MAX_SEQ_JUMP = 1_000_000  # contract, section 3


@dataclass(slots=True)
class Run:
    """Windows first … last, all received; times and registers are those at its ends."""

    first: int
    last: int
    first_at_ms: int | None
    last_at_ms: int | None
    last_up_ms: int
    regs: Registers


@dataclass(slots=True)
class Boot:
    """One boot of a meter."""

    no: int
    boot: int
    bootn: int | None
    first_received_ms: int
    clock: BootClock = field(default_factory=BootClock)
    received: Intervals = field(default_factory=Intervals)
    final: Intervals = field(default_factory=Intervals)
    done: Intervals = field(default_factory=Intervals)  # received or final
    provisional: dict[int, int] = field(default_factory=dict)  # first -> last
    runs: list[Run] = field(default_factory=list)  # parallel to `received`
    hole_since_s: dict[int, float] = field(default_factory=dict)  # hole's first -> monotonic
    neighbour_anchor_ms: int | None = None

    @property
    def upto(self) -> int:
        """Return what an ack may cover: every seq ≤ upto is committed or final."""
        return self.done.contiguous_from_zero()

    @property
    def last_up_ms(self) -> int:
        """Return the highest `up` seen, 0 before the first reading."""
        return self.runs[-1].last_up_ms if self.runs else 0

    def predecessor(self, seq: int) -> Run | None:
        """Return the run that ends before `seq`, the nearest one."""
        runs = self.runs
        if runs and runs[-1].last < seq:  # the usual case
            return runs[-1]
        at = bisect_right(runs, seq, key=lambda run: run.first) - 1
        return runs[at] if at >= 0 else None

    def holes(self) -> list[tuple[int, int]]:
        """Return what is missing below the highest window received and not final."""
        return self.done.holes(0, self.received.highest) if self.runs else []

    def jumps(self, seq: int) -> bool:
        """Tell whether `seq` is further ahead than the contract allows."""
        return bool(self.runs) and seq > self.received.highest + MAX_SEQ_JUMP


@dataclass(slots=True)
class RunChange:
    """Rows of the runs table to write and to delete, for one received window or span."""

    written: Run
    deleted: tuple[int, ...] = ()


def receive(boot: Boot, first: int, last: int, run_of: Run) -> RunChange:
    """Enter windows first … last as received; `run_of` carries their own times and registers."""
    runs = boot.runs
    if runs and runs[-1].last == first - 1:
        tail = runs[-1]
        _extend(tail, run_of)
        boot.received.add(first, last)
        boot.done.add(first, last)
        return RunChange(tail)
    boot.received.add(first, last)
    boot.done.add(first, last)
    left = bisect_right([run.last for run in runs], first - 2)
    right = bisect_right([run.first for run in runs], last + 1)
    joined = runs[left:right]
    merged = _join([*joined, run_of])
    runs[left:right] = [merged]
    return RunChange(merged, tuple(run.first for run in joined if run.first != merged.first))


def _extend(tail: Run, more: Run) -> None:
    tail.last = more.last
    tail.last_at_ms = more.last_at_ms
    tail.last_up_ms = more.last_up_ms
    tail.regs = more.regs


def _join(parts: Iterable[Run]) -> Run:
    ordered = sorted(parts, key=lambda run: run.first)
    begin = ordered[0]
    end = max(ordered, key=lambda run: run.last)
    return Run(begin.first, end.last, begin.first_at_ms, end.last_at_ms, end.last_up_ms, end.regs)


@dataclass(slots=True)
class Meter:
    """One meter: its boots in their order, and what an operator said of it."""

    no: int
    info: MeterInfo
    boots: dict[int, Boot] = field(default_factory=dict)
    channel_nos: dict[str, int] = field(default_factory=dict)
    removed: bool = False
    newest: Boot | None = None

    def add_boot(self, boot: Boot) -> None:
        """Enter a boot and find the newest again."""
        self.boots[boot.boot] = boot
        self.newest = self.ordered()[-1]

    def ordered(self) -> list[Boot]:
        """Return the boots in their order: by `bootn` where known, else as they came."""
        highest = -1
        keyed = []
        for boot in sorted(self.boots.values(), key=lambda b: b.no):
            order = highest if boot.bootn is None else boot.bootn
            highest = max(highest, order)
            keyed.append((order, boot.no, boot))
        return [boot for _, _, boot in sorted(keyed, key=lambda item: item[:2])]

    def before(self, boot: Boot) -> Boot | None:
        """Return the boot before, None for the first."""
        ordered = self.ordered()
        at = ordered.index(boot)
        return ordered[at - 1] if at > 0 else None

    def after(self, boot: Boot) -> Boot | None:
        """Return the boot after, None for the newest."""
        ordered = self.ordered()
        at = ordered.index(boot)
        return ordered[at + 1] if at + 1 < len(ordered) else None

    def registers(self) -> Registers:
        """Return the last registers in the order of boots and seq."""
        if self.newest is not None and self.newest.runs:  # the usual case
            return self.newest.runs[-1].regs
        for boot in reversed(self.ordered()):
            if boot.runs:
                return boot.runs[-1].regs
        return {}

    def last_run_before(self, boot: Boot) -> Run | None:
        """Return the last run of the boots before this one."""
        earlier = self.before(boot)
        while earlier is not None:
            if earlier.runs:
                return earlier.runs[-1]
            earlier = self.before(earlier)
        return None


@dataclass(slots=True)
class Ledger:
    """All meters, and the numbers that the next rows get."""

    meters: dict[str, Meter] = field(default_factory=dict)
    next_row: int = 1
    next_meter_no: int = 1
    next_channel_no: int = 1
    next_boot_no: int = 1

    def boots(self) -> Iterator[Boot]:
        """Yield every boot of every meter."""
        for meter in self.meters.values():
            yield from meter.boots.values()

    def is_removed(self, meter: str) -> bool:
        """Return whether an operator has removed this meter."""
        known = self.meters.get(meter)
        return known is not None and known.removed

    def new_meter(self, info: MeterInfo) -> Meter:
        """Enter a meter that was not known."""
        meter = Meter(self.next_meter_no, info)
        self.next_meter_no += 1
        self.meters[info.id] = meter
        return meter

    def new_boot(self, meter: Meter, boot: int, bootn: int | None, received_ms: int) -> Boot:
        """Enter a boot that was not known."""
        entry = Boot(self.next_boot_no, boot, bootn, received_ms)
        self.next_boot_no += 1
        meter.add_boot(entry)
        return entry


def span(reading: Reading) -> tuple[int, int]:
    """Return the first and last window a reading covers."""
    return reading.seq - reading.n + 1, reading.seq
