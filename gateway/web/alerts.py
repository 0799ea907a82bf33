"""Alerts: look, acknowledge, resolve, snooze, and say whether they were right."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from gateway.services.views import AlertFilter
from gateway.web.deps import Deps, LoggedIn, WebDeps
from gateway.web.models import AlertList, AlertOut, AlertQuery, Snooze, Verdict
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/alerts", tags=["alerts"])
AlertId = Annotated[str, Path(min_length=1, max_length=64)]
READING = documented(*BEHIND_LOGIN)
CHANGING = documented(*BEHIND_LOGIN, 404)


@router.get("", responses=READING)
async def list_alerts(deps: Deps, query: Annotated[AlertQuery, Query()]) -> AlertList:
    """List alerts, newest first; an empty `meter` means the gateway's own."""
    which = AlertFilter(query.wanted, query.severity, query.meter, query.muted)
    page = await deps.views.list_alerts(which, query.cursor, query.limit)
    return AlertList(items=[AlertOut.of(view) for view in page.items], next=page.next)


@router.get("/{id}", responses=CHANGING)
async def get_alert(id: AlertId, deps: Deps) -> AlertOut:  # noqa: A002 - the contract's name
    """Show one alert."""
    return AlertOut.of(await deps.views.get_alert(id))


@router.post("/{id}/acknowledge", responses=CHANGING)
async def acknowledge(id: AlertId, deps: Deps, who: LoggedIn) -> AlertOut:  # noqa: A002 - as above
    """Note that somebody has seen it; it stays until its condition clears."""
    return await _change(deps, "acknowledge", {"id": id}, who.name)


@router.post("/{id}/resolve", responses=CHANGING)
async def resolve(id: AlertId, deps: Deps, who: LoggedIn) -> AlertOut:  # noqa: A002 - as above
    """Close it by hand; it opens again after an hour if its condition lasts."""
    return await _change(deps, "resolve", {"id": id}, who.name)


@router.post("/{id}/snooze", responses=CHANGING)
async def snooze(id: AlertId, body: Snooze, deps: Deps, who: LoggedIn) -> AlertOut:  # noqa: A002 - as above
    """Keep it quiet for some minutes."""
    return await _change(deps, "snooze", {"id": id, "minutes": body.minutes}, who.name)


@router.post("/{id}/verdict", responses=CHANGING)
async def verdict(id: AlertId, body: Verdict, deps: Deps, who: LoggedIn) -> AlertOut:  # noqa: A002 - as above
    """Say whether it was right; verdicts are labels for training."""
    args: dict[str, object] = {"id": id, "right": body.right, "note": body.note}
    return await _change(deps, "verdict", args, who.name)


async def _change(deps: WebDeps, what: str, args: dict[str, object], who: str) -> AlertOut:
    await deps.operations.call(f"alerts.{what}", args, who)
    return AlertOut.of(await deps.views.get_alert(str(args["id"])))
