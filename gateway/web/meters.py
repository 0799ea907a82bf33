"""Meters: what there is, what they last said, and what an operator calls them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from gateway.services.views import LONGEST_PAGE
from gateway.web.deps import Deps, LoggedIn
from gateway.web.models import MeterList, MeterOut, MeterPatch
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/meters", tags=["meters"])
METER_ID = r"^[a-z0-9][a-z0-9-]{1,31}$"
MeterId = Annotated[str, Path(pattern=METER_ID)]


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_meters(
    deps: Deps,
    cursor: Annotated[str | None, Query(pattern=METER_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
) -> MeterList:
    """List meters by id."""
    page = await deps.views.list_meters(cursor, limit)
    return MeterList(items=[MeterOut.of(view) for view in page.items], next=page.next)


@router.get("/{id}", responses=documented(*BEHIND_LOGIN, 404))
async def get_meter(id: MeterId, deps: Deps) -> MeterOut:  # noqa: A002 - the contract's name
    """Show one meter."""
    return MeterOut.of(await deps.views.get_meter(id))


@router.patch("/{id}", responses=documented(*BEHIND_LOGIN, 404))
async def update_meter(id: MeterId, body: MeterPatch, deps: Deps, who: LoggedIn) -> MeterOut:  # noqa: A002 - as above
    """Change a meter's label, or its channels' roles and ratings."""
    args = {"id": id, **body.model_dump(mode="json", exclude_unset=True)}
    await deps.operations.call("meters.update", args, who.name)
    return MeterOut.of(await deps.views.get_meter(id))
