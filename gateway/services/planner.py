"""Decide what each message means for the ledger, and collect what one commit must write.

Pure but for the ledger it changes: rules X, G, R, T, M and P of the wire contract, section 4.
"""

from dataclasses import dataclass

import msgspec

from gateway.domain.meters import ChannelInfo, MeterInfo, usual_role
from gateway.domain.readings import Mark, Reading
from gateway.pipeline import registers
from gateway.pipeline.decode import Decoded, Rejected
from gateway.pipeline.preprocess import breaks_physics
from gateway.pipeline.registers import Registers
from gateway.services.batches import (
    Ack,
    Batch,
    BootRow,
    DeadLetter,
    GapCut,
    GapRow,
    Replaced,
    RunRow,
)
from gateway.services.ledger import Boot, Ledger, Meter, Run, receive, span
from gateway.services.placer import Now, Placer

# Bounds on what unknown senders can make us remember; far above any real site.
MAX_METERS = 2000
MAX_CHANNELS = 32
# Registers may count a little before the first window of a boot ends.
BOOT_SLACK_MS = 60_000
FOREVER_MS = 2**53

_encode = msgspec.msgpack.Encoder().encode
_values = msgspec.structs.astuple


@dataclass(frozen=True, slots=True)
class PlanRules:
    """The settings that planning depends on."""

    auto_register: bool
    nominal_voltage_v: float


def pack(reading: Reading) -> bytes:
    """Pack what a row keeps of a reading's measurements."""
    channels = reading.ch
    return _encode(
        (
            reading.v,
            reading.f,
            list(channels),
            [_values(channel) for channel in channels.values()],
            reading.flags,
            reading.aux,
        )
    )


