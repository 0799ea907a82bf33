"""Take messages in, commit them in groups, and only then acknowledge them (rule D)."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from gateway.domain.errors import StorageError, TransientError
from gateway.pipeline.decode import Rejected, decode
from gateway.services.batches import Batch
from gateway.services.fair_queue import (
    CROWD_BYTES,
    CROWD_MESSAGES,
    MAX_BATCH_MESSAGES,
    BabbleBook,
    FairQueue,
    Message,
    read_on,
)
from gateway.services.gapkeeper import sweep_gaps
from gateway.services.intake_ports import Connect, IntakeStore, Link
from gateway.services.ledger import Ledger
from gateway.services.messages import StateKeeper, take_event
from gateway.services.placer import Now
from gateway.services.planner import Planner, PlanRules

log = structlog.get_logger()

BUSY_LINGER_S = 0.012
QUIET_LINGER_S = 1.5
BUSY_RATE_PER_S = 200.0
BUSY_STEPS = 3
FLOOD_RATE_PER_S = 2000.0  # from here on company comes by itself while the last commit is written
BUSY_COUNT = 300  # so many waiting messages end a quiet linger
# With so many waiting and no more coming it ends too: below the 20 that brokers usually let be
# in flight, or a backlog would begin with a long wait.
HURRY_COUNT = 16
# A meter that sends right after its ack, three times running, waits for each one.
ACK_CLOCKED_S = 0.050
ACK_CLOCKED_TIMES = 3
STALL_S = 0.100  # nothing new for so long, with HURRY_COUNT waiting: a full in-flight window
PAUSE_BYTES = 16_000_000  # waiting bytes that stop reading from the socket
SWEEP_S = 5.0
COMMITS_UNDER_WAY = 2


@dataclass(slots=True)
class Counters:
    """What the intake has done since the start."""

    messages: int = 0
    readings: int = 0
    duplicates: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    # Messages dropped by the fairness rule (decision 24), by meter; "" for all unknown ones.
    crowded_out: dict[str, int] = field(default_factory=dict)


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Hooks:
    """Whom the intake tells, always from the event loop."""

    committed: Callable[[Batch], None]
    heard: Callable[[str], None]  # a meter gave a sign of life
    event: Callable[[str, dict[str, object], int], None]  # meter, event, received_ms
    refused: Callable[[set[str]], None]  # unknown meters while auto_register is off
    # meter, "state", "result" or "bundle", payload: not parsed yet
    told: Callable[[str, str, bytes], None] = _nobody
    linked: Callable[[], None] = _nobody  # the broker is there (again)


class _Pending(NamedTuple):
    batch: Batch
    tokens: list[int]
    done: Future[None]


class Intake:
    """The service; one per gateway."""

    def __init__(
        self, store: IntakeStore, connect: Connect, rules: PlanRules, now: Now, hooks: Hooks
    ) -> None:
        self._store = store
        self._connect = connect
        self._rules = rules
        self._now = now
        self._hooks = hooks
        self.counters = Counters()
        self.ledger = Ledger()
        self.planner = Planner(self.ledger, rules, now)
        self.connected = False
        self.loaded = asyncio.Event()
        self._states = StateKeeper()
        self._babble = BabbleBook(self.counters.crowded_out)
        self._reset()

    def _reset(self) -> None:
        self._waiting = FairQueue()
        self._waiting.sort_at_bytes = min(CROWD_BYTES, PAUSE_BYTES)
        self._paused = False
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._commits: asyncio.Queue[_Pending] = asyncio.Queue(COMMITS_UNDER_WAY)
        self._acked_s: dict[str, float] = {}
        self._streaks: dict[str, int] = {}
        self._rate = 0.0
        self._rate_since_s = time.monotonic()
        self._rate_count = 0
        self._link: Link | None = None
        self._uncommitted = 0  # messages handed to the writer

    async def load(self) -> None:
        """Read the ledger; must be called before anything is planned."""
        since = {boot.no: boot.hole_since_s for boot in self.ledger.boots()}
        self.ledger = await self._store.load_ledger()
        for boot in self.ledger.boots():  # a hole is as old as it is, whatever the link does
            boot.hole_since_s = since.get(boot.no, {})
        self.planner = Planner(self.ledger, self._rules, self._now)
        self._states.planner = self.planner
        self.loaded.set()

    async def run(self) -> None:
        """Connect, take in and commit until cancelled or the connection is lost.

        Raises TransientError when the broker or the disk failed; what was not acknowledged
        comes again, so the ledger is read anew and nothing is lost.
        """
        await self._settle()
        self._reset()
        await self.load()
        # Those we know may stand behind one that filled the broker's queue meanwhile.
        self._waiting.heard_s = dict.fromkeys(self.ledger.meters, time.monotonic())
        async with self._connect(self.deliver) as link:
            self._link = link
            self.connected = True
            self._hooks.linked()
            parts = (
                self._plan_forever(),
                self._finish_forever(),
                self._sweep_forever(),
                link.closed(),
            )
            tasks = [asyncio.ensure_future(part) for part in parts]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except StorageError as error:
                msg = f"readings could not be stored, none was acknowledged: {error}"
                raise TransientError(msg) from error
            finally:
                self.connected = False
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Stop reading, commit and acknowledge what has come; for an ordered shutdown."""
        if self._link is None or not self.connected:
            return
        self._link.pause()
        self._paused = True
        self._hurry.set()
        self._arrived.set()
        while self._waiting or not self._commits.empty():
            self._hurry.set()
            await asyncio.sleep(0.01)
        await self._commits.join()

    async def _settle(self) -> None:
        """Wait for commits of an earlier connection, whatever became of them."""
        while not self._commits.empty():
            pending = self._commits.get_nowait()
            await asyncio.wait([asyncio.wrap_future(pending.done)])

    def publish_live(self, topic: str, payload: str) -> None:
        """Publish a value for other tools; dropped while the broker is gone."""
        if self._link is not None and self.connected:
            self._link.publish_live(topic, payload)

    def send(self, meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish to a meter; return False, and do nothing, while the broker is gone."""
        if self._link is None or not self.connected:
            return False
        self._link.send(f"ww/v1/{meter}/{tail}", payload, retain=retain)
        return True

    @property
    def backlog(self) -> int:
        """Return how many messages have come and are not committed."""
        return len(self._waiting) + self._uncommitted

    # -- in -----------------------------------------------------------------------------------

    def deliver(self, topic: str, payload: bytes, token: int, retained: bool) -> None:  # noqa: FBT001 - a callback's shape
        """Take one message from the broker; called for each, so it does next to nothing."""
        waiting = self._waiting
        fresh = waiting.fresh
        fresh.append(Message(topic, payload, token, retained, self._now.wall_ms()))
        waiting.size_bytes += len(payload)
        self._rate_count += 1
        count = len(fresh)
        if count == 1:
            self._arrived.set()
        elif count == BUSY_COUNT:
            self._hurry.set()
        if topic in self._acked_s and self._is_ack_clocked(topic):
            self._hurry.set()
        elif topic.endswith(("/result", "/get")):
            self._hurry.set()  # somebody waits for it
        if count >= CROWD_MESSAGES or waiting.size_bytes > waiting.sort_at_bytes:
            self._sort()

    def _sort(self) -> None:
        """Be fair to the meters of a crowd; stop reading where that is not enough."""
        now_s = time.monotonic()
        dropped = self._waiting.sort(now_s)
        if self._link is None:
            return
        if dropped:
            self._link.acknowledge([message.token for message in dropped])
            self._babble.tell(dropped, self.ledger.meters, now_s)
        if self._waiting.size_bytes > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._link.pause()

    def hurry(self) -> None:
        """Commit what waits without waiting for company: whoever sent it has no more."""
        self._hurry.set()

    def _is_ack_clocked(self, topic: str) -> bool:
        clocked = time.monotonic() - self._acked_s.pop(topic) < ACK_CLOCKED_S
        streak = self._streaks.get(topic, 0) + 1 if clocked else 0
        self._streaks[topic] = streak
        return streak >= ACK_CLOCKED_TIMES

    async def _plan_forever(self) -> None:
        while True:
            await self._arrived.wait()
            await self._linger()
            self._arrived.clear()
            if not self._waiting:
                continue
            tokens = self._plan(self._take())
            await self._submit(tokens)
            if self._waiting:
                self._arrived.set()
                self._hurry.set()

    async def _linger(self) -> None:
        """Wait for company: a commit costs the card the same for one reading as for many."""
        self._measure_rate()
        if self._waiting.dropped:
            await read_on(self._waiting)
        is_quiet = self._rate < BUSY_RATE_PER_S and not self._hurry.is_set()
        if is_quiet and not await self._is_hurried():
            return
        self._hurry.clear()
        steps = BUSY_STEPS - 1 if self._rate > FLOOD_RATE_PER_S else BUSY_STEPS
        for _ in range(steps):
            count = len(self._waiting)
            if count >= MAX_BATCH_MESSAGES:
                return
            await asyncio.sleep(BUSY_LINGER_S / BUSY_STEPS)
            if count >= HURRY_COUNT and len(self._waiting) == count:
                return  # a broker that waits for our acknowledgements sends no more

    async def _is_hurried(self) -> bool:
        """Wait up to the quiet linger; tell whether something ended it before."""
        until_s = time.monotonic() + QUIET_LINGER_S
        while (left_s := until_s - time.monotonic()) > 0:
            count = len(self._waiting)
            try:
                async with asyncio.timeout(min(STALL_S, left_s)):
                    await self._hurry.wait()
            except TimeoutError:
                if HURRY_COUNT <= count == len(self._waiting):
                    return False
            else:
                return True
        return False

    def _measure_rate(self) -> None:
        now_s = time.monotonic()
        elapsed_s = now_s - self._rate_since_s
        if elapsed_s >= 1.0:
            self._rate = self._rate_count / elapsed_s
            self._rate_count, self._rate_since_s = 0, now_s

    def _take(self) -> list[Message]:
        if self._waiting.is_crowd():
            self._sort()
        taken = self._waiting.take(time.monotonic())
        if self._paused and self._waiting.size_bytes < PAUSE_BYTES // 2 and self._link is not None:
            self._paused = False
            self._link.resume()
        return taken

    def _plan(self, messages: list[Message]) -> list[int]:
        planner = self.planner
        hold = planner.batch
        for topic, payload, _, retained, received_ms in messages:
            parts = topic.split("/")
            meter_id, kind = parts[2], parts[3]
            if not self._states.is_meter_id(meter_id):
                rejected = Rejected(
                    "invalid_meter", f"{meter_id!r:.80} is no meter id", payload[:4096]
                )
                planner.dead_letter(topic, rejected, received_ms, len(payload))
                continue
            if kind == "readings":
                decoded = decode(payload)
                before = meter_id in self.ledger.meters
                planner.message(topic, meter_id, decoded, received_ms)
                self.counters.readings += len(decoded.readings)
                if not before:
                    self._states.admit(meter_id)
            elif kind == "state":
                self._states.take(topic, meter_id, payload, received_ms, retained=retained)
                self._hooks.told(meter_id, kind, payload)
            elif kind in ("result", "bundle"):
                self._hooks.told(meter_id, kind, payload)
            else:
                event = take_event(planner, topic, meter_id, payload, received_ms)
                if event is not None:
                    self._hooks.event(meter_id, event, received_ms)
            if not retained and meter_id in self.ledger.meters:
                self._hooks.heard(meter_id)
        self.counters.messages += len(messages)
        for dead in hold.dead:
            reason = dead.rejected.reason
            counts = self.counters.dead_letters
            counts[reason] = counts.get(reason, 0) + 1
        return [message.token for message in messages]

    async def _submit(self, tokens: list[int]) -> Future[None]:
        """Hand the planned batch to the writer; two may be under way."""
        batch = self.planner.finish()
        self.counters.duplicates += batch.duplicates
        done = self._store.submit(batch)
        self._uncommitted += len(tokens)
        await self._commits.put(_Pending(batch, tokens, done))
        if self.planner.refused:
            self._hooks.refused(self.planner.refused)
            self.planner.refused = set()
        return done

    async def flush(self) -> None:
        """Commit what was planned outside of messages: operators' changes, gaps.

        Raises StorageError when that failed; the ledger is then read anew.
        """
        done = await self._submit([])
        if not self.connected:  # nobody else waits for it
            self._commits.get_nowait()
            self._commits.task_done()
        await asyncio.shield(asyncio.wrap_future(done))

    async def _finish_forever(self) -> None:
        while True:
            pending = await self._commits.get()
            try:
                await asyncio.shield(asyncio.wrap_future(pending.done))
            finally:
                self._uncommitted -= len(pending.tokens)
                self._commits.task_done()
            self._answer(pending)

    def _answer(self, pending: _Pending) -> None:
        if self._link is None:
            return
        self.counters.commits += 1
        self._link.acknowledge(pending.tokens)
        now_ms = self._now.wall_ms() if self._now.trusted() else None
        now_s = time.monotonic()
        for ack in pending.batch.acks:
            if self.ledger.is_removed(ack.meter):
                continue  # meanwhile; what is retained would stay with the broker for ever
            self._link.send_ack(ack, now_ms)
            self._acked_s[f"ww/v1/{ack.meter}/readings"] = now_s
            self._waiting.heard_s[ack.meter] = now_s
        self._hooks.committed(pending.batch)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            sweep_gaps(self.planner, self.ledger, self._now.mono_s(), self._now.wall_ms())
            if self.planner.owes_answers() or not self.planner.batch.is_empty():
                await self.flush()
