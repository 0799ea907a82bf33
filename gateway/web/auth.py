"""Log in, log out, who am I, and the own password."""

from fastapi import APIRouter, HTTPException, Request, Response

from gateway.services.accounts import SESSION_LIMIT_MS
from gateway.web.deps import COOKIE, Deps, LoggedIn, Token, caller_address
from gateway.web.models import Login, Me, OwnPassword
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/login", responses=documented(401, 403, 422, 429))
async def login(body: Login, request: Request, response: Response, deps: Deps) -> Me:
    """Open a session: its cookie is new at every login, and what it replaces ends."""
    address = caller_address(request)
    token, caller = await deps.accounts.login(body.username, body.password, address)
    old = request.cookies.get(COOKIE)
    if old:
        await deps.accounts.logout(old, caller.name)
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_LIMIT_MS // 1000,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return Me.of(caller)


@router.post("/logout", status_code=204, responses=documented(*BEHIND_LOGIN))
async def logout(
    request: Request, response: Response, deps: Deps, who: LoggedIn, token: Token
) -> None:
    """End this session."""
    await deps.accounts.logout(token, who.name)
    response.delete_cookie(
        COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )


@router.post("/password", status_code=204, responses=documented(*BEHIND_LOGIN, 429))
async def change_password(
    body: OwnPassword, request: Request, deps: Deps, who: LoggedIn, token: Token
) -> None:
    """Change the own password: this session goes on, the person's others end.

    Wrong old passwords count as at the login. Tokens have no password (403).
    """
    if request.headers.get("authorization") is not None:
        raise HTTPException(403, "only a person who has logged in has a password to change")
    passwords, address = (body.old, body.new), caller_address(request)
    await deps.accounts.change(who.name, passwords, token, address)


@router.get("/me", responses=documented(*BEHIND_LOGIN))
async def me(who: LoggedIn) -> Me:
    """Tell who is logged in."""
    return Me.of(who)
