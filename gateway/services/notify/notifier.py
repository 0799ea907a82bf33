"""Follow the alerts' history and tell people, each of them once: the service `notify`."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from gateway.domain.alerts import Alert
from gateway.domain.errors import StorageError, TransientError
from gateway.services.notify.delivery import Delivery
from gateway.services.notify.planning import (
    FRESH_MS,
    GROUP_MS,
    HOPELESS_MS,
    QuietHours,
    is_fresh,
    stage_of,
    why_not,
)
from gateway.services.notify.ports import (
    NewNotice,
    News,
    Notice,
    NoticeStore,
    Road,
    Stage,
    Target,
    Unanswered,
)
from gateway.services.placer import Now
from gateway.settings import NotifySettings

log = structlog.get_logger()
LOOK_S = 5.0  # while nothing happens: reminders, the end of quiet hours, retries
GATHER_S = 0.02  # several commits of one moment; judging has gathered already
CHUNK = 500
MOST_A_TARGET = 100  # notices that are looked at; so none that is down hides what others wait for
KEEP_MS = 30 * 24 * 3_600_000
TIDY_S = 3600.0


@dataclass(slots=True)
class Notifier:
    """The service: plans notices from history, sends what waits, reminds.

    Whatever it decides is on disk before anything leaves the house, and what has left is marked
    when the road has confirmed it: a crash in between sends once more, under the same tag.
    """

    store: NoticeStore
    roads: Mapping[str, Road]
    delivery: Delivery
    settings: NotifySettings
    now: Now
    quiet: QuietHours | None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _first_seen_s: dict[str, float] = field(default_factory=dict)
    _tidied_s: float = float("-inf")

    def notify(self) -> None:
        """Tell that an alert has changed and is committed."""
        self._news.set()

    async def run(self) -> None:
        """Tell people until cancelled; raise TransientError when the disk fails, to start again."""
        try:
            while True:
                self._news.clear()
                await self.step()
                await self._wait()
        except StorageError as error:
            msg = f"notices could not be stored and will be planned again: {error}"
            raise TransientError(msg) from error

    async def step(self) -> None:
        """Plan what is new, remind, send what waits."""
        while await self.plan() == CHUNK:
            pass
        await self._remind()
        await self._send()
        if self.now.mono_s() - self._tidied_s >= TIDY_S:
            self._tidied_s = self.now.mono_s()
            await self.store.forget_before(self.now.wall_ms() - KEEP_MS)

    async def _wait(self) -> None:
        wait_s = min(LOOK_S, self.delivery.next_try_s(self.now.mono_s()))
        try:
            async with asyncio.timeout(wait_s):
                await self._news.wait()
                await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass

    # -- planning -----------------------------------------------------------------------------

    async def plan(self) -> int:
        """Turn the next history entries into notices; return how many were looked at."""
        news = await self.store.news(CHUNK)
        if not news:
            return 0
        targets = await self._targets()
        tags: dict[tuple[str, str, str], str] = {}
        notices: list[NewNotice] = []
        for item in news:
            stage = self._stage(item)
            if stage is Stage.RESOLVED:
                notices += await self._over(item.alert)
            elif stage is not None:
                tag = await self._tag(item.alert, stage, tags)
                notices += self._for_all(item.alert, stage, targets, tag)
        await self.store.plan(notices, news[-1].no, self.now.wall_ms())
        return len(news)

    def _stage(self, item: News) -> Stage | None:
        """Return what a history entry means, None for what nobody is told."""
        stage = stage_of(item.entry)
        if stage is None or not self.settings.enabled or item.alert.historic:
            return None
        if stage is Stage.RESOLVED and not self.settings.resolved:
            return None
        late_ms = self.now.wall_ms() - item.entry.at_ms
        if stage is not Stage.OPENED and late_ms > FRESH_MS:
            return None
        return stage

    async def _over(self, alert: Alert) -> list[NewNotice]:
        """Tell those who may have heard of it that it is over; a group's message stays as it is."""
        return [
            NewNotice(alert.id, Stage.RESOLVED, target, alert.id if alone else f"{alert.id}-over")
            for target, alone in await self.store.told(alert.id)
        ]

    def _for_all(
        self, alert: Alert, stage: str, targets: list[Target], tag: str
    ) -> list[NewNotice]:
        return [
            NewNotice(alert.id, stage, target, tag)
            for target in targets
            if self.roads[target.road].wants(target.id, alert, stage)
        ]

    async def _tag(self, alert: Alert, stage: Stage, tags: dict[tuple[str, str, str], str]) -> str:
        """Return under which tag a phone shows it: the alert's id, or that of its group's first."""
        key = (alert.key[2].value, alert.severity.value, stage.value)
        if key not in tags:
            since_ms = self.now.wall_ms() - GROUP_MS
            tags[key] = await self.store.recent_tag(alert, stage, since_ms) or alert.id
        return tags[key]

    async def _targets(self) -> list[Target]:
        return [
            Target(name, target)
            for name, road in self.roads.items()
            for target in await road.targets()
        ]

    # -- reminding ----------------------------------------------------------------------------

    async def _remind(self) -> None:
        """Escalate: say again what is critical and nobody has acknowledged."""
        if not (self.settings.enabled and self.settings.escalate_after_min):
            return
        open_alerts = await self.store.unacknowledged()
        due = [found for found in open_alerts if self._is_due(found)]
        known = {found.alert.id for found in open_alerts}
        self._first_seen_s = {key: s for key, s in self._first_seen_s.items() if key in known}
        if not due:
            return
        targets = await self._targets()
        notices: list[NewNotice] = []
        for alert, tag, _, reminders in due:
            stage = f"{Stage.REMINDER}-{reminders + 1}"
            notices += self._for_all(alert, stage, targets, tag)
            self._first_seen_s[alert.id] = self.now.mono_s()
            log.info("alert_unacknowledged", id=alert.id, reminder=reminders + 1)
        await self.store.plan(notices, None, self.now.wall_ms())

    def _is_due(self, found: Unanswered) -> bool:
        """Tell whether it has waited long enough; timed by the monotonic clock."""
        alert, _, sent_ms, reminders = found
        if reminders >= self.settings.escalate_times:
            return False
        if why_not(alert, Stage.REMINDER, self.now.wall_ms()):
            return False
        after_s = self.settings.escalate_after_min * 60
        mono_s = self.now.mono_s()
        if alert.id not in self._first_seen_s:
            # After a restart what has passed already counts, as far as the clock can be believed.
            passed_s = (self.now.wall_ms() - sent_ms) / 1000
            self._first_seen_s[alert.id] = mono_s - min(max(passed_s, 0.0), after_s)
        return mono_s - self._first_seen_s[alert.id] >= after_s

    # -- sending ------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Send what waits and may be told now; drop what is nobody's news any more."""
        now_ms = self.now.wall_ms()
        ready: dict[tuple[Target, str], list[Notice]] = {}
        for notice in await self.store.waiting(MOST_A_TARGET):
            reason = self._why_drop(notice, now_ms)
            if reason:
                await self._drop(notice, reason, now_ms)
            elif not self._must_hold(notice, now_ms):
                ready.setdefault((notice.target, notice.tag), []).append(notice)
        await self.delivery.deliver(ready)

    async def _drop(self, notice: Notice, reason: str, now_ms: int) -> None:
        """Drop what is no news; one that may have been seen meanwhile is told as over."""
        alert = notice.alert
        over_ms = alert.resolved_ms if self.settings.resolved else None
        # Its end may have been planned just before it was handed over.
        if notice.handed and over_ms is not None and is_fresh(over_ms, now_ms):
            await self.store.plan(await self._over(alert), None, now_ms)
        await self.store.drop(notice, reason, now_ms)
        log.info("notice_dropped", id=alert.id, reason=reason)

    def _why_drop(self, notice: Notice, now_ms: int) -> str:
        if reason := why_not(notice.alert, notice.stage, now_ms):
            return reason
        if now_ms - notice.created_ms > HOPELESS_MS:
            return "found no way for a day"
        if notice.target.road not in self.roads:
            return "its road was switched off"
        return ""

    def _must_hold(self, notice: Notice, now_ms: int) -> bool:
        if self.quiet is None or not self.now.trusted():
            return False
        return self.quiet.hold(notice.alert.severity, now_ms)
