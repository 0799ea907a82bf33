"""Commands to meters: what the command line and the app may have them do."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from gateway.services.accounts import Caller, UserRole
from gateway.services.command_forms import MOST_TTL_MS, USUAL_TTL_MS
from gateway.web.deps import Deps, LoggedIn
from gateway.web.meters import MeterId
from gateway.web.models import Body
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/meters", tags=["meters"])
FOR_OPERATORS = frozenset({"identify", "report"})
Kind = Literal["identify", "report", "relay", "reboot", "wifi", "calibrate"]


class Command(Body):
    """What a meter shall do. The same `command_id` again does it no second time."""

    kind: Kind
    args: dict[str, Any] = Field(default_factory=dict, repr=False)
    ttl_ms: int = Field(default=USUAL_TTL_MS, ge=1, le=MOST_TTL_MS, strict=True)
    command_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None


class CommandAnswer(BaseModel):
    """What the meter answered; `error` says why it did not do it."""

    ok: bool
    error: str | None
    data: dict[str, Any]


@router.post("/{id}/commands", responses=documented(*BEHIND_LOGIN, 404, 409))
async def command_meter(id: MeterId, body: Command, deps: Deps, who: LoggedIn) -> CommandAnswer:  # noqa: A002 - the contract's name
    """Have a meter do something: identify and report for operators, all else for administrators."""
    _check_role(body.kind, who)
    args: dict[str, object] = {"id": id, "kind": body.kind, "args": body.args}
    args["ttl_ms"] = body.ttl_ms
    if body.command_id is not None:
        args["command_id"] = body.command_id
    done = await deps.operations.call("meters.command", args, who.name)
    return CommandAnswer.model_validate(done)


def _check_role(kind: str, who: Caller) -> None:
    if kind not in FOR_OPERATORS and who.role is not UserRole.ADMIN:
        raise HTTPException(403, f"only administrators may have a meter do this: {kind}")
