"""Request bodies: small, JSON, complete within seconds; but for tables, which stream in."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.deps import API
from gateway.web.problems import problem

LARGEST_BODY = 64 * 1024
LONGEST_READ_S = 10.0
UPLOAD_PATH = f"{API}/imports"
LARGEST_UPLOAD = 64 * 1024 * 1024
WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")  # the others are refused by their method
UPLOAD_SLACK = 64 * 1024  # for the parts' headers
LONGEST_PAUSE_S = 30.0  # between two pieces of an upload


class BodyLimit:
    """Reads a request's body in full, then lets the app have it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is too large (413), too slow (408) or not JSON (415)."""
        headers = Headers(scope=scope)
        if scope["path"] == UPLOAD_PATH and scope["method"] == "POST":
            await self._stream(scope, receive, send)
            return
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
        takes_json = scope["method"] in WITH_BODY and scope["path"] != UPLOAD_PATH
        if body and kind != "application/json" and takes_json:
            await problem(415, "bodies are application/json")(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a route read a table as it comes; it stops one that is too large or too slow."""
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        length = headers.get("content-length", "0")
        most = LARGEST_UPLOAD + UPLOAD_SLACK
        if kind != "multipart/form-data":
            await problem(415, "tables are sent as multipart/form-data")(scope, receive, send)
        elif not (length.isascii() and length.isdigit()) or int(length[:12]) > most:
            await _too_large(scope, receive, send, LARGEST_UPLOAD)
        else:
            await self._app(scope, _bounded(receive, most), send)


def _bounded(receive: Receive, most: int) -> Receive:
    """Return a receive that raises HTTPException beyond `most` bytes, or after a long pause."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        try:
            async with asyncio.timeout(LONGEST_PAUSE_S):
                message = await receive()
        except TimeoutError as error:
            close = {"Connection": "close"}
            raise HTTPException(408, "the body did not arrive in time", close) from error
        taken += len(message.get("body", b""))
        if taken > most:
            close = {"Connection": "close"}
            raise HTTPException(413, f"a table may have {LARGEST_UPLOAD} bytes", close)
        return message

    return bounded


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


async def _too_large(scope: Scope, receive: Receive, send: Send, most: int = LARGEST_BODY) -> None:
    refusal = problem(413, f"a body may have {most} bytes", headers={"Connection": "close"})
    await refusal(scope, receive, send)
