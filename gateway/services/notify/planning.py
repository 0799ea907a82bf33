"""Which changes of an alert are news, and when people want to be left alone. Pure."""

from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.domain.alerts import Alert, AlertState, HistoryEntry, Severity
from gateway.pipeline.alert_book import SYSTEM
from gateway.services.notify.ports import Stage
from gateway.settings import NotifySettings

# Contract, rule J: what is older is never pushed to a phone as news.
FRESH_MS = 15 * 60_000
# Alerts of one kind and severity that begin within this time are told as one.
GROUP_MS = 60_000
# A notice that found no way for so long is of no use to anybody.
HOPELESS_MS = 24 * 3_600_000


def stage_of(entry: HistoryEntry) -> Stage | None:
    """Return what a history entry means to people; None where they did it themselves."""
    if entry.who != SYSTEM:
        return None
    if entry.what.startswith("opened"):
        return Stage.OPENED
    if entry.what.startswith("escalated"):
        return Stage.WORSE
    if entry.what.startswith("resolved"):
        return Stage.RESOLVED
    return None


def is_fresh(at_ms: int, now_ms: int) -> bool:
    """Tell whether what happened then may still be told as news."""
    return now_ms - at_ms <= FRESH_MS


def why_not(alert: Alert, stage: str, now_ms: int) -> str:
    """Return why an alert as it is now must not be told, "" where it may."""
    if alert.muted:
        return "muted"
    if stage == Stage.RESOLVED:
        return ""
    if alert.state is AlertState.RESOLVED:
        return "resolved before it could be told"
    if alert.state is AlertState.ACKNOWLEDGED:
        return "acknowledged before it could be told"
    if alert.snoozed_until_ms is not None and alert.snoozed_until_ms > now_ms:
        return "snoozed"
    return ""


class QuietHours(NamedTuple):
    """From when until when warnings wait, by the site's clock; over midnight too."""

    start: time
    end: time
    critical_too: bool
    zone: ZoneInfo

    @classmethod
    def of(cls, settings: NotifySettings, zone: ZoneInfo) -> "QuietHours | None":
        """Return the settings' quiet hours, None where there are none."""
        if settings.quiet_from is None or settings.quiet_to is None:
            return None
        start, end = time.fromisoformat(settings.quiet_from), time.fromisoformat(settings.quiet_to)
        return cls(start, end, settings.quiet_critical, zone)

    def hold(self, severity: Severity, now_ms: int) -> bool:
        """Tell whether something of this severity must wait now."""
        if severity is Severity.CRITICAL and not self.critical_too:
            return False
        now = datetime.fromtimestamp(now_ms / 1000, self.zone).time()
        if self.start <= self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end
