"""Feeds an imported table through the intake, as a meter's messages, and takes it out again."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

import msgspec
import structlog

from gateway.domain.errors import BadInputError, StorageError
from gateway.pipeline.import_table import Table
from gateway.pipeline.import_windows import ImportWindow, import_windows
from gateway.services.deriving import Deriver
from gateway.services.import_jobs import RUNNING, ImportJob
from gateway.services.intake import Intake

log = structlog.get_logger()
MESSAGE_READINGS = 100
GROUP_READINGS = 400  # sent before waiting for their commit
MOST_UNJUDGED = 5000  # rows; a table must not keep live readings waiting to be judged
LOOK_S = 0.005
AGAIN_S = 10.0  # as a meter does (contract, rule D)
LONGEST_PAUSE_S = 0.05
MEND_S = 0.5

_encode = msgspec.json.Encoder().encode
Progress = Callable[[int], None]


class ImportFeed:
    """What an import needs of the running gateway."""

    def __init__(self, intake: Intake, deriver: Deriver) -> None:
        self._intake = intake
        self._deriver = deriver

    def holds(self, meter: str, boot: int) -> bool:
        """Tell whether a meter has readings of this boot."""
        known = self._intake.ledger.meters.get(meter)
        return known is not None and boot in known.boots and bool(known.boots[boot].runs)

    async def feed(
        self, job: ImportJob, table: Table, progress: Progress, begun: Callable[[], Awaitable[None]]
    ) -> None:
        """Have every row stored; goes on where an earlier run of it was cut off.

        Ends early when the job leaves its state. Works as slowly as it takes for others to be
        served: no more than half of the time, and never far ahead of the judge.
        """
        choice = job.choice
        if choice is None:
            msg = "map: nothing was chosen"
            raise BadInputError(msg)
        windows = import_windows(table, choice.channel, job.boot)
        upto, done = self._upto(choice.meter, job.boot), 0
        while group := list(islice(windows, GROUP_READINGS if done else 1)):
            done += len(group)
            if group[-1].seq > upto and job.state == RUNNING:
                began_s = time.monotonic()
                await self._send(choice.meter, job.boot, group)
                if done == 1:  # its channels are known now, and nothing is judged yet
                    await begun()
                await asyncio.sleep(min(time.monotonic() - began_s, LONGEST_PAUSE_S))
            elif done % (10 * GROUP_READINGS) == 0:
                await asyncio.sleep(0)
            if job.state != RUNNING:
                return
            progress(done)
            await self._judged_upto(self.last_row() - MOST_UNJUDGED)

    async def judged(self, job: ImportJob) -> None:
        """Wait until all that was stored is judged, and its alerts are safe."""
        await self._judged_upto(job.last_row)
        await self._deriver.change_alerts(lambda _: [])  # after the commit under way

    async def _judged_upto(self, row: int) -> None:
        while True:
            if self._deriver.judged_row >= row:
                return
            await asyncio.sleep(LONGEST_PAUSE_S)

    def last_row(self) -> int:
        """Return the newest row of all."""
        return self._intake.ledger.next_row - 1

    async def take_out(
        self,
        job: ImportJob,
        step: Callable[[], Awaitable[bool]],
        finish: Callable[[], Awaitable[bool]],
    ) -> None:
        """Remove what an import brought from memory and, by `step` and `finish`, from the disk.

        `finish` tells whether the meter is gone with it.
        """
        self._forget(job)
        while True:
            if not await step():
                break
            await asyncio.sleep(LOOK_S)

        async def work() -> None:
            is_meter_gone = await finish()
            self._forget(job)  # the intake may have read the disk anew meanwhile
            if job.choice is not None:
                if is_meter_gone:
                    self._intake.ledger.meters.pop(job.choice.meter, None)
                self._deriver.latest.pop(job.choice.meter, None)

        await self._deriver.rewrite(work)
        self._deriver.notify()

    async def count_on(self, mend: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the sums that were soiled are computed again, and `mend` what follows them."""
        mended = False

        async def work() -> None:
            nonlocal mended
            mended = await mend()

        while True:
            await self._deriver.rewrite(work)
            if mended:
                return
            self._deriver.notify()
            await asyncio.sleep(MEND_S)

    def _forget(self, job: ImportJob) -> None:
        meters = self._intake.ledger.meters
        known = None if job.choice is None else meters.get(job.choice.meter)
        if known is None or known.boots.pop(job.boot, None) is None:
            return
        if known.boots:
            known.newest = known.ordered()[-1]
        else:
            del meters[known.info.id]

    def _upto(self, meter: str, boot: int) -> int:
        known = self._intake.ledger.meters.get(meter)
        found = None if known is None else known.boots.get(boot)
        return -1 if found is None else found.upto

    async def _send(self, meter: str, boot: int, group: list[ImportWindow]) -> None:
        """Send some readings, again and again, until they are committed."""
        messages = list(_messages(meter, boot, group))
        last = group[-1].seq
        while True:
            await self._intake.loaded.wait()
            if self._intake.connected:
                for topic, payload in messages:
                    self._intake.deliver(topic, payload, 0, False)  # noqa: FBT003 - a callback's shape
                self._intake.hurry()
            until_s = time.monotonic() + AGAIN_S
            while time.monotonic() < until_s and self._intake.connected:
                await asyncio.sleep(LOOK_S)
                is_planned = self._upto(meter, boot) >= last
                if is_planned and await self._flushed() and self._upto(meter, boot) >= last:
                    return
            await asyncio.sleep(LONGEST_PAUSE_S)

    async def _flushed(self) -> bool:
        """Have commits under way end: the ledger knows what is planned, before it is safe."""
        with contextlib.suppress(StorageError):
            await self._intake.flush()
            return True
        return False


def _messages(meter: str, boot: int, group: list[ImportWindow]) -> Iterator[tuple[str, bytes]]:
    """Yield (topic, payload): readings, and before a hole's end what is missing in it."""
    pending: list[dict[str, object]] = []
    topic = f"ww/v1/{meter}/readings"
    for window in group:
        if pending and (window.missing or len(pending) >= MESSAGE_READINGS):
            yield topic, _encode(pending)
            pending = []
        if window.missing:
            yield f"ww/v1/{meter}/events", _dropped(boot, window)
        pending.append(window.reading)
    if pending:
        yield topic, _encode(pending)


def _dropped(boot: int, window: ImportWindow) -> bytes:
    head = {"boot": boot, "seq": window.seq, "up": window.reading["up"], "t": None}
    tail = {"kind": "dropped", "from": window.seq - window.missing, "to": window.seq - 1}
    return _encode({**head, **tail})
