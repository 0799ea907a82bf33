"""A notifier over the in-memory store, with a road that keeps what it was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from gateway.adapters.memory_notices import MemoryNotices
from gateway.domain.alerts import Alert, AlertKind, AlertState, HistoryEntry, Severity
from gateway.services.notify.delivery import Delivery
from gateway.services.notify.notifier import Notifier
from gateway.services.notify.planning import QuietHours
from gateway.services.notify.ports import SENT, Message, NoticeStore, Outcome, UnknownTargetError
from gateway.services.notify.wording import Wording
from gateway.settings import NotifySettings

ZONE = ZoneInfo("Europe/Lisbon")
NOON_MS = 1_763_812_800_000  # 2025-11-22 12:00 in Lisbon


@dataclass
class Clock:
    """A wall clock and a monotonic one that tests turn."""

    ms: int = NOON_MS
    is_trusted: bool = True

    def wall_ms(self) -> int:
        return self.ms

    def mono_s(self) -> float:
        return self.ms / 1000

    def trusted(self) -> bool:
        return self.is_trusted

    def turn(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class KeepingRoad:
    """Reaches `known`; answers what `answers` says for a target, else takes everything."""

    known: dict[str, str] = field(default_factory=lambda: {"anna": "en"})
    answers: dict[str, Outcome] = field(default_factory=dict)
    taken: list[tuple[str, Message]] = field(default_factory=list)
    asked: int = 0
    unwanted: set[tuple[str, str]] = field(default_factory=set)  # (target, alert's id or stage)

    async def targets(self) -> Mapping[str, str]:
        return self.known

    async def send(self, target: str, message: Message) -> Outcome:
        self.asked += 1
        if target not in self.known:
            raise UnknownTargetError(target)
        outcome = self.answers.get(target, SENT)
        if outcome == SENT:
            self.taken.append((target, message))
        return outcome

    async def forget(self, target: str) -> None:
        del self.known[target]

    def wants(self, target: str, alert: Alert, stage: str) -> bool:
        return not self.unwanted & {(target, alert.id), (target, stage)}

    def visible(self, target: str = "anna") -> dict[str, Message]:
        """Return what a phone shows: the newest of every tag."""
        return {message.tag: message for to, message in self.taken if to == target}


class Rig:
    """One site; `store` may be any adapter that `write` fills."""

    def __init__(self, store: NoticeStore | None = None, **settings: object) -> None:
        self.clock = Clock()
        self.memory = MemoryNotices()
        self.store: NoticeStore = store or self.memory
        self.road = KeepingRoad()
        self.settings = NotifySettings.model_validate(settings)
        self.notifier = self.start()

    def start(self) -> Notifier:
        """Begin with nothing in memory, as after a crash."""
        roads = {"push": self.road}
        wording = Wording("home", ZONE)
        self.delivery = Delivery(self.store, roads, wording, self.clock)
        quiet = QuietHours.of(self.settings, ZONE)
        self.notifier = Notifier(self.store, roads, self.delivery, self.settings, self.clock, quiet)
        return self.notifier

    async def step(self, seconds: float = 0.0) -> None:
        """Let time pass, then let the notifier do all it can."""
        self.clock.turn(seconds)
        await self.notifier.step()
        await self.delivery.settle()

    def open(self, meter: str = "kitchen", *, at_ms: int | None = None, **fields: object) -> Alert:
        """Commit an alert that has just opened."""
        at_ms = self.clock.ms if at_ms is None else at_ms
        alert = replace(alert_of(meter, at_ms), **fields)  # type: ignore[arg-type] # fields by name
        self.memory.write(alert, HistoryEntry(at_ms, "system", "opened"))
        return alert

    def change(self, alert: Alert, what: str, who: str = "system", **fields: object) -> Alert:
        """Commit a change of an alert."""
        changed = replace(alert, updated_ms=self.clock.ms, **fields)  # type: ignore[arg-type] # as above
        self.memory.write(changed, HistoryEntry(self.clock.ms, who, what))
        return changed


def alert_of(meter: str, at_ms: int) -> Alert:
    return Alert(
        id=f"{meter}-{at_ms}",
        key=(meter, "", AlertKind.OVER_VOLTAGE),
        severity=Severity.CRITICAL,
        state=AlertState.OPEN,
        opened_ms=at_ms,
        updated_ms=at_ms,
        resolved_ms=None,
        count=1,
        title="Voltage dangerously high",
        detail="Voltage at the grid connection was 276.2 V for 3 s; the limit is 264.5 V.",
        evidence={"voltage_v": 276.23, "limit_v": 264.5},
    )
