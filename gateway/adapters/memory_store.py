"""The store's ports in memory: twins of the SQL ones, for tests and trying things out."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.adapters.store.rows import stored
from gateway.domain.alerts import Alert
from gateway.domain.meters import ChannelInfo, MeterInfo
from gateway.domain.readings import Mark, Stored
from gateway.pipeline.placement import FUTURE_MS, BootClock
from gateway.pipeline.rollups import Bucket
from gateway.services.batches import (
    Batch,
    BootRow,
    DeadLetter,
    GapCut,
    GapRow,
    Moved,
    Replaced,
    RunRow,
)
from gateway.services.effects import ModelRow, Position, VerdictRow
from gateway.services.ledger import Boot, Ledger, Meter, Run
from gateway.services.placing import Placed, Unplaced
from gateway.services.retention import AgeMark, Space

MAX_DEAD_LETTERS = 10_000
SEGMENT_ROWS = 4096
DISK_BYTES = 10**12
ROW_BYTES = 48  # of a row beside its packed body


class Record(NamedTuple):
    """One row of the readings, named."""

    row: int
    boot_no: int
    seq: int
    n: int
    up_ms: int
    t_ms: int | None
    at_ms: int | None
    received_ms: int
    dt_ms: int
    marks: int
    body: bytes


@dataclass(slots=True)
class Tables:
    """What the database holds, as plain values; the ports below share one."""

    meters: dict[int, MeterInfo] = field(default_factory=dict)
    removed_ms: dict[int, int | None] = field(default_factory=dict)
    states: dict[int, tuple[str, int, bool]] = field(default_factory=dict)
    channels: dict[int, tuple[int, ChannelInfo]] = field(default_factory=dict)
    boots: dict[int, BootRow] = field(default_factory=dict)
    readings: dict[int, Record] = field(default_factory=dict)
    runs: dict[tuple[int, int], RunRow] = field(default_factory=dict)
    gaps: dict[tuple[int, int], GapRow] = field(default_factory=dict)
    unplaced: dict[int, int] = field(default_factory=dict)
    dirty: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    next_dirty: int = 1
    dead: list[DeadLetter] = field(default_factory=list)
    dead_counts: dict[str, int] = field(default_factory=dict)
    rollups: dict[tuple[int, str, int], Bucket] = field(default_factory=dict)
    judged: dict[int, Position] = field(default_factory=dict)
    models: dict[tuple[int, str, str], ModelRow] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    by_hand: set[str] = field(default_factory=set)  # alerts that a person resolved
    verdicts: list[VerdictRow] = field(default_factory=list)
    outbox: dict[str, Alert] = field(default_factory=dict)
    looked_at: int = 0
    retired_until_ms: int = 0
    age_marks: list[AgeMark] = field(default_factory=list)

    def soil(self, meter_no: int, from_ms: int, to_ms: int) -> None:
        """Note that intervals must be computed again."""
        self.dirty[self.next_dirty] = (meter_no, from_ms, to_ms)
        self.next_dirty += 1

    def reading(self, row: Record) -> Stored:
        """Return one row as a reading."""
        boot = self.boots[row.boot_no]
        return stored(row, self.meters[boot.meter_no].id, boot.boot)


class MemoryIntakeStore:
    """Satisfies `IntakeStore`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def load_ledger(self) -> Ledger:
        """Read what every meter has delivered."""
        return load_ledger(self._tables)

    def submit(self, batch: Batch) -> "Future[None]":
        """Write a batch; the future is done at once."""
        done: Future[None] = Future()
        _write_batch(self._tables, batch)
        done.set_result(None)
        return done


def _write_batch(tables: Tables, batch: Batch) -> None:
    for no, info in batch.meters:
        tables.meters[no] = info
        tables.removed_ms[no] = None
    tables.channels.update({no: (meter_no, info) for no, meter_no, info in batch.channels})
    tables.boots.update(batch.boots)
    for row in batch.rows:
        record = Record(*row)
        tables.readings[record.row] = record
        if record.at_ms is None:
            tables.unplaced.setdefault(record.boot_no, record.row)
    for key in batch.deleted_runs:
        tables.runs.pop(key, None)
    tables.runs.update({(run.boot_no, run.first): run for run in batch.runs})
    for change in batch.gaps:
        _change_gap(tables, change)
    for replaced in batch.replaced:
        _replace(tables, replaced)
    for moved in batch.moved:
        _move(tables, moved)
    for state in batch.states.values():
        before = tables.states.get(state.meter_no)
        told = state.after(None if before is None else before[0])
        tables.states[state.meter_no] = (told.payload, told.at_ms, told.online)
    for dead in batch.dead:
        reason = dead.rejected.reason
        tables.dead_counts[reason] = tables.dead_counts.get(reason, 0) + 1
    tables.dead = [*tables.dead, *batch.dead][-MAX_DEAD_LETTERS:]


