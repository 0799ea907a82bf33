"""Request bodies: small, JSON, complete within seconds, and read before any route runs."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.problems import problem

LARGEST_BODY = 64 * 1024
LONGEST_READ_S = 10.0


class BodyLimit:
    """Reads a request's body in full, then lets the app have it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is too large (413), too slow (408) or not JSON (415)."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:12]) > LARGEST_BODY:
            await _too_large(scope, receive, send)
            return
        try:
            async with asyncio.timeout(LONGEST_READ_S):
                body = await _read(receive)
        except TimeoutError:
            late = problem(408, "the body did not arrive in time", headers={"Connection": "close"})
            await late(scope, receive, send)
            return
        if body is None:  # the client has gone
            return
        if len(body) > LARGEST_BODY:
            await _too_large(scope, receive, send)
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            await problem(415, "bodies are application/json")(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """Return the body, at most a chunk beyond the limit; None when the client disconnects."""
    body = bytearray()
    while len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body once, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _too_large(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = problem(413, f"a body may have {LARGEST_BODY} bytes", headers={"Connection": "close"})
    await refusal(scope, receive, send)