class Planner:
    """Plans one batch after the other; `finish` hands a batch out and begins the next."""

    def __init__(self, ledger: Ledger, rules: PlanRules, now: Now) -> None:
        self._ledger = ledger
        self._rules = rules
        self._now = now
        self.refused: set[str] = set()  # unknown meters while auto_register is off
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch()
        self._runs: dict[tuple[int, int], tuple[Boot, Run]] = {}
        self._boots: dict[int, tuple[Meter, Boot]] = {}
        self._answered: dict[str, set[int]] = {}
        self._placer = Placer(self._now, self._boots)

    # -- readings -----------------------------------------------------------------------------

    def message(self, topic: str, meter_id: str, decoded: Decoded, received_ms: int) -> None:
        """Plan one decoded `readings` message."""
        meter = self._ledger.meters.get(meter_id)
        if meter is None or meter.removed:
            meter = self._admit(topic, meter_id, decoded, received_ms)
        for reading in decoded.readings if meter is not None else ():
            self._reading(topic, meter, reading, received_ms)  # type: ignore[arg-type]
        for rejected in decoded.rejected:
            self.dead_letter(topic, rejected, received_ms, len(rejected.payload))
            if meter is not None and rejected.boot is not None and rejected.seq is not None:
                self._finalise_bad(meter, rejected, received_ms)
        if meter is not None:
            self._answered.setdefault(meter_id, set()).update(r.boot for r in decoded.readings)

    def dead_letter(self, topic: str, rejected: Rejected, received_ms: int, size: int) -> None:
        """Keep a message that cannot be stored."""
        self._batch.dead.append(DeadLetter(received_ms, topic[:200], rejected, size))

    def _admit(self, topic: str, meter_id: str, decoded: Decoded, received_ms: int) -> Meter | None:
        """Register a meter with its first good reading (rule M)."""
        known = self._ledger.meters.get(meter_id)
        if not decoded.readings:
            return None
        if known is not None or not self._rules.auto_register:
            self.refused.add(meter_id)
            return None
        if len(self._ledger.meters) >= MAX_METERS:
            rejected = Rejected("too_many_meters", f"{MAX_METERS} meters are registered", b"")
            self.dead_letter(topic, rejected, received_ms, 0)
            return None
        return self.register(MeterInfo(meter_id, registered_ms=received_ms))

    def register(self, info: MeterInfo) -> Meter:
        """Enter a meter."""
        meter = self._ledger.new_meter(info)
        self._batch.meters.append((meter.no, info))
        return meter

    def _reading(self, topic: str, meter: Meter, reading: Reading, received_ms: int) -> None:
        boot = meter.boots.get(reading.boot)
        if boot is None:
            boot = self._ledger.new_boot(meter, reading.boot, None, received_ms)
            self._boots[boot.no] = (meter, boot)
        first, last = span(reading)
        if reading.n == 1 and reading.seq in boot.received:
            self._batch.duplicates += 1
            return
        wrong = self._poison(meter, boot, reading, first, received_ms)
        if wrong is not None:
            self.dead_letter(topic, wrong, received_ms, len(wrong.payload))
            if wrong.seq is not None:
                self._finalise_bad(meter, wrong, received_ms)
            return
        if boot.received.overlaps(first, last) and not self._replaces(meter, boot, first, last):
            self._batch.duplicates += 1
            return
        self._store(meter, boot, reading, received_ms)

    def _replaces(self, meter: Meter, boot: Boot, first: int, last: int) -> bool:
        """Let a spool record replace what is stored in its span; a repeated window is old news."""
        if first == last:
            return False
        repeated = boot.received.covers(first, last)
        self._batch.replaced.append(
            Replaced(boot.no, meter.no, first, last, self._ledger.next_row, repeated)
        )
        return True

    def _poison(
        self, meter: Meter, boot: Boot, reading: Reading, first: int, received_ms: int
    ) -> Rejected | None:
        """Return what makes a well-formed reading impossible, None when it is fine."""
        if boot.jumps(reading.seq):
            detail = f"seq {reading.seq} is over 10^6 beyond {boot.received.highest}"
            return Rejected("seq_jump", detail, _json(reading))
        if (
            len(meter.info.channels) + len(reading.ch) > MAX_CHANNELS
            and len(meter.info.channels.keys() | reading.ch.keys()) > MAX_CHANNELS
        ):
            return Rejected("too_many_channels", f"over {MAX_CHANNELS}", _json(reading))
        before, elapsed_ms = self._predecessor(meter, boot, reading, first, received_ms)
        wrong = registers.impossible_rise(
            before, reading.ch, meter.info.channels, elapsed_ms, self._rules.nominal_voltage_v
        )
        if wrong:
            return Rejected(
                "register_jump", wrong, _json(reading), reading.boot, reading.seq, reading.n
            )
        return None

    def _predecessor(
        self, meter: Meter, boot: Boot, reading: Reading, first: int, received_ms: int
    ) -> tuple[Registers, int]:
        """Return the registers before a reading, and the ms in which they may have risen."""
        run = boot.predecessor(first)
        if run is not None:
            return run.regs, max(reading.up - run.last_up_ms, reading.dt)
        last = meter.last_run_before(boot)
        if last is None:
            return {}, 0
        # Between boots `up` tells nothing: what an earlier boot counted may have been lost.
        now_ms = reading.t if meter.info.recorded and reading.t is not None else received_ms
        since_ms = now_ms - last.last_at_ms if last.last_at_ms is not None else FOREVER_MS
        return last.regs, max(since_ms, reading.up, reading.dt) + BOOT_SLACK_MS

    def _store(self, meter: Meter, boot: Boot, reading: Reading, received_ms: int) -> None:
        first, last = span(reading)
        self._learn_channels(meter, reading)
        run = boot.predecessor(first)
        before = _registers(meter, boot) if run is None else run.regs
        marks = Mark.REGISTER_FELL if registers.fell(before, reading.ch) else 0
        if breaks_physics(reading.v, reading.ch):
            marks |= Mark.PHYSICS
        at_ms, placed = self._placer.place(meter, boot, reading, received_ms)
        row = self._ledger.next_row
        self._ledger.next_row += 1
        self._batch.rows.append(
            (row, boot.no, reading.seq, reading.n, reading.up, reading.t, at_ms, received_ms,
             reading.dt, marks | placed, pack(reading))
        )  # fmt: skip
        start_ms = None if at_ms is None else at_ms - reading.dt
        if boot.provisional or boot.final.overlaps(first, last):
            self._batch.gaps.append(GapCut(boot.no, first, last))
            _shrink(boot.provisional, first, last)
        change = receive(
            boot, first, last,
            Run(first, last, start_ms, at_ms, reading.up, registers.carry(before, reading.ch)),
        )  # fmt: skip
        for gone in change.deleted:
            self._runs.pop((boot.no, gone), None)
            self._batch.deleted_runs.append((boot.no, gone))
        self._runs[boot.no, change.written.first] = (boot, change.written)

    def _learn_channels(self, meter: Meter, reading: Reading) -> None:
        known = meter.channel_nos
        for name in reading.ch:
            if name in known:
                continue
            info = meter.info.channels.setdefault(name, ChannelInfo(name, usual_role(name)))
            known[name] = self._ledger.next_channel_no
            self._ledger.next_channel_no += 1
            self._batch.channels.append((known[name], meter.no, info))

    # -- state --------------------------------------------------------------------------------

    def heard_state(
        self, meter: Meter, boot_number: int, bootn: int | None, up_ms: int, *, live_ms: int | None
    ) -> Boot:
        """Enter what a `state` message tells of a boot; `live_ms` None = retained or untrusted."""
        boot = meter.boots.get(boot_number)
        if boot is None:
            boot = self._ledger.new_boot(meter, boot_number, bootn, live_ms or 0)
            self._boots[boot.no] = (meter, boot)
        if bootn is not None and boot.bootn != bootn:
            boot.bootn = bootn
            meter.newest = meter.ordered()[-1]
            self._boots[boot.no] = (meter, boot)
        if live_ms is not None:
            before = boot.clock.anchor_ms
            boot.clock.heard_state(up_ms, live_ms)
            self._placer.anchor_changed(meter, boot, before, boot.clock.state_anchor_ms)
        return boot

    # -- gaps ---------------------------------------------------------------------------------

    def _finalise_bad(self, meter: Meter, rejected: Rejected, received_ms: int) -> None:
        boot = meter.boots.get(rejected.boot) if rejected.boot is not None else None
        seq = rejected.seq
        if boot is None or seq is None or boot.jumps(seq):
            return
        self.finalise(meter, boot, seq - rejected.n + 1, seq, "rejected", received_ms)

    def finalise(  # noqa: PLR0913, PLR0917 - where, what, why and when
        self, meter: Meter, boot: Boot, first: int, last: int, reason: str, at_ms: int
    ) -> None:
        """Make what is missing of windows first … last a final gap; acks may pass it."""
        for low, high in boot.done.holes(first, last):
            boot.final.add(low, high)
            boot.done.add(low, high)
            self._batch.gaps.append(GapCut(boot.no, low, high))
            self._batch.gaps.append(GapRow(boot.no, low, high, "final", reason, at_ms))
            _shrink(boot.provisional, low, high)
        self.answer(meter, boot)

    def suspect(self, boot: Boot, first: int, last: int, at_ms: int) -> None:
        """Show a hole as a provisional gap (rule G)."""
        boot.provisional[first] = last
        self._batch.gaps.append(GapCut(boot.no, first, last))
        self._batch.gaps.append(GapRow(boot.no, first, last, "provisional", "missing", at_ms))

    # -- out ----------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Return the ledger that planning changes."""
        return self._ledger

    def trusts_clock(self) -> bool:
        """Tell whether the gateway's clock may be believed."""
        return self._now.trusted()

    def owes_answers(self) -> bool:
        """Tell whether a meter is to be told something."""
        return bool(self._answered)

    @property
    def batch(self) -> Batch:
        """Return the batch being planned, for what needs no planning."""
        return self._batch

    def answer(self, meter: Meter, boot: Boot) -> None:
        """Have the meter told, after this commit, how far a boot is safe."""
        self._answered.setdefault(meter.info.id, set()).add(boot.boot)

    def finish(self) -> Batch:
        """Return the batch as plain rows that later planning cannot change, and begin anew."""
        batch = self._batch
        batch.boots = {no: _boot_row(meter, boot) for no, (meter, boot) in self._boots.items()}
        batch.runs = [
            RunRow(
                boot.no,
                run.first,
                run.last,
                run.first_at_ms,
                run.last_at_ms,
                run.last_up_ms,
                run.regs,
            )
            for boot, run in self._runs.values()
        ]
        batch.moved = list(self._placer.moved.values())
        for meter_id, boots in self._answered.items():
            meter = self._ledger.meters[meter_id]
            if (ack := _ack(meter, boots)) is not None:
                batch.acks.append(ack)
        self._begin()
        return batch


