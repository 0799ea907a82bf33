"""HEAD for everything that has GET, OPTIONS that tells what is allowed, and 405 that does too."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.deps import API
from gateway.web.problems import problem

ENDLESS = frozenset({f"{API}/stream"})  # HEAD of what never ends would never end
Paths = Mapping[str, Mapping[str, Any]]


class Methods:
    """Answers by what the API's own description says of a path."""

    def __init__(self, app: ASGIApp, paths: Callable[[], Paths]) -> None:
        """`paths` gives the description's paths; it is asked once, at the first request."""
        self._app = app
        self._paths = paths
        self._known: list[tuple[re.Pattern[str], frozenset[str]]] | None = None

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
        if self._known is None:
            self._known = [
                (_pattern(template), _methods(template, operations))
                for template, operations in self._paths().items()
            ]
        fits = (methods for pattern, methods in self._known if pattern.fullmatch(path))
        return frozenset().union(*fits)


def _pattern(template: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in re.split(r"\{[a-z_]+\}", template))
    return re.compile("[^/]+".join(parts))


def _methods(template: str, operations: Mapping[str, Any]) -> frozenset[str]:
    named = {method.upper() for method in operations}
    if "GET" in named and template not in ENDLESS:
        named.add("HEAD")
    return frozenset(named | {"OPTIONS"})


def _bodiless(send: Send) -> Send:
    """Return a send that lets headers pass and sends no body (RFC 9110, 9.3.2)."""

    async def without(message: Message) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return without
