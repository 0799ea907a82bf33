"""The site as a tree, and how each place of it is."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.services.site_state import NodeState
from gateway.services.site_tree import LONGEST_NAME, MOST_NODES, NodeKind
from gateway.web.deps import Deps, LoggedIn
from gateway.web.meters import METER_ID
from gateway.web.models import Body, ChannelKey, Text
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/site", tags=["site"])
NodeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class NodeIn(Body):
    """One place; `parent` null = a root, `meter` null = not measured itself."""

    id: NodeId
    name: Text = Field(min_length=1, max_length=LONGEST_NAME)
    kind: NodeKind
    parent: NodeId | None = None
    meter: Annotated[str, Field(pattern=METER_ID)] | None = None
    channel: ChannelKey | None = None


class TreeIn(Body):
    """The whole tree, and the version that was read."""

    nodes: list[NodeIn] = Field(max_length=MOST_NODES)
    version: int = Field(ge=0, le=2**53, strict=True)


class NodeOut(BaseModel):
    """One place as it was drawn."""

    id: str
    name: str
    kind: NodeKind
    parent: str | None
    meter: str | None
    channel: str | None


class TreeOut(BaseModel):
    """The whole tree; version 0 = nothing drawn yet."""

    nodes: list[NodeOut]
    version: int


class PlaceOut(BaseModel):
    """How one place is: W, and the oldest reading that went in."""

    id: str
    state: NodeState
    p_w: float | None
    children_p_w: float | None
    difference_w: float | None
    at_ms: int | None


class PlaceList(BaseModel):
    """Every place in the tree's order."""

    items: list[PlaceOut]
    next: None = None


@router.get("/tree", responses=documented(*BEHIND_LOGIN))
async def get_tree(deps: Deps, who: LoggedIn) -> TreeOut:
    """Give the tree."""
    return TreeOut.model_validate(await deps.operations.call("site.tree", {}, who.name))


@router.put("/tree", responses=documented(*BEHIND_LOGIN, 409))
async def draw_tree(body: TreeIn, deps: Deps, who: LoggedIn) -> TreeOut:
    """Replace the tree; 409 where somebody else has since it was read."""
    args = body.model_dump(mode="json")
    return TreeOut.model_validate(await deps.operations.call("site.draw", args, who.name))


@router.get("/state", responses=documented(*BEHIND_LOGIN))
async def get_state(deps: Deps, who: LoggedIn) -> PlaceList:
    """Tell each place's state, power, and what its children add up to."""
    return PlaceList.model_validate(await deps.operations.call("site.state", {}, who.name))
