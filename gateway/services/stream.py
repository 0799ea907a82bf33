"""What is new, for those who watch: a bounded ring of events that a reader can resume in.

Readers keep nothing but a position in the ring, so a slow one costs no memory: what it has
missed is thinned out to the newest of each kind, and one whose place is gone starts anew.
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple

from gateway.domain.errors import TransientError

RING = 4096  # events; at 50 meters a good minute
MOST_VIEWERS = 64  # of the web server's 100 connections, so that calls still get through
MOST_AT_ONCE = 500  # more than this is thinned out
EVENT_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})", re.ASCII)


class TooManyViewersError(TransientError):
    """As many people watch as the gateway serves; try again later."""


class Event(NamedTuple):
    """One event: `about` tells what it is the newest of, `text` is as it is sent."""

    number: int
    about: tuple[str, str]
    text: bytes


class Hub:
    """The ring. One event loop only; whoever publishes calls `wake` when a batch is complete."""

    def __init__(self, size: int = RING) -> None:
        self._ring: deque[Event] = deque(maxlen=size)
        self._epoch = secrets.token_hex(6)
        self._last = 0
        self._news = asyncio.Event()
        self._chunks: dict[int, bytes] = {}  # what readers at these positions are sent now
        self._come = asyncio.Event()
        self.viewers = 0
        self.closed = False

    @property
    def position(self) -> int:
        """Return the number of the newest event."""
        return self._last

    def publish(self, kind: str, key: str, data: bytes) -> None:
        """Add an event; `data` is one line of JSON."""
        self._last += 1
        text = b"%s\nevent: %s\ndata: %s\n\n" % (self.label(self._last), kind.encode(), data)
        self._ring.append(Event(self._last, (kind, key), text))

    def wake(self) -> None:
        """Let readers take what was published."""
        self._chunks.clear()
        self._news.set()
        self._news = asyncio.Event()

    def forget(self) -> None:
        """Drop everything: nobody can resume what was published before."""
        self._ring.clear()
        self._epoch = secrets.token_hex(6)
        self._last += 1
        self.wake()

    def close(self) -> None:
        """End all reading, for a shutdown."""
        self.closed = True
        self.wake()

    def label(self, number: int) -> bytes:
        """Return the id line of an event."""
        return f"id: {self._epoch}-{number}".encode()

    def find(self, last_event_id: str) -> int | None:
        """Return the position after an event that a reader has seen; None where it is gone."""
        found = EVENT_ID.fullmatch(last_event_id)
        if found is None or found[1] != self._epoch:
            return None
        number = int(found[2])
        return number if self._holds(number) else None

    def _holds(self, number: int) -> bool:
        oldest = self._ring[0].number if self._ring else self._last + 1
        return oldest - 1 <= number <= self._last

    def take(self, position: int) -> bytes | None:
        """Return all events after a position as they are sent; None when some are gone."""
        if not self._holds(position):
            return None
        chunk = self._chunks.get(position)
        if chunk is None:
            missed = self._last - position
            events = list(islice(reversed(self._ring), missed))[::-1]
            if len(events) > MOST_AT_ONCE:
                events = _thinned(events)
            chunk = self._chunks[position] = b"".join(event.text for event in events)
        return chunk

    async def wait(self, position: int, within_s: float) -> bool:
        """Wait for something after a position; return whether there is."""
        if self._last <= position and not self.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._news.wait()
        return self._last > position

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a viewer, or raise TooManyViewersError."""
        if self.viewers >= MOST_VIEWERS or self.closed:
            msg = f"{self.viewers} people watch already; try again later"
            raise TooManyViewersError(msg)
        self.viewers += 1
        self._come.set()
        try:
            yield
        finally:
            self.viewers -= 1

    async def viewed(self) -> None:
        """Wait until somebody watches."""
        while self.viewers == 0:
            self._come.clear()
            await self._come.wait()


def _thinned(events: list[Event]) -> list[Event]:
    """Return the newest event about each thing, in their order."""
    newest = {event.about: event.number for event in events}
    return [event for event in events if newest[event.about] == event.number]
