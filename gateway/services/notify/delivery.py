"""Send what waits: one message at a time to a target, other targets beside it; back off apart."""

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from gateway.domain.errors import StorageError
from gateway.services.notify.planning import why_not
from gateway.services.notify.ports import (
    Message,
    Notice,
    NoticeStore,
    Outcome,
    Result,
    Road,
    Stage,
    Target,
    UnknownTargetError,
)
from gateway.services.notify.wording import Wording
from gateway.services.placer import Now

log = structlog.get_logger()
AT_ONCE = 16  # messages under way
# A group that grows is told anew under the same tag, but not with every alert that joins.
REGROUP_S = 5.0
LONGEST_BACKOFF_S = 300.0
# Google asks for at least 10 s before a retry where no Retry-After says otherwise
# (firebase.google.com/docs/cloud-messaging/scale-fcm); a home's few pushes may begin sooner.
FIRST_BACKOFF_S = 2.0
BLOCKED_S = 60.0
SEND_LIMIT_S = 60.0
Ready = Mapping[tuple[Target, str], Sequence[Notice]]


@dataclass(slots=True)
class _Pause:
    """Until when a target or road is left alone (monotonic), and how often it failed running."""

    until_s: float = 0.0
    failures: int = 0

    def fail(self, now_s: float, least_s: float, first_s: float) -> float:
        """Lengthen the pause: full jitter below 2^n, never less than the other side asked for."""
        self.failures = min(self.failures + 1, 16)
        jitter_s = random.uniform(0, min(LONGEST_BACKOFF_S, first_s * 2.0**self.failures))  # noqa: S311 - no secret
        wait_s = max(least_s, jitter_s, 0.5)
        self.until_s = now_s + wait_s
        return wait_s