def _change_gap(tables: Tables, change: GapCut | GapRow) -> None:
    if isinstance(change, GapRow):
        tables.gaps[change.boot_no, change.first] = change
        return
    for gap in list(tables.gaps.values()):
        if gap.boot_no != change.boot_no or gap.first > change.last or gap.last < change.first:
            continue
        del tables.gaps[gap.boot_no, gap.first]
        if gap.first < change.first:
            left = gap._replace(last=change.first - 1)
            tables.gaps[left.boot_no, left.first] = left
        if gap.last > change.last:
            right = gap._replace(first=change.last + 1)
            tables.gaps[right.boot_no, right.first] = right


def _replace(tables: Tables, replaced: Replaced) -> None:
    """Let a spool record take the place of finer rows, or drop it as a repetition."""
    width = replaced.last - replaced.first + 1
    finer = [
        row
        for row in tables.readings.values()
        if row.boot_no == replaced.boot_no
        and row.row != replaced.by_row
        and replaced.first <= row.seq - row.n + 1
        and row.seq <= replaced.last
        and row.n < width
    ]
    if not finer and replaced.repeated:
        tables.readings.pop(replaced.by_row, None)
        return
    for row in finer:
        del tables.readings[row.row]
    changed = finer + _trim(tables, replaced)
    placed = [(row.at_ms - row.dt_ms, row.at_ms) for row in changed if row.at_ms is not None]
    if placed:
        tables.soil(replaced.meter_no, min(a for a, _ in placed), max(b for _, b in placed))


def _trim(tables: Tables, replaced: Replaced) -> list[Record]:
    """Let no two records share windows; return stored ones, as they were, that became shorter."""
    _, _, first, last, by_row, _ = replaced
    begin = first
    shorter: list[Record] = []
    for row in list(tables.readings.values()):
        starts = row.seq - row.n + 1
        if row.boot_no != replaced.boot_no or row.row == by_row or row.seq < first or starts > last:
            continue
        if starts < first and row.seq <= last:
            begin = max(begin, row.seq + 1)
        elif starts >= first and row.seq > last:
            _shorten(tables, row.row, last + 1)
            shorter.append(row)
    if begin > last:
        tables.readings.pop(by_row, None)
    elif begin > first:
        _shorten(tables, by_row, begin)
    return shorter


