"""Nothing answers without a login unless named here; viewers change nothing."""

from functools import partial

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.services.accounts import Accounts, UserRole
from gateway.services.tokens import Tokens
from gateway.web.deps import API, COOKIE, Check
from gateway.web.hosts import is_loopback
from gateway.web.problems import CHALLENGE, problem
from gateway.web.shield import SAFE_METHODS

OPEN_PATHS = frozenset(
    {
        "/healthz", "/readyz", "/openapi.json", f"{API}/auth/login", f"{API}/setup",
        f"{API}/trust", "/trust/ca.crt", "/trust/qr.svg",
    }
)  # fmt: skip
OPEN_ON_LOOPBACK = frozenset({"/metrics"})
VIEWERS_MAY_POST = frozenset({f"{API}/auth/logout", f"{API}/auth/password", f"{API}/devices"})
VIEWERS_OWN = f"{API}/devices/"  # what is below belongs to the caller


class Gate:
    """Finds who calls by session cookie or token, before any route or body is looked at."""

    def __init__(self, app: ASGIApp, accounts: Accounts, tokens: Tokens) -> None:
        self._app = app
        self._accounts = accounts
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let open paths and logged-in callers pass; `state.caller` tells routes who it is."""
        path = scope["path"]
        if path in OPEN_PATHS or (path in OPEN_ON_LOOPBACK and _is_local(scope)):
            await self._app(scope, receive, send)
            return
        token, check = self._how(scope)
        caller = await check()
        if caller is None:
            refusal = problem(401, "log in first", headers=CHALLENGE)
            await refusal(scope, receive, send)
            return
        own = path in VIEWERS_MAY_POST or path.startswith(VIEWERS_OWN)
        changes = scope["method"] not in SAFE_METHODS and not own
        if changes and caller.role is UserRole.VIEWER:
            refusal = problem(403, "viewers may look but change nothing")
            await refusal(scope, receive, send)
            return
        state = {"caller": caller, "token": token, "check": check}
        scope["state"] = {**scope.get("state", {}), **state}
        await self._app(scope, receive, send)

    def _how(self, scope: Scope) -> tuple[str, Check]:
        """Return the secret a caller shows, and what tells whose it is.

        Who sends `Authorization` means it: a cookie beside it does not count.
        """
        request = Request(scope)
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            shown = token.strip() if scheme.lower() == "bearer" else ""
            return shown, partial(self._tokens.caller, shown)
        cookie = request.cookies.get(COOKIE, "")
        return cookie, partial(self._accounts.caller, cookie)


def _is_local(scope: Scope) -> bool:
    """Tell whether this machine itself asks, not a proxy on it for somebody else."""
    headers = Headers(scope=scope)
    proxied = any(name in headers for name in ("forwarded", "x-forwarded-for", "via"))
    client = scope.get("client")
    return client is not None and is_loopback(client[0]) and not proxied
