"""What notifying knows, and what it needs from storage and from roads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from gateway.domain.alerts import Alert, HistoryEntry
from gateway.domain.errors import GatewayError

PUSH = "push"  # the road to phones; a target is a device's id
HANDED = "handed over"  # begins the reason of a notice that somebody may have seen


class Stage(StrEnum):
    """What happened to an alert that people must learn."""

    OPENED = "opened"
    WORSE = "worse"  # a warning became critical
    REMINDER = "reminder"  # critical, and nobody has acknowledged it
    RESOLVED = "resolved"


class Platform(StrEnum):
    """Kind of device, which decides how a push is dressed."""

    ANDROID = "android"
    IOS = "ios"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Device:
    """One phone or browser of a person; `token` is FCM's registration token."""

    id: str
    user: str
    token: str = field(repr=False)
    platform: Platform
    name: str
    language: str
    created_ms: int
    seen_ms: int


class News(NamedTuple):
    """An entry of an alert's history that has not been looked at yet, and the alert as it is."""

    no: int
    alert: Alert
    entry: HistoryEntry


class Target(NamedTuple):
    """Where a notice goes: a device of the road `push`, or one address of another road."""

    road: str
    id: str


class NewNotice(NamedTuple):
    """A notice to be kept; `stage` is a Stage, with a number behind it for reminders."""

    alert_id: str
    stage: str
    target: Target
    tag: str


class Notice(NamedTuple):
    """A kept notice that waits, with its alert as it is now.

    `handed`: its road was given it, and has not said that it did not take it.
    """

    no: int
    alert: Alert
    stage: str
    target: Target
    tag: str
    created_ms: int
    handed: bool = False


class Unanswered(NamedTuple):
    """An open critical alert that was told: under which tag, when last, reminders so far."""

    alert: Alert
    tag: str
    sent_ms: int
    reminders: int


@dataclass(frozen=True, slots=True)
class Message:
    """What a person sees. Messages with one `tag` replace each other on a phone."""

    tag: str
    title: str
    body: str
    critical: bool
    loud: bool  # False: shown without a sound
    data: Mapping[str, str] = field(default_factory=dict)


class Result(StrEnum):
    """What became of one message."""

    SENT = "sent"
    GONE = "gone"  # the target exists no more
    LATER = "later"  # the world may heal itself
    REFUSED = "refused"  # this message will never be taken
    BLOCKED = "blocked"  # somebody must act before anything is taken


class Outcome(NamedTuple):
    """How one message fared; `wait_s` is the least time the other side wants to be left alone.

    `maybe`: it was not confirmed, and may have been taken all the same.
    """

    result: Result
    reason: str = ""
    wait_s: float = 0.0
    maybe: bool = False


SENT = Outcome(Result.SENT)


class UnknownTargetError(GatewayError):
    """A target that the road knows no more: its device or address was removed."""


class Road(Protocol):
    """One way to people."""

    async def targets(self) -> Mapping[str, str]:
        """Return whom it reaches now: id -> language."""

    async def send(self, target: str, message: Message) -> Outcome:
        """Send one message; never raises for what the world does. UnknownTargetError."""

    async def forget(self, target: str) -> None:
        """Forget a target that is gone for good."""

    def wants(self, target: str, alert: Alert, stage: str) -> bool:
        """Tell whether a target wants to hear of such a thing."""


class NoticeStore(Protocol):
    """Where notices live: kept with the position up to which history was looked at."""

    async def news(self, limit: int) -> list[News]:
        """Return history entries behind the position, oldest first."""

    async def plan(self, notices: Sequence[NewNotice], upto: int | None, at_ms: int) -> None:
        """Keep notices and move the position, in one transaction; a kept one stays as it is."""

    async def waiting(self, limit: int) -> list[Notice]:
        """Return what waits, `limit` of each target, critical alerts first, then oldest first."""

    async def with_tag(self, target: Target, tag: str) -> list[Notice]:
        """Return what was sent to a target under a tag, with the alerts as they are now."""

    async def hand_over(self, nos: Sequence[int]) -> set[int]:
        """Mark what goes to its road now; return which of them wait, as the others must not go."""

    async def take_back(self, nos: Sequence[int]) -> None:
        """Unmark what was handed over and waits: its road has said that it did not take it."""

    async def drop(self, notice: Notice, reason: str, at_ms: int) -> None:
        """Drop what waits, unless it was handed over since it was read."""

    async def finish(self, nos: Sequence[int], state: str, reason: str, at_ms: int) -> None:
        """Mark notices `sent` or `dropped`."""

    async def recent_tag(self, alert: Alert, stage: str, since_ms: int) -> str | None:
        """Return the tag under which the newest alert of this kind and severity was announced."""

    async def told(self, alert_id: str) -> list[tuple[Target, bool]]:
        """Return who heard of an alert, or may have, and whether its message told of it alone."""

    async def unacknowledged(self) -> list[Unanswered]:
        """Return open critical alerts, not acknowledged and no old news, that were sent."""

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was done before a time."""

    async def counts(self) -> Mapping[str, int]:
        """Return how many notices there are by state."""


class DeviceStore(Protocol):
    """Where devices live. Changes commit together with nothing else; they are no accounts."""

    async def save_device(self, device: Device, most: int) -> Device:
        """Keep a device, by its token; of more than `most` of one person the stalest goes.

        A token that is known keeps its id. BadInputError where the person is no user.
        """

    async def list_devices(self, user: str | None = None) -> list[Device]:
        """Return devices, of one person or of all, oldest first."""

    async def remove_device(self, device_id: str, user: str | None = None) -> bool:
        """Remove a device, of a person or of anybody; return False for an unknown one."""
