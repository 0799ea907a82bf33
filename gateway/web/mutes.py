"""Mutes: kinds of alerts that nobody wants to hear of."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from gateway.domain.alerts import AlertKind
from gateway.web.deps import Deps, LoggedIn
from gateway.web.meters import METER_ID
from gateway.web.models import Body, ChannelKey
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/mutes", tags=["alerts"])
MuteId = Annotated[str, Path(min_length=1, max_length=64)]


class MuteIn(Body):
    """What to mute; null: the gateway itself, all channels, without end."""

    meter: Annotated[str, Field(pattern=METER_ID)] | None = None
    channel: ChannelKey | None = None
    kind: AlertKind
    until_ms: Annotated[int, Field(ge=0, le=2**53, strict=True)] | None = None


class MuteOut(BaseModel):
    """One mute, and who set it when."""

    id: str
    meter: str | None
    channel: str | None
    kind: AlertKind
    until_ms: int | None
    created_ms: int
    created_by: str


class MuteList(BaseModel):
    """All mutes that have not ended, oldest first."""

    items: list[MuteOut]
    next: None = None


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_mutes(deps: Deps, who: LoggedIn) -> MuteList:
    """List what is muted."""
    return MuteList.model_validate(await deps.operations.call("mutes.list", {}, who.name))


@router.post("", status_code=201, responses=documented(*BEHIND_LOGIN))
async def add_mute(body: MuteIn, deps: Deps, who: LoggedIn) -> MuteOut:
    """Mute a kind; alerts of it still open, marked, and are pushed to nobody."""
    args = body.model_dump(mode="json")
    return MuteOut.model_validate(await deps.operations.call("mutes.add", args, who.name))


@router.delete("/{id}", status_code=204, responses=documented(*BEHIND_LOGIN, 404))
async def remove_mute(id: MuteId, deps: Deps, who: LoggedIn) -> None:  # noqa: A002 - as elsewhere
    """End a mute."""
    await deps.operations.call("mutes.remove", {"id": id}, who.name)
