"""HEAD for everything that has GET, OPTIONS that tells what is allowed, and 405 that does too."""

import re
from collections.abc import Iterable, Mapping

from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.deps import API
from gateway.web.problems import problem

ENDLESS = frozenset({f"{API}/stream"})  # HEAD of what never ends would never end
Paths = Mapping[str, frozenset[str]]  # template -> methods


def paths_of(routes: Iterable[BaseRoute], prefix: str = "") -> Paths:
    """Return what a router's routes answer."""
    found: dict[str, frozenset[str]] = {}
    for route in routes:
        if isinstance(route, APIRoute):
            template = prefix + route.path
            found[template] = found.get(template, frozenset()) | (route.methods or set())
    return found


class Methods:
    """Answers by what the API's routes say of a path."""

    def __init__(self, app: ASGIApp, paths: Paths) -> None:
        self._app = app
        self._known = [
            (_pattern(template), _methods(template, named)) for template, named in paths.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path, method = scope["path"], scope["method"]
        allowed = self._allowed(path)
        if not allowed:  # 404 is the router's to say
            await self._app(scope, receive, send)
            return
        allow = {"Allow": ", ".join(sorted(allowed))}
        if method not in allowed:
            refusal = problem(405, f"{method[:20]} is not allowed here", headers=allow)
            await refusal(scope, receive, send)
        elif method == "OPTIONS":
            await Response(status_code=204, headers=allow)(scope, receive, send)
        elif method == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _bodiless(send))
        else:
            await self._app(scope, receive, send)

    def _allowed(self, path: str) -> frozenset[str]:
        fits = (methods for pattern, methods in self._known if pattern.fullmatch(path))
        return frozenset().union(*fits)


def _pattern(template: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in re.split(r"\{[a-z_]+\}", template))
    return re.compile("[^/]+".join(parts))


def _methods(template: str, named: frozenset[str]) -> frozenset[str]:
    head = {"HEAD"} if "GET" in named and template not in ENDLESS else set()
    return frozenset(named | head | {"OPTIONS"})


def _bodiless(send: Send) -> Send:
    """Return a send that lets headers pass and sends no body (RFC 9110, 9.3.2)."""

    async def without(message: Message) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return without
