"""What the web needs from the rest of the gateway, handed in by whoever builds the app."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo

from fastapi import Depends, HTTPException, Request
from prometheus_client import CollectorRegistry

from gateway.services.accounts import Accounts, Caller, UserRole, wall_ms
from gateway.services.energy import EnergyStore
from gateway.services.first_run import FirstRun
from gateway.services.series import SeriesStore
from gateway.services.stream import Hub
from gateway.services.stream_feed import StreamFeed
from gateway.services.tokens import Tokens
from gateway.services.views import Operations, RuntimeView, Views
from gateway.web.ports import System, Uploads

UTC = ZoneInfo("UTC")
COOKIE = "wattwarden_session"
API = "/api/v1"
Check = Callable[[], Awaitable[Caller | None]]


class History(SeriesStore, EnergyStore, Protocol):
    """What meters measured and used."""


@dataclass(frozen=True, slots=True)
class WebDeps:
    """Ports and settings of one app.

    `unready` returns why each service that is not ready is not, so empty means ready.
    `bound_host` and `allowed_hosts` are names browsers may call us by, beside loopback names,
    *.local and plain addresses; an entry may begin with `*.`. `app_calls` are the origins that
    the app in a browser may call beside ours.
    """

    accounts: Accounts
    tokens: Tokens
    first_run: FirstRun
    views: Views
    history: History
    hub: Hub
    feed: StreamFeed
    operations: Operations
    runtime: Callable[[], RuntimeView]
    unready: Callable[[], Mapping[str, str]]
    registry: CollectorRegistry
    bound_host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    zone: ZoneInfo = UTC  # the site's
    now_ms: Callable[[], int] = wall_ms
    app_calls: tuple[str, ...] = ()
    uploads: Uploads | None = None
    system: System | None = None


async def _deps(request: Request) -> WebDeps:
    deps: WebDeps = request.app.state.deps
    return deps


async def _caller(request: Request) -> Caller:
    """Return who the gate let in; a route without the gate before it fails here."""
    caller: Caller = request.state.caller
    return caller


async def _token(request: Request) -> str:
    token: str = request.state.token
    return token


async def _check(request: Request) -> Check:
    """Return what tells who calls, once more, for answers that last."""
    check: Check = request.state.check
    return check


async def _admin(request: Request) -> Caller:
    """Return who calls, an administrator, or refuse."""
    caller = await _caller(request)
    if caller.role is not UserRole.ADMIN:
        raise HTTPException(403, "only administrators may do this")
    return caller


def caller_address(request: Request) -> str:
    """Return the address a request comes from."""
    return request.client.host if request.client else "unknown"


Deps = Annotated[WebDeps, Depends(_deps)]
LoggedIn = Annotated[Caller, Depends(_caller)]
Token = Annotated[str, Depends(_token)]
LoginCheck = Annotated[Check, Depends(_check)]
AdminOnly = Annotated[Caller, Depends(_admin)]
