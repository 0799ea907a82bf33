"""The intake service: commit first, acknowledge then; what a broken disk or link does."""

import asyncio
import json
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Self

import pytest

from gateway.adapters.memory_store import MemoryIntakeStore, Tables
from gateway.domain.errors import BrokerLostError, StorageError, TransientError
from gateway.domain.meters import MeterInfo
from gateway.services import intake as intake_module
from gateway.services.batches import Ack, Batch
from gateway.services.intake import Hooks, Intake
from gateway.services.intake_ports import Deliver
from gateway.services.planner import PlanRules
from tests.gateway.services.site_rig import FakeNow, Json, window, windows


class SlowStore(MemoryIntakeStore):
    """A store whose commits end when the test says so."""

    def __init__(self) -> None:
        self.tables = Tables()
        super().__init__(self.tables)
        self.held: list[tuple[Batch, Future[None]]] = []
        self.hold = False
        self.refuse = False

    def submit(self, batch: Batch) -> "Future[None]":
        if self.refuse:
            msg = "the disk is slower than what is written to it"
            raise StorageError(msg)
        if not self.hold:
            return super().submit(batch)
        self.held.append((batch, Future()))
        return self.held[-1][1]

    def release(self) -> None:
        """End the oldest commit well."""
        batch, done = self.held.pop(0)
        super().submit(batch)
        done.set_result(None)

    def fail(self) -> None:
        """End the oldest commit with an error."""
        _, done = self.held.pop(0)
        done.set_exception(StorageError("commit failed: disk I/O error"))


class FakeLink:
    """A connected broker that notes what it is told; also the session around it."""

    def __init__(self) -> None:
        self.puback: list[int] = []
        self.acks: list[tuple[Ack, int | None]] = []
        self.sent: list[tuple[str, bytes, bool]] = []
        self.paused = 0
        self.resumed = 0
        self.lost = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def acknowledge(self, tokens: Iterable[int]) -> None:
        self.puback.extend(tokens)

    def send_ack(self, ack: Ack, now_ms: int | None) -> None:
        self.acks.append((ack, now_ms))

    def publish_live(self, topic: str, payload: str) -> None:
        del topic, payload  # no test of the intake looks at them

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.sent.append((topic, payload, retain))

    def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.resumed += 1

    async def closed(self) -> None:
        await self.lost.wait()
        msg = "gone"
        raise BrokerLostError(msg)


class Rig:
    """An intake between a slow store and a fake link."""

    def __init__(self, *, auto_register: bool = True) -> None:
        self.store = SlowStore()
        self.now = FakeNow()
        self.link = FakeLink()
        self.heard: list[str] = []
        self.committed: list[Batch] = []
        self.events: list[tuple[str, dict[str, object], int]] = []
        self.refused: set[str] = set()
        hooks = Hooks(
            self.committed.append,
            self.heard.append,
            lambda *event: self.events.append(event),
            self.refused.update,
        )
        rules = PlanRules(auto_register, 230.0)
        self.intake = Intake(self.store, self.connect, rules, self.now, hooks)
        self.tokens = 0

    def connect(self, deliver: Deliver) -> FakeLink:
        del deliver  # the test delivers by itself
        return self.link

    def send(self, what: Json | list[Json] | bytes, topic: str = "ww/v1/home/readings") -> int:
        """Deliver one message as the broker does; return its token."""
        self.tokens += 1
        payload = what if isinstance(what, bytes) else json.dumps(what).encode()
        self.intake.deliver(topic, payload, self.tokens, False)  # noqa: FBT003 - a callback
        return self.tokens


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(intake_module, "QUIET_LINGER_S", 0.03)
    monkeypatch.setattr(intake_module, "SWEEP_S", 0.05)
    return Rig()


async def moment() -> None:
    await asyncio.sleep(0.005)