def _shorten(tables: Tables, number: int, first: int) -> None:
    row = tables.readings[number]
    n = row.seq - first + 1
    tables.readings[number] = row._replace(n=n, dt_ms=max(1, row.dt_ms * n // row.n))


def _move(tables: Tables, moved: Moved) -> None:
    """Place a boot's anchored rows anew, never ahead of their receipt."""
    touched: list[tuple[int, int]] = []
    for row in list(tables.readings.values()):
        at_ms = row.at_ms
        if row.boot_no != moved.boot_no or not row.marks & moved.mark or at_ms is None:
            continue
        new_ms = min(moved.anchor_ms + row.up_ms, row.received_ms + FUTURE_MS)
        touched.append((min(at_ms, new_ms) - row.dt_ms, max(at_ms, new_ms)))
        tables.readings[row.row] = row._replace(at_ms=new_ms)
    if touched:
        tables.soil(moved.meter_no, min(a for a, _ in touched), max(b for _, b in touched))


def load_ledger(tables: Tables) -> Ledger:
    """Return the ledger that the tables describe."""
    ledger = Ledger()
    by_no: dict[int, Meter] = {}
    for no, info in tables.meters.items():
        own = MeterInfo(info.id, info.recorded, info.label, info.registered_ms)
        removed = tables.removed_ms[no] is not None
        by_no[no] = ledger.meters[info.id] = Meter(no, own, removed=removed)
    for no, (meter_no, channel) in tables.channels.items():
        by_no[meter_no].channel_nos[channel.name] = no
        by_no[meter_no].info.channels[channel.name] = channel
    for no, row in sorted(tables.boots.items()):
        clock = BootClock(row.state_anchor_ms, row.reading_anchor_ms, row.offset_ms)
        boot = Boot(no, row.boot, row.bootn, row.first_received_ms, clock)
        by_no[row.meter_no].add_boot(boot)
        _load_windows(tables, boot)
    judged = max((position.row for position in tables.judged.values()), default=0)
    ledger.next_row = max([judged, tables.looked_at, *tables.readings]) + 1
    ledger.next_meter_no = max(tables.meters, default=0) + 1
    ledger.next_channel_no = max(tables.channels, default=0) + 1
    ledger.next_boot_no = max(tables.boots, default=0) + 1
    return ledger


def _load_windows(tables: Tables, boot: Boot) -> None:
    for (boot_no, _), run in sorted(tables.runs.items()):
        if boot_no == boot.no:
            boot.runs.append(Run(*run[1:]))
            boot.received.add(run.first, run.last)
            boot.done.add(run.first, run.last)
    for gap in tables.gaps.values():
        if gap.boot_no != boot.no:
            continue
        if gap.state == "final":
            boot.final.add(gap.first, gap.last)
            boot.done.add(gap.first, gap.last)
        else:
            boot.provisional[gap.first] = gap.last


class MemoryPlacingStore:
    """Satisfies `PlacingStore`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def unplaced_boots(self) -> list[int]:
        """Return the numbers of boots with unplaced readings."""
        return sorted(self._tables.unplaced)

    async def unplaced(self, boot_no: int) -> list[Unplaced]:
        """Return a boot's unplaced readings in the order of their rows."""
        rows = [
            self._tables.reading(row)
            for _, row in sorted(self._tables.readings.items())
            if row.boot_no == boot_no and row.at_ms is None
        ]
        return [Unplaced(r.row, r.seq, r.up_ms, r.t_ms, r.flags) for r in rows]

    async def place(
        self, boot_no: int, placed: list[Placed], runs: list[tuple[int, int, int]]
    ) -> None:
        """Store places and the times of the boot's runs."""
        tables = self._tables
        for number, at_ms, marks in placed:
            row = tables.readings[number]
            kept = (row.marks & ~Mark.UNPLACED) | marks
            tables.readings[number] = row._replace(at_ms=at_ms, marks=kept)
        for first, first_ms, last_ms in runs:
            if (run := tables.runs.get((boot_no, first))) is not None:
                changed = run._replace(first_at_ms=first_ms, last_at_ms=last_ms)
                tables.runs[boot_no, first] = changed
        tables.unplaced.pop(boot_no, None)


class MemoryRetentionStore:
    """Satisfies `RetentionStore`; segments are the store's, of 2^12 row numbers."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def newest_row(self) -> int:
        """Return the number of the newest reading, 0 for none."""
        return max(self._tables.readings, default=0)

    async def load_marks(self) -> list[AgeMark]:
        """Return the marks that were saved, oldest first."""
        return list(self._tables.age_marks)

    async def save_marks(self, marks: list[AgeMark]) -> None:
        """Keep these marks in place of the saved ones."""
        self._tables.age_marks = list(marks)

    async def space(self) -> Space:
        """Return about what the readings would take, on a disk that never fills up."""
        used = sum(len(row.body) + ROW_BYTES for row in self._tables.readings.values())
        return Space(used, 0, DISK_BYTES, DISK_BYTES)

    async def retire(self, upto_row: int | None, most_segments: int) -> int:
        """Delete the oldest segments that are full, judged, and end at or before a row."""
        tables = self._tables
        limit = min([tables.looked_at, *(first - 1 for first in tables.unplaced.values())])
        if upto_row is not None:
            limit = min(limit, upto_row)
        gone = 0
        while gone < most_segments and tables.readings:
            first = min(tables.readings) // SEGMENT_ROWS * SEGMENT_ROWS
            after = first + SEGMENT_ROWS
            rows = [row for number, row in tables.readings.items() if number < after]
            if after - 1 > min(limit, max(tables.readings)):
                break
            ends = [row.at_ms or 0 for row in rows]
            tables.retired_until_ms = max([tables.retired_until_ms, *ends])
            for row in rows:
                del tables.readings[row.row]
            gone += 1
        return gone

    async def thin(self) -> int:
        """Delete nothing: intervals are the deriving's, which keeps its own in memory."""
        return 0


class MemoryMeterStore:
    """Satisfies `MeterStore`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def save_meter(self, no: int, info: MeterInfo, *, removed_ms: int | None) -> None:
        """Write a meter's label and flags, and its channels' roles and ratings."""
        tables = self._tables
        tables.meters[no] = info
        tables.removed_ms[no] = removed_ms
        for key, (meter_no, channel) in tables.channels.items():
            if meter_no == no and channel.name in info.channels:
                tables.channels[key] = (no, info.channels[channel.name])

    async def stored_alert(self, alert_id: str) -> Alert | None:
        """Read an alert that the book may no longer hold."""
        return self._tables.alerts.get(alert_id)