@dataclass(slots=True)
class Delivery:
    """Brings messages on their way and notes what became of them."""

    store: NoticeStore
    roads: Mapping[str, Road]
    wording: Wording
    now: Now
    trouble: dict[str, str] = field(default_factory=dict)  # road -> what somebody must do
    _pauses: dict[str | Target, _Pause] = field(default_factory=dict)
    _told_s: dict[tuple[Target, str], float] = field(default_factory=dict)
    _busy: dict[Target, asyncio.Task[None]] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _next_s: float = math.inf

    async def deliver(self, ready: Ready) -> None:
        """Start what may start now; it goes on while the caller does something else."""
        self._next_s = math.inf
        mono_s = self.now.mono_s()
        self._told_s = {k: s for k, s in self._told_s.items() if mono_s - s < REGROUP_S}
        by_target: dict[Target, dict[str, Sequence[Notice]]] = {}
        for (target, tag), notices in ready.items():
            if target in self._busy:
                continue
            free_s = self._free_at(target, tag, notices)
            if free_s > mono_s:
                self._next_s = min(self._next_s, free_s)
            else:
                by_target.setdefault(target, {})[tag] = notices
        for target, tags in by_target.items():
            task = asyncio.create_task(self._serve(target, tags), name=f"notify-{target.road}")
            self._busy[target] = task

    def next_try_s(self, mono_s: float) -> float:
        """Return in how many seconds something that waits may be tried; infinite: nothing does."""
        if self._busy:
            return 0.1
        return max(0.05, self._next_s - mono_s)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def close(self) -> None:
        """Give up what is under way; it is still kept as waiting."""
        for task in list(self._busy.values()):
            task.cancel()
        await self.settle()

    def _free_at(self, target: Target, tag: str, notices: Sequence[Notice]) -> float:
        pauses = [self._pauses[key].until_s for key in (target, target.road) if key in self._pauses]
        told_s = self._told_s.get((target, tag))
        if told_s is not None and all(notice.stage == Stage.OPENED for notice in notices):
            pauses.append(told_s + REGROUP_S)
        return max(pauses, default=0.0)

    async def _serve(self, target: Target, tags: Mapping[str, Sequence[Notice]]) -> None:
        """Send a target all that waits for it, as long as it takes it."""
        try:
            async with self._slots:
                for tag, notices in tags.items():
                    if not await self._tell(target, tag, notices):
                        return
        except StorageError as error:  # they still wait, and are sent again under the same tag
            log.warning("notices_not_marked", road=target.road, error=str(error))
        finally:
            del self._busy[target]

    async def _tell(self, target: Target, tag: str, notices: Sequence[Notice]) -> bool:
        """Send one message; return whether the target takes more."""
        road = self.roads[target.road]
        # Noted before it leaves: whoever may have seen it will be told that it is over.
        going = await self.store.hand_over([notice.no for notice in notices])
        notices = [notice for notice in notices if notice.no in going]
        if not notices:
            return True
        try:
            message = await self.message(target, tag, notices)
            async with asyncio.timeout(SEND_LIMIT_S):
                outcome = await road.send(target.id, message)
        except TimeoutError:
            outcome = Outcome(Result.LATER, f"no answer within {SEND_LIMIT_S:.0f} s", maybe=True)
        except UnknownTargetError:
            outcome = Outcome(Result.GONE, "removed")
        except StorageError:
            raise
        except Exception as error:  # a road's defect must stop neither the others nor the house
            log.exception("road_failed", road=target.road)
            outcome = Outcome(Result.LATER, f"{type(error).__name__}: {error}", maybe=True)
        await self._note(target, tag, notices, outcome)
        return outcome.result in (Result.SENT, Result.REFUSED)

    async def message(self, target: Target, tag: str, notices: Sequence[Notice]) -> Message:
        """Return what tells a target of notices, and of all that its tag has told already."""
        now_ms = self.now.wall_ms()
        language = (await self.roads[target.road].targets()).get(target.id)
        if language is None:
            raise UnknownTargetError(target.id)
        items = {n.alert.id: (n.alert, n.stage) for n in notices}
        if all(notice.stage != Stage.RESOLVED for notice in notices):
            for notice in await self.store.with_tag(target, tag):
                if not why_not(notice.alert, notice.stage, now_ms):
                    items.setdefault(notice.alert.id, (notice.alert, notice.stage))
        ordered = sorted(items.values(), key=lambda item: (item[0].opened_ms, item[0].id))
        return self.wording.message(tag, ordered, language, now_ms)

    async def _note(
        self, target: Target, tag: str, notices: Sequence[Notice], outcome: Outcome
    ) -> None:
        """Mark what became of a message on disk, and leave alone whoever asks for it."""
        nos = [notice.no for notice in notices]
        now_ms, mono_s = self.now.wall_ms(), self.now.mono_s()
        facts = {"road": target.road, "target": target.id, "alerts": len(notices), "tag": tag}
        if outcome.result in (Result.LATER, Result.BLOCKED) and not outcome.maybe:
            # Unless an earlier try may have been taken.
            await self.store.take_back([notice.no for notice in notices if not notice.handed])
        if outcome.result is Result.SENT:
            self._pauses.pop(target, None)
            self._pauses.pop(target.road, None)
            self.trouble.pop(target.road, None)
            self._told_s[target, tag] = mono_s
            await self.store.finish(nos, "sent", "", now_ms)
            log.info("notice_sent", stage=notices[0].stage, **facts)
        elif outcome.result is Result.LATER:
            pause = self._pauses.setdefault(target, _Pause())
            wait_s = pause.fail(mono_s, outcome.wait_s, FIRST_BACKOFF_S)
            log.warning("notice_delayed", reason=outcome.reason, wait_s=round(wait_s, 1), **facts)
        elif outcome.result is Result.BLOCKED:
            self._block(target.road, outcome, mono_s)
        else:
            await self.store.finish(nos, "dropped", outcome.reason, now_ms)
            log.warning("notice_refused", reason=outcome.reason, **facts)
            if outcome.result is Result.GONE:
                await self.roads[target.road].forget(target.id)

    def _block(self, road: str, outcome: Outcome, mono_s: float) -> None:
        """Leave a whole road alone until somebody has acted; what waits stays."""
        pause = self._pauses.setdefault(road, _Pause())
        if pause.until_s <= mono_s:  # others of the same road have failed in the same moment
            wait_s = pause.fail(mono_s, max(BLOCKED_S, outcome.wait_s), BLOCKED_S)
            log.error("road_blocked", road=road, reason=outcome.reason, wait_s=round(wait_s))
        self.trouble[road] = outcome.reason
