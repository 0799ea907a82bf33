"""The keeper under random windows, acks, disconnects, full spools, failing writes, power cuts."""

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import ring
import spool
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.support.keeping import (
    Cuts,
    Gateway,
    Home,
    PowerCutError,
    in_ram,
    on_flash,
    power,
    untold,
)

# A ring of five minutes of 10 s windows, a spool of some thirty minutes.
DT_MS = 10_000
RING = 30
SEGMENT = 400
BLOCK = 100
QUOTA = 1600


class Meter(RuleBasedStateMachine):
    """Every (boot, seq) is acked, held, told as dropped, or went with a power cut."""

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[Any] = [
            mock.patch.object(ring, "_CAPACITY", (RING,) * 6),
            mock.patch.object(spool, "SEGMENT_BYTES", SEGMENT),
            mock.patch.object(spool, "BLOCK_BYTES", BLOCK),
        ]
        for patch in self.patches:
            patch.start()
        self.root = Path(tempfile.mkdtemp(prefix="keeper-"))
        self.cuts = Cuts()
        self.power = power(self.cuts)
        self.power.__enter__()
        self.home = Home(self.root, 1, DT_MS)
        self.gateway = Gateway()
        self.made: dict[int, int] = {}  # boot -> windows made
        self.told: dict[int, int] = {}  # boot -> upto the meter was ever told
        self.known: dict[int, int] = {}  # the same since its start
        self.cut: dict[int, set[int]] = {}  # windows that went with a power cut
        self.reported: set[tuple[int, int]] = set()
        self.connected = False
        self.on_the_way: list[bytes] = []

    @initialize(quota=st.sampled_from([300, 500, 800, QUOTA]))
    def start(self, quota: int) -> None:
        self.home.quota = quota
        self.made[self.home.boot()] = 0

    def teardown(self) -> None:
        try:
            if self.made:
                self.cuts.fail = lambda _step: False
                self._settle()
        finally:
            self.power.__exit__(None, None, None)
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.root)

    # -- what happens ------------------------------------------------------------------------

    @rule(count=st.integers(1, 40), power_w=st.floats(-9000, 9000))
    def windows(self, count: int, power_w: float) -> None:
        self._windows(count, power_w)

    def _windows(self, count: int, power_w: float) -> None:
        home = self.home
        for _ in range(count):
            self.made[home.keeper.boot] += 1
            home.window(power_w)
            if home.up_ms % 60_000 == 0:
                home.registers.save()
                home.keeper.minute(home.up_ms, 1_700_000_000_000)

    @rule()
    def connect(self) -> None:
        self.connected = True
        self.home.keeper.connected()
        self._state()

    @rule()
    def disconnect(self) -> None:
        self.connected = False

    @precondition(lambda self: self.connected)
    @rule(count=st.integers(1, 12), fate=st.sampled_from(["arrives", "lost", "late"]))
    def pump(self, count: int, fate: str) -> None:
        for _ in range(count):
            text = self._take()
            if text is None:
                return
            if fate == "arrives":
                self.gateway.readings(text)
            elif fate == "late":
                self.on_the_way.append(text)

    def _take(self) -> bytes | None:
        taken = self.home.keeper.take(self.home.up_ms, 1_700_000_000_000)
        if taken is None:
            return None
        for reading in json.loads(bytes(taken[0])):
            if reading["boot"] == self.home.keeper.boot and "spool" in reading.get("flags", ()):
                assert reading["seq"] < in_ram(self.home.keeper).start, "record and windows"
            assert reading["seq"] > self.known.get(reading["boot"], -1), "sent a covered one"
        return bytes(taken[0])

    @rule()
    def late_ones_arrive(self) -> None:
        for text in self.on_the_way:
            self.gateway.readings(text)
        self.on_the_way.clear()

    @precondition(lambda self: self.connected)
    @rule()
    def ack(self) -> None:
        self._ack()

    def _ack(self) -> None:
        ack = self.gateway.ack()
        self.home.keeper.covered(ack)
        for boot in self.gateway.done:
            self.told[boot] = max(self.told.get(boot, -1), self.gateway.upto(boot))
            self.known[boot] = self.told[boot]

    @precondition(lambda self: self.connected)
    @rule(arrives=st.booleans())
    def report(self, *, arrives: bool) -> None:
        self._report(arrives=arrives)

    def _report(self, *, arrives: bool) -> None:
        for boot, first, last in self.home.keeper.dropped():
            if arrives:
                self.gateway.dropped(boot, first, last)
            self.reported.update((boot, seq) for seq in range(first, last + 1))
        self.home.keeper.reported(arrives)

    def _state(self) -> None:
        self.gateway.state(self.home.keeper.boot, self.home.keeper.have())

    @precondition(lambda self: self.connected)
    @rule()
    def state(self) -> None:
        self._state()

    @rule(step=st.integers(1, 8), part=st.floats(0, 1), count=st.integers(1, 60))
    def power_cut(self, step: int, part: float, count: int) -> None:
        before = self.home.registers.mwh_in[0]
        self.cuts.at, self.cuts.part = self.cuts.steps + step, part
        with suppress(PowerCutError):
            self._windows(count, 700.0)
        self._start_again()
        # 700 W over at most a minute, what was in the ring's last window, and the old rest.
        after = self.home.registers.mwh_in[0]
        assert after >= before - 9000 * 1000 // 60 - 1000

    @rule()
    def ordered_reboot(self) -> None:
        self.home.keeper.flush(1_700_000_000_000)
        self.home.registers.save()
        before = self.home.registers.mwh_in[0]
        self._start_again(cut=self.home.keeper.failed_writes > 0)
        assert self.home.registers.mwh_in[0] == before

    def _start_again(self, *, cut: bool = True) -> None:
        """Note what went with the power: what no ack covers and no record holds."""
        self.cuts.at = None
        boot, made = self.home.keeper.boot, self.made[self.home.keeper.boot]
        on_flash_now = self._on_flash().get(boot, set())
        lowest = min(on_flash_now, default=made)
        gone = {
            seq
            for seq in range(self.told.get(boot, -1) + 1, made)
            if seq not in on_flash_now and (boot, seq) not in self.reported and seq >= lowest
        }
        tail = {seq for seq in gone if seq > max(on_flash_now, default=self.told.get(boot, -1))}
        if not cut:
            tail = set()
        assert gone - tail <= untold(self.home.keeper, boot), "a hole that nobody was told of"
        # Two minutes at most, unless the flash has refused.
        assert len(tail) <= 13 or self.home.keeper.failed_writes
        self.cut.setdefault(boot, set()).update(
            seq for seq in range(made) if seq not in on_flash_now
        )
        self.connected = False
        self.known.clear()
        self.made[self.home.boot()] = 0

    @rule(
        often=st.integers(2, 9),
        count=st.integers(1, 60),
        error=st.sampled_from([OSError(5, "input/output error"), MemoryError()]),
    )
    def bad_flash(self, often: int, count: int, error: Exception) -> None:
        self.cuts.error = error
        self.cuts.fail = lambda step: step % often == 0
        self._windows(count, 100.0)
        self.cuts.fail = lambda _step: False

    # -- what holds --------------------------------------------------------------------------

    def _on_flash(self) -> dict[int, set[int]]:
        held: dict[int, set[int]] = {}
        for boot, first, last in on_flash(self.root):
            windows = set(range(first, last + 1))
            assert not held.setdefault(boot, set()) & windows, "records overlap"
            held[boot] |= windows
        return held

    @invariant()
    def nothing_is_lost_in_silence(self) -> None:
        if not self.made:
            return
        keeper = self.home.keeper
        flash = self._on_flash()
        have = {entry["boot"]: entry["from"] for entry in keeper.have()}
        assert len(have) <= 64
        for boot, made in self.made.items():
            held = set(flash.get(boot, set()))
            if boot == keeper.boot:
                held.update(in_ram(keeper))
            dropped = untold(keeper, boot)
            told = self.told.get(boot, -1)
            lost = self.cut.get(boot, set())
            for seq in range(told + 1, made):
                accounted = (
                    seq in held
                    or seq in dropped
                    or seq in lost
                    or (boot, seq) in self.reported
                    or seq < have.get(boot, made)
                )
                assert accounted, f"boot {boot}, window {seq} vanished"
            # `have`: what is below `from`, or of a boot not listed, is no longer held.
            uncovered = {seq for seq in held if seq > told}
            assert min(uncovered, default=made) >= have.get(boot, made)

    def _settle(self) -> None:
        """With a network that works, everything ends at the gateway, and the meter is free."""
        self.connected = True
        self.home.keeper.connected()
        self.late_ones_arrive()
        for _ in range(400):
            self._state()
            self._report(arrives=True)
            text = self._take()
            if text is not None:
                self.gateway.readings(text)
            else:
                self.home.up_ms += 1000
                if not self.home.keeper.backlog() and not self.home.keeper.dropped():
                    break
            self._ack()
        assert self.home.keeper.backlog() == 0
        assert self.home.keeper.dropped() == []
        self._state()
        for boot in self.gateway.done:
            highest = max((high for _, high in self.gateway.rows.get(boot, {})), default=-1)
            assert self.gateway.upto(boot) >= highest


Meter.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestMeter = Meter.TestCase
