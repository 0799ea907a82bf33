"""Read models in memory: the twin of the SQL ones, for tests and trying things out."""

from dataclasses import dataclass, field

from gateway.domain.alerts import AlertState, Severity
from gateway.domain.errors import NotFoundError
from gateway.services.views import (
    LONGEST_HISTORY,
    AlertFilter,
    AlertPage,
    AlertView,
    DiskView,
    MeterPage,
    MeterView,
    StatusView,
    read_cursor,
    write_cursor,
)


@dataclass
class MemoryViews:
    """Satisfies `Views` over meters and alerts that the caller keeps."""

    meters: dict[str, MeterView] = field(default_factory=dict)
    alerts: dict[str, AlertView] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)

    async def list_meters(self, cursor: str | None, limit: int) -> MeterPage:
        """Return registered meters by id; the cursor is the last id seen."""
        ids = sorted(meter for meter in self.meters if meter > (cursor or ""))
        items = [self.meters[meter] for meter in ids[:limit]]
        return MeterPage(items, ids[limit - 1] if len(ids) > limit else None)

    async def get_meter(self, meter: str) -> MeterView:
        """Return one meter; NotFoundError when unknown."""
        if meter not in self.meters:
            msg = f"no meter {meter[:40]!r}"
            raise NotFoundError(msg)
        return self.meters[meter]

    async def list_alerts(self, which: AlertFilter, cursor: str | None, limit: int) -> AlertPage:
        """Return alerts, newest first; BadInputError for a cursor that is none."""
        after = read_cursor(cursor) if cursor else None
        found = sorted(
            (view for view in self.alerts.values() if _fits(view, which)),
            key=lambda view: (view.alert.opened_ms, view.alert.id),
            reverse=True,
        )
        if after is not None:
            found = [view for view in found if (view.alert.opened_ms, view.alert.id) < after]
        items = [_shown(view) for view in found[:limit]]
        if len(found) <= limit:
            return AlertPage(items)
        return AlertPage(items, write_cursor(items[-1].alert.opened_ms, items[-1].alert.id))

    async def get_alert(self, alert_id: str) -> AlertView:
        """Return one alert; NotFoundError when unknown."""
        if alert_id not in self.alerts:
            msg = f"no alert {alert_id[:80]!r}"
            raise NotFoundError(msg)
        return _shown(self.alerts[alert_id])

    async def status(self) -> StatusView:
        """Return the state of a store that takes no space."""
        counts = {severity.value: 0 for severity in Severity}
        for view in self.alerts.values():
            if view.alert.state != AlertState.RESOLVED:
                counts[view.alert.severity.value] += 1
        return StatusView(
            judge_backlog=0,
            cloud_backlog=0,
            offline_days=None,
            disk=DiskView(0, 0, 0),
            dead_letters=dict(self.dead_letters),
            open_alerts=counts,
            models=[],
        )


def _fits(view: AlertView, which: AlertFilter) -> bool:
    alert = view.alert
    return (
        which.state in (None, alert.state)
        and which.severity in (None, alert.severity)
        and which.meter in (None, alert.meter)
        and which.muted in (None, alert.muted)
    )


def _shown(view: AlertView) -> AlertView:
    return AlertView(view.alert, view.history[-LONGEST_HISTORY:])
