"""Notices and devices in memory: the twins of the SQLite stores."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.domain.alerts import Alert, AlertState, HistoryEntry, Severity
from gateway.domain.errors import BadInputError
from gateway.services.notify.ports import (
    HANDED,
    Device,
    NewNotice,
    News,
    Notice,
    Stage,
    Target,
    Unanswered,
)


@dataclass(slots=True)
class _Kept:
    no: int
    new: NewNotice
    created_ms: int
    state: str = "waiting"
    reason: str = ""
    done_ms: int = 0


@dataclass(slots=True)
class MemoryNotices:
    """Satisfies `NoticeStore`; `write` is what a commit of the judging does."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    history: list[tuple[str, HistoryEntry]] = field(default_factory=list)
    upto: int = 0
    kept: list[_Kept] = field(default_factory=list)

    def write(self, alert: Alert, *entries: HistoryEntry) -> None:
        """Store an alert as it now is, and what is new in its history."""
        self.alerts[alert.id] = alert
        self.history += [(alert.id, entry) for entry in entries]

    async def news(self, limit: int) -> list[News]:
        """Return history entries behind the position, oldest first."""
        numbered = list(enumerate(self.history, 1))[self.upto : self.upto + limit]
        return [News(no, self.alerts[key], entry) for no, (key, entry) in numbered]

    async def plan(self, notices: Sequence[NewNotice], upto: int | None, at_ms: int) -> None:
        """Keep notices and move the position, in one transaction; a kept one stays as it is."""
        known = {(k.new.alert_id, k.new.stage, k.new.target) for k in self.kept}
        for new in notices:
            if (new.alert_id, new.stage, new.target) not in known:
                known.add((new.alert_id, new.stage, new.target))
                self.kept.append(_Kept(len(self.kept) + 1, new, at_ms))
        self.upto = self.upto if upto is None else upto

    async def waiting(self, limit: int) -> list[Notice]:
        """Return what waits, `limit` of each target, critical alerts first, then oldest first."""
        found = self._notices(lambda kept: kept.state == "waiting")
        found.sort(key=lambda n: n.alert.severity is not Severity.CRITICAL)
        places = Counter[Target]()
        chosen = []
        for notice in found:
            places[notice.target] += 1
            if places[notice.target] <= limit:
                chosen.append(notice)
        return chosen

    async def with_tag(self, target: Target, tag: str) -> list[Notice]:
        """Return what was sent to a target under a tag, with the alerts as they are now."""
        return self._notices(lambda k: k.state == "sent" and k.new[2:] == (target, tag))

    def _notices(self, which: Callable[[_Kept], bool]) -> list[Notice]:
        return [
            Notice(
                k.no, self.alerts[k.new.alert_id], k.new.stage, k.new.target, k.new.tag,
                k.created_ms, k.state == "waiting" and k.reason == HANDED,
            )
            for k in self.kept if which(k)
        ]  # fmt: skip

    async def hand_over(self, nos: Sequence[int]) -> set[int]:
        """Mark what goes to its road now; return which of them wait, as the others must not go."""
        going = [kept for kept in self.kept if kept.no in nos and kept.state == "waiting"]
        for kept in going:
            kept.reason = HANDED
        return {kept.no for kept in going}

    async def take_back(self, nos: Sequence[int]) -> None:
        """Unmark what was handed over and waits: its road has said that it did not take it."""
        for kept in self.kept:
            if kept.no in nos and kept.state == "waiting":
                kept.reason = ""

    async def drop(self, notice: Notice, reason: str, at_ms: int) -> None:
        """Drop what waits, unless it was handed over since it was read."""
        for kept in self.kept:
            as_read = kept.state == "waiting" and (kept.reason == HANDED) == notice.handed
            if kept.no == notice.no and as_read:
                said = f"{HANDED}; {reason}" if notice.handed else reason
                kept.state, kept.reason, kept.done_ms = "dropped", said, at_ms

    async def finish(self, nos: Sequence[int], state: str, reason: str, at_ms: int) -> None:
        """Mark notices `sent` or `dropped`."""
        for kept in self.kept:
            if kept.no in nos:
                kept.state, kept.reason, kept.done_ms = state, reason, at_ms

    async def recent_tag(self, alert: Alert, stage: str, since_ms: int) -> str | None:
        """Return the tag under which the first alert of this kind and severity was announced."""
        for kept in self.kept:
            other = self.alerts[kept.new.alert_id]
            alike = (other.key[2], other.severity) == (alert.key[2], alert.severity)
            first = kept.new.tag == kept.new.alert_id and kept.new.stage == stage
            if alike and first and kept.created_ms >= since_ms:
                return kept.new.tag
        return None

    async def told(self, alert_id: str) -> list[tuple[Target, bool]]:
        """Return who heard of an alert, or may have, and whether its message told of it alone."""
        heard: dict[Target, bool] = {}
        for kept in self.kept:
            may_know = kept.state == "sent" or kept.reason.startswith(HANDED)
            if kept.new.alert_id == alert_id and may_know:
                same = [o for o in self.kept if o.new[2:] == kept.new[2:]]
                heard[kept.new.target] = all(o.new.alert_id == alert_id for o in same)
        return sorted(heard.items())

    async def unacknowledged(self) -> list[Unanswered]:
        """Return open critical alerts, not acknowledged and no old news, that were sent."""
        found = []
        for alert in sorted(self.alerts.values(), key=lambda a: (a.opened_ms, a.id)):
            own = [k for k in self.kept if k.new.alert_id == alert.id]
            sent = [k for k in own if k.state == "sent"]
            open_now = alert.state is AlertState.OPEN and alert.severity is Severity.CRITICAL
            if sent and open_now and not alert.historic:
                reminders = {k.new.stage for k in own if k.new.stage.startswith(Stage.REMINDER)}
                tag, last_ms = max(k.new.tag for k in sent), max(k.done_ms for k in sent)
                found.append(Unanswered(alert, tag, last_ms, len(reminders)))
        return found

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was done before a time."""
        self.kept = [k for k in self.kept if k.state == "waiting" or k.created_ms >= at_ms]

    async def counts(self) -> Mapping[str, int]:
        """Return how many notices there are by state."""
        return Counter(kept.state for kept in self.kept)


@dataclass(slots=True)
class MemoryDevices:
    """Satisfies `DeviceStore`; `users` may own devices."""

    users: set[str] = field(default_factory=set)
    devices: dict[str, Device] = field(default_factory=dict)

    async def save_device(self, device: Device, most: int) -> Device:
        """Keep a device, by its token; of more than `most` of one person the stalest goes."""
        if device.user not in self.users:
            msg = (
                f"{device.user}: devices belong to people with an account here; see:"
                " wattwarden users add"
            )
            raise BadInputError(msg)
        known = next((d for d in self.devices.values() if d.token == device.token), None)
        if known is not None:
            device = replace(device, id=known.id, created_ms=known.created_ms)
        self.devices[device.id] = device
        own = sorted(await self.list_devices(device.user), key=lambda d: (-d.seen_ms, d.id))
        for stale in own[most:]:
            del self.devices[stale.id]
        return device

    async def list_devices(self, user: str | None = None) -> list[Device]:
        """Return devices, of one person or of all, oldest first."""
        own = [d for d in self.devices.values() if user in (None, d.user)]
        return sorted(own, key=lambda d: (d.created_ms, d.id))

    async def remove_device(self, device_id: str, user: str | None = None) -> bool:
        """Remove a device, of a person or of anybody; return False for an unknown one."""
        device = self.devices.get(device_id)
        if device is None or user not in (None, device.user):
            return False
        del self.devices[device_id]
        return True
