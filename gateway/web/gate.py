"""Nothing answers without a login unless named here; viewers change nothing."""

from functools import partial

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.services.accounts import Accounts, UserRole
from gateway.web.deps import API, COOKIE
from gateway.web.hosts import is_loopback
from gateway.web.problems import CHALLENGE, problem
from gateway.web.shield import SAFE_METHODS

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", f"{API}/auth/login"})
OPEN_ON_LOOPBACK = frozenset({"/metrics"})
VIEWERS_MAY_POST = frozenset({f"{API}/auth/logout"})


class Gate:
    """Finds who calls by the session cookie, before any route or body is looked at."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let open paths and logged-in callers pass; `state.caller` tells routes who it is."""
        path = scope["path"]
        if path in OPEN_PATHS or (path in OPEN_ON_LOOPBACK and _is_local(scope)):
            await self._app(scope, receive, send)
            return
        token = Request(scope).cookies.get(COOKIE)
        caller = await self._accounts.caller(token) if token else None
        if token is None or caller is None:
            refusal = problem(401, "log in first", headers=CHALLENGE)
            await refusal(scope, receive, send)
            return
        changes = scope["method"] not in SAFE_METHODS and path not in VIEWERS_MAY_POST
        if changes and caller.role is UserRole.VIEWER:
            refusal = problem(403, "viewers may look but change nothing")
            await refusal(scope, receive, send)
            return
        check = partial(self._accounts.caller, token)
        scope["state"] = {
            **scope.get("state", {}), "caller": caller, "token": token, "check": check,
        }  # fmt: skip
        await self._app(scope, receive, send)


def _is_local(scope: Scope) -> bool:
    """Tell whether this machine itself asks, not a proxy on it for somebody else."""
    headers = Headers(scope=scope)
    proxied = any(name in headers for name in ("forwarded", "x-forwarded-for", "via"))
    client = scope.get("client")
    return client is not None and is_loopback(client[0]) and not proxied