def _ack(meter: Meter, answered: set[int]) -> Ack | None:
    newest = meter.newest
    if newest is None:
        return None
    more = tuple(
        (number, meter.boots[number].upto)
        for number in sorted(answered)
        if number != newest.boot and number in meter.boots
    )
    return Ack(meter.info.id, newest.boot, newest.upto, more, meter.registers())


def _registers(meter: Meter, boot: Boot) -> Registers:
    """Return the registers at the end of the boots before this one."""
    last = meter.last_run_before(boot)
    return {} if last is None else last.regs


def _boot_row(meter: Meter, boot: Boot) -> BootRow:
    clock = boot.clock
    return BootRow(
        boot.no, meter.no, boot.boot, boot.bootn, boot.first_received_ms,
        clock.state_anchor_ms, clock.reading_anchor_ms, clock.offset_ms,
    )  # fmt: skip


def _shrink(provisional: dict[int, int], first: int, last: int) -> None:
    """Take windows first … last out of the provisional gaps."""
    for low, high in list(provisional.items()):
        if low > last or high < first:
            continue
        del provisional[low]
        if low < first:
            provisional[low] = first - 1
        if high > last:
            provisional[last + 1] = high


def _json(reading: Reading) -> bytes:
    return msgspec.json.encode(reading)[:4096]
