"""The one place where alerts change, whoever changes them: readings, timers or people."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.domain.alerts import Alert, AlertState, Finding
from gateway.pipeline.alert_book import AlertBook, Change
from gateway.pipeline.mutes import MuteBook

log = structlog.get_logger()
Listener = Callable[[Change], None]


@dataclass(slots=True)
class AlertDesk:
    """The book in memory, and whom to tell once a change is safe on disk."""

    book: AlertBook
    listener: Listener | None = None
    mutes: MuteBook = field(default_factory=MuteBook)

    def renew(self, unresolved: list[Alert], resolved: list[Alert]) -> None:
        """Begin a new book with what the disk holds."""
        self.book = AlertBook(unresolved, resolved, self.mutes)

    def report(self, finding: Finding, *, now_ms: int, historic: bool = False) -> Change | None:
        """Enter what a detector found; None when it changes nothing."""
        return self.book.apply(finding, now_ms=now_ms, historic=historic)

    def tell(self, changes: list[Change]) -> None:
        """Tell people of changes that have been committed."""
        for change in changes:
            alert = change.alert
            is_resolved = alert.state is AlertState.RESOLVED and change.history
            if change.is_new or is_resolved:
                log.info(
                    "alert_opened" if change.is_new else "alert_resolved", meter=alert.meter,
                    channel=alert.key[1], kind=alert.key[2].value, severity=alert.severity.value,
                    detail=alert.detail, id=alert.id,
                )  # fmt: skip
            if self.listener is not None:
                self.listener(change)


def open_of(alerts: list[Alert], meter: str) -> list[Alert]:
    """Return a meter's alerts that are not resolved."""
    return [a for a in alerts if a.meter == meter and a.state is not AlertState.RESOLVED]
