"""Devices: the phones and browsers that alerts are pushed to. Everybody sees the own ones."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, Field

from gateway.services.accounts import UserRole
from gateway.services.notify.devices import LONGEST_NAME
from gateway.services.notify.ports import Platform
from gateway.web.deps import Deps, LoggedIn
from gateway.web.models import Body
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/devices", tags=["devices"])
DeviceId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
CHANGING = documented(*BEHIND_LOGIN, 404)


class NewDevice(Body):
    """A device as its app registers it; `token` comes from Firebase Cloud Messaging."""

    token: str = Field(pattern=r"^[A-Za-z0-9_:.\-]{8,1024}$", repr=False)
    platform: Platform
    name: str = Field(default="", max_length=LONGEST_NAME)
    language: str = Field(default="en", pattern="^(en|de|es|fr|pt)$")


class DeviceOut(BaseModel):
    """One device; of its token only the end is told. Times in Unix ms."""

    id: str
    user: str
    platform: Platform
    name: str
    language: str
    token_end: str
    created: int
    seen: int


class DeviceList(BaseModel):
    """Devices, oldest first."""

    items: list[DeviceOut]
    next: None = None


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_devices(
    deps: Deps,
    who: LoggedIn,
    all: Annotated[bool, Query()] = False,  # noqa: A002, FBT002 - a query flag
) -> DeviceList:
    """List the caller's devices; administrators may ask for everybody's."""
    if all and who.role is not UserRole.ADMIN:
        raise HTTPException(403, "only administrators see other people's devices")
    found = await deps.operations.call("devices.list", {"of": "all" if all else "own"}, who.name)
    return DeviceList.model_validate(found)


@router.post("", status_code=201, responses=documented(*BEHIND_LOGIN))
async def add_device(body: NewDevice, deps: Deps, who: LoggedIn) -> DeviceOut:
    """Register a device for pushes; its token again changes it and keeps its id."""
    made = await deps.operations.call("devices.add", body.model_dump(mode="json"), who.name)
    return DeviceOut.model_validate(made)


@router.delete("/{id}", status_code=204, responses=CHANGING)
async def remove_device(id: DeviceId, deps: Deps, who: LoggedIn) -> None:  # noqa: A002 - the path's name
    """Remove an own device; administrators may remove anybody's."""
    of = "all" if who.role is UserRole.ADMIN else "own"
    await deps.operations.call("devices.remove", {"id": id, "of": of}, who.name)
