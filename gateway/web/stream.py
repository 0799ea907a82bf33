"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.domain.readings import Stored
from gateway.services.stream import Hub
from gateway.services.stream_feed import StreamFeed
from gateway.services.views import AlertView, MeterView
from gateway.web.deps import Check, Deps, LoginCheck
from gateway.web.models import AlertOut, MeterOut, values_of
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(tags=["stream"])
HEARTBEAT_S = 15.0  # proxies and phones drop a connection that is silent for a minute
CHECK_S = 30.0  # a login that ended is noticed within this time
LONGEST_SEND_S = 30.0  # a client that takes nothing for so long is dropped
RETRY_MS = 3000
_encode = msgspec.json.Encoder().encode


class JsonShapes:
    """Satisfies `Shapes` with the API's own models."""

    def reading(self, reading: Stored) -> bytes:
        """Show a meter's newest reading, as `last` in `GET /meters/{id}`, and whose it is."""
        head = {"meter": reading.meter, "boot": reading.boot, "seq": reading.seq}
        return _encode({**head, **values_of(reading)})

    def state(self, view: MeterView) -> bytes:
        """Show a meter as in `GET /meters/{id}`, without its last reading."""
        return MeterOut.of(view).model_dump_json(exclude={"last"}).encode()

    def alert(self, view: AlertView) -> bytes:
        """Show an alert as in `GET /alerts/{id}`."""
        return AlertOut.of(view).model_dump_json().encode()


@router.get(
    "/stream",
    response_class=Response,
    responses=documented(*BEHIND_LOGIN)
    | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(
    deps: Deps,
    still_in: LoginCheck,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Follow readings, states and alerts as they change; resume with Last-Event-ID.

    A new viewer is sent every meter's state and newest reading first. `reset` says that what
    was missed is gone (the gateway restarted, or it was too long ago), or that a meter or alerts
    were removed; all states follow it.
    """
    return EventStream(deps.hub, deps.feed, still_in, last_event_id)


class EventStream(Response):
    """Writes a hub's events to one client until it goes, its login ends, or the hub closes."""

    media_type = "text/event-stream"

    def __init__(
        self, hub: Hub, feed: StreamFeed, still_in: Check, last_event_id: str | None
    ) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._feed = feed
        self._still_in = still_in
        self._seen = last_event_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Serve until somebody ends it; TooManyViewersError before anything is sent."""
        with self._hub.watching():
            writing = asyncio.ensure_future(self._write(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait([writing, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (writing, leaving):
                    task.cancel()
                await asyncio.wait([writing, leaving])
            if not writing.cancelled() and (error := writing.exception()) is not None:
                raise error

    async def _write(self, send: Send) -> None:
        async def bounded(message: Message) -> None:
            async with asyncio.timeout(LONGEST_SEND_S):
                await send(message)

        with suppress(TimeoutError):  # the kernel resets what takes nothing (see server.py)
            start: Message = {"type": "http.response.start", "status": 200}
            await bounded({**start, "headers": self.raw_headers})
            async for chunk in self._chunks():
                await bounded({"type": "http.response.body", "body": chunk, "more_body": True})
            await bounded({"type": "http.response.body", "body": b""})

    async def _chunks(self) -> AsyncIterator[bytes]:
        position = None if self._seen is None else self._hub.find(self._seen)
        yield b"retry: %d\n\n" % RETRY_MS
        if position is None:
            if self._seen is not None:
                yield _reset("restarted")
            position = self._hub.position
            yield await self._feed.snapshot()
        checked_s = time.monotonic()
        while not self._hub.closed:
            is_news = await self._hub.wait(position, HEARTBEAT_S)
            if time.monotonic() - checked_s >= CHECK_S:
                checked_s = time.monotonic()
                if await self._still_in() is None:
                    yield b"event: logout\ndata: {}\n\n"
                    return
            if not is_news:
                yield b": still here\n\n"
                continue
            newest = self._hub.position
            chunk = self._hub.take(position)
            if chunk is None:
                yield _reset("too_slow")
                newest = self._hub.position
                chunk = await self._feed.snapshot()
            position = newest
            yield chunk


def _reset(reason: str) -> bytes:
    return b'event: reset\ndata: {"reason":"%s"}\n\n' % reason.encode()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
