"""How alerts find people: which roads there are, and whether they work. Addresses stay secret."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.web.deps import AdminOnly, Deps, LoggedIn
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/notifications", tags=["notifications"])
PUSH = "push"


class RoadOut(BaseModel):
    """All targets of one kind: `push` is phones and browsers, others are apprise's schemes."""

    kind: str
    targets: int
    trouble: str | None


class RoadList(BaseModel):
    """The roads in use, and how many messages wait for one of them."""

    items: list[RoadOut]
    waiting: int
    next: None = None


class TestedOut(BaseModel):
    """What became of the test to one target; `reason` says who must act where it was not sent."""

    kind: str
    result: str
    reason: str


class TestedList(BaseModel):
    """Every target with its outcome."""

    items: list[TestedOut]
    next: None = None


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_roads(deps: Deps, who: LoggedIn) -> RoadList:
    """List the roads by which alerts are told."""
    found: dict[str, Any] = await deps.operations.call("notify.status", {}, who.name)
    roads = [
        RoadOut(kind=kind, targets=count, trouble=road["trouble"])
        for name, road in found["roads"].items()
        for kind, count in _kinds(name, road).items()
    ]
    return RoadList(items=roads, waiting=found["waiting"])


@router.post("/test", responses=documented(*BEHIND_LOGIN))
async def send_test(deps: Deps, who: AdminOnly) -> TestedList:
    """Send a test to every address and device."""
    found: dict[str, Any] = await deps.operations.call("notify.test", {}, who.name)
    await deps.accounts.note(who.name, "notifications.test", f"targets={len(found['items'])}")
    tested = [
        TestedOut(
            kind=_kind(item["road"], item["target"]), result=item["result"], reason=item["reason"]
        )
        for item in found["items"]
    ]
    return TestedList(items=tested)


def _kinds(road: str, status: dict[str, Any]) -> dict[str, int]:
    """Return how many targets of each kind a road has; pushes are told of also without any."""
    counts = {PUSH: 0} if road == PUSH else {}
    for target in status["ids"]:
        kind = _kind(road, target)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _kind(road: str, target: str) -> str:
    """Return a target's kind: an address's id begins with its scheme."""
    return PUSH if road == PUSH else target.rpartition("-")[0]