async def until(true: Callable[[], object], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await moment()


async def started(rig: Rig) -> asyncio.Task[None]:
    task = asyncio.ensure_future(rig.intake.run())
    await until(lambda: rig.intake.connected or task.done())
    return task


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_rule_d_nothing_is_acknowledged_before_the_commit(rig: Rig) -> None:
    rig.store.hold = True
    task = await started(rig)
    tokens = [rig.send(window(seq)) for seq in range(3)]
    await until(lambda: rig.store.held)
    await asyncio.sleep(0.1)
    assert (rig.link.puback, rig.link.acks, rig.committed) == ([], [], [])
    rig.store.release()
    await until(lambda: rig.link.acks)
    assert rig.link.puback == tokens
    ((ack, now_ms),) = rig.link.acks
    assert (ack.upto, now_ms) == (2, rig.now.wall)
    assert len(rig.committed) == 1
    await stop(task)


async def test_rule_d_acks_leave_the_time_out_while_the_clock_is_untrusted(rig: Rig) -> None:
    rig.now.trust = False
    task = await started(rig)
    rig.send(window(0))
    await until(lambda: rig.link.acks)
    assert rig.link.acks[0][1] is None
    await stop(task)


async def test_a_meter_removed_meanwhile_gets_no_ack_that_would_stay_with_the_broker(
    rig: Rig,
) -> None:
    rig.store.hold = True
    task = await started(rig)
    token = rig.send(window(0))
    await until(lambda: rig.store.held)
    for meter in rig.intake.ledger.meters.values():
        meter.removed = True
    rig.store.release()
    await until(lambda: rig.committed)
    assert (rig.link.puback, rig.link.acks) == ([token], [])
    await stop(task)


async def test_rule_d_a_failed_commit_acknowledges_nothing_and_starts_anew(rig: Rig) -> None:
    rig.store.hold = True
    task = await started(rig)
    rig.send(window(0))
    await until(lambda: rig.store.held)
    rig.store.fail()
    with pytest.raises(TransientError, match="could not be stored"):
        await task
    assert (rig.link.puback, rig.link.acks) == ([], [])
    rig.store.hold = False
    task = await started(rig)
    assert rig.intake.ledger.meters == {}  # what was planned and not stored is forgotten
    rig.send(window(0))
    await until(lambda: rig.link.acks)
    await stop(task)


async def test_rule_d_a_store_that_takes_no_more_is_a_reason_to_try_again(rig: Rig) -> None:
    task = await started(rig)
    rig.store.refuse = True
    rig.send(window(0))
    with pytest.raises(TransientError):
        await asyncio.wait_for(task, 5)
    assert rig.link.puback == []


async def test_rule_d_a_failed_commit_of_a_sweep_is_a_reason_to_try_again(rig: Rig) -> None:
    task = await started(rig)
    rig.send([window(0), window(2)])
    await until(lambda: rig.link.acks)
    rig.store.hold = True
    await asyncio.sleep(0.1)
    rig.now.pass_s(601)
    await until(lambda: rig.store.held)
    rig.store.fail()
    with pytest.raises(TransientError):
        await asyncio.wait_for(task, 5)


async def test_a_lost_connection_during_a_commit_loses_and_repeats_nothing(rig: Rig) -> None:
    rig.store.hold = True
    task = await started(rig)
    rig.send(windows(0, 4))
    await until(lambda: rig.store.held)
    rig.link.lost.set()
    with pytest.raises(BrokerLostError):
        await task
    rig.link = FakeLink()
    again = asyncio.ensure_future(rig.intake.run())
    await asyncio.sleep(0.02)
    rig.store.release()
    rig.store.hold = False
    await until(lambda: rig.intake.connected)
    rig.send(windows(0, 5))  # the broker delivers it again
    await until(lambda: rig.link.acks)
    assert rig.link.acks[0][0].upto == 5
    seqs = sorted(record.seq for record in rig.store.tables.readings.values())
    assert seqs in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5])
    await stop(again)


async def test_rule_m_a_stranger_gets_the_puback_and_no_ack() -> None:
    rig = Rig(auto_register=False)
    task = await started(rig)
    token = rig.send(window(0), "ww/v1/kitchen/readings")
    await until(lambda: rig.link.puback)
    assert rig.link.puback == [token]
    assert rig.link.acks == []
    assert rig.refused == {"kitchen"}
    assert rig.heard == []  # nobody waits for a stranger's next word
    await stop(task)


async def test_rule_p_topics_without_a_meter_id_are_dead_letters(rig: Rig) -> None:
    task = await started(rig)
    tokens = [rig.send(window(0), f"ww/v1/{name}/readings") for name in ("X", "a", "-x", "a" * 33)]
    await until(lambda: len(rig.link.puback) == 4)
    assert rig.link.puback == tokens
    assert rig.store.tables.dead_counts == {"invalid_meter": 4}
    assert rig.intake.counters.dead_letters == {"invalid_meter": 4}
    await stop(task)


async def test_a_flood_stops_the_reading_from_the_socket(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "PAUSE_BYTES", 10_000)
    rig.store.hold = True
    task = await started(rig)
    for seq in range(200):
        rig.send(window(seq))
    assert rig.link.paused == 1
    await until(lambda: rig.store.held)
    rig.store.hold = False
    while rig.store.held:
        rig.store.release()
    await until(lambda: len(rig.link.puback) == 200)
    assert rig.link.resumed == 1
    assert rig.intake.backlog == 0
    await stop(task)


async def test_drain_commits_and_acknowledges_what_has_come(rig: Rig) -> None:
    task = await started(rig)
    for seq in range(50):
        rig.send(window(seq))
    await asyncio.wait_for(rig.intake.drain(), 5)
    assert rig.link.paused >= 1
    assert len(rig.link.puback) == 50
    assert rig.link.acks[-1][0].upto == 49
    await stop(task)
    await rig.intake.drain()  # nothing is connected: nothing to do


async def test_events_are_handed_on_and_dropped_ones_are_kept(rig: Rig) -> None:
    task = await started(rig)
    rig.send([window(0), window(3)])
    rig.send({"boot": 1, "seq": 1, "kind": "anomaly", "z": 7.0}, "ww/v1/home/events")
    dropped = {"boot": 1, "kind": "dropped", "from": 1, "to": 2}
    rig.send(dropped, "ww/v1/home/events")
    await until(lambda: rig.link.acks and rig.link.acks[-1][0].upto == 3)
    assert [(meter, event["kind"]) for meter, event, _ in rig.events] == [("home", "anomaly")]
    assert set(rig.heard) == {"home"}
    await stop(task)


async def test_counters_tell_what_was_done(rig: Rig) -> None:
    task = await started(rig)
    rig.send(windows(0, 9))
    rig.send(windows(5, 9))
    rig.send(b"nonsense")
    await until(lambda: len(rig.link.puback) == 3)
    counters = rig.intake.counters
    assert (counters.messages, counters.readings, counters.duplicates) == (3, 15, 5)
    assert counters.dead_letters == {"not_json": 1}
    assert counters.commits >= 1
    await stop(task)


async def test_changes_of_operators_are_committed_without_a_broker(rig: Rig) -> None:
    await rig.intake.load()
    rig.intake.planner.register(MeterInfo("kitchen"))
    await rig.intake.flush()
    assert [info.id for info in rig.store.tables.meters.values()] == ["kitchen"]
    rig.store.hold = True
    rig.intake.planner.register(MeterInfo("cellar"))
    flush = asyncio.ensure_future(rig.intake.flush())
    await asyncio.sleep(0.01)
    rig.store.fail()
    with pytest.raises(StorageError):
        await flush
