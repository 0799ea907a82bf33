"""Who may use the gateway: people, tokens of scripts, and what all of them did. For admins."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from gateway.services.accounts import UserRole
from gateway.services.tokens import MOST_DAYS, USUAL_DAYS
from gateway.services.views import LONGEST_PAGE
from gateway.web.deps import AdminOnly, Deps, caller_address
from gateway.web.models import Body, Me, Password
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(tags=["people"])
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"  # as services/accounts.py has it
Name = Annotated[str, Field(pattern=NAME)]
NameInPath = Annotated[str, Path(pattern=NAME)]
READING = documented(*BEHIND_LOGIN)
CHANGING = documented(*BEHIND_LOGIN, 404)


class NewUser(Body):
    """A person who may log in from now on."""

    name: Name
    role: UserRole
    password: Password


class NewPassword(Body):
    """A password in place of another."""

    password: Password


class NewToken(Body):
    """A token for a script, and for how long."""

    name: Name
    role: UserRole
    days: int = Field(default=USUAL_DAYS, ge=1, le=MOST_DAYS, strict=True)


class FirstUser(Body):
    """The first administrator, with the code that the machine printed."""

    code: str = Field(max_length=40, repr=False)
    username: Name
    password: Password


class UserOut(BaseModel):
    """One person; times in Unix ms."""

    name: str
    role: UserRole
    created: int
    changed: int


class UserList(BaseModel):
    """Everybody by name."""

    items: list[UserOut]
    next: None = None


class TokenOut(BaseModel):
    """One token without its secret; `seen` null = never used."""

    name: str
    role: UserRole
    created: int
    created_by: str
    expires: int
    seen: int | None


class TokenMade(TokenOut):
    """A new token: `token` is shown this once."""

    token: str


class TokenList(BaseModel):
    """All tokens by name."""

    items: list[TokenOut]
    next: None = None


class Did(BaseModel):
    """Who did what, and when."""

    at: int
    who: str
    what: str
    detail: str


class AuditList(BaseModel):
    """What was done, newest first; `next` is the cursor of the following page."""

    items: list[Did]
    next: str | None


class SetupOut(BaseModel):
    """Whether nobody may log in yet."""

    needed: bool


@router.get("/setup", responses=documented())
async def get_setup(deps: Deps) -> SetupOut:
    """Tell whether the first account is still to be made; no login needed."""
    return SetupOut(needed=await deps.first_run.needed())


@router.post("/setup", status_code=201, responses=documented(401, 403, 422, 429))
async def set_up(body: FirstUser, request: Request, deps: Deps) -> Me:
    """Make the first administrator with the code of `wattwarden users setup-code`."""
    address = caller_address(request)
    user = await deps.first_run.claim(body.code, body.username, body.password, address)
    return Me(username=user.name, role=user.role)


@router.get("/users", responses=READING)
async def list_users(deps: Deps, who: AdminOnly) -> UserList:
    """List the people who may log in."""
    return UserList.model_validate(await deps.operations.call("users.list", {}, who.name))


@router.post("/users", status_code=201, responses=READING)
async def add_user(body: NewUser, deps: Deps, who: AdminOnly) -> Me:
    """Let somebody log in."""
    args = body.model_dump(mode="json")
    await deps.operations.call("users.add", args, who.name)
    return Me(username=body.name, role=body.role)


@router.post("/users/{name}/password", status_code=204, responses=CHANGING)
async def set_password(name: NameInPath, body: NewPassword, deps: Deps, who: AdminOnly) -> None:
    """Set somebody's password; all of the person's sessions end."""
    args: dict[str, object] = {"name": name, "password": body.password}
    await deps.operations.call("users.passwd", args, who.name)


@router.delete("/users/{name}", status_code=204, responses=documented(*BEHIND_LOGIN, 404, 409))
async def remove_user(name: NameInPath, deps: Deps, who: AdminOnly) -> None:
    """Remove a person and end the person's sessions; the last administrator stays (409)."""
    await deps.operations.call("users.remove", {"name": name}, who.name)


@router.get("/tokens", responses=READING)
async def list_tokens(deps: Deps, who: AdminOnly) -> TokenList:
    """List the tokens of scripts."""
    return TokenList.model_validate(await deps.operations.call("tokens.list", {}, who.name))


@router.post("/tokens", status_code=201, responses=READING)
async def add_token(body: NewToken, deps: Deps, who: AdminOnly) -> TokenMade:
    """Make a token for a script; send it as `Authorization: Bearer …`."""
    made = await deps.operations.call("tokens.add", body.model_dump(mode="json"), who.name)
    return TokenMade.model_validate(made)


@router.delete("/tokens/{name}", status_code=204, responses=CHANGING)
async def remove_token(name: NameInPath, deps: Deps, who: AdminOnly) -> None:
    """Revoke a token at once."""
    await deps.operations.call("tokens.remove", {"name": name}, who.name)


@router.get("/audit", responses=READING)
async def audit(
    deps: Deps,
    who: AdminOnly,  # noqa: ARG001 - asked for its effect
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$")] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 50,
) -> AuditList:
    """List who did what, newest first; the newest 10,000 entries are kept."""
    before = None if cursor is None else int(cursor)
    found = await deps.accounts.audit_page(before, limit + 1)
    items = [Did(at=e.at_ms, who=e.who, what=e.what, detail=e.detail) for _, e in found[:limit]]
    return AuditList(items=items, next=str(found[limit - 1][0]) if len(found) > limit else None)
