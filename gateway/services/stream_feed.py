"""Put on the stream what changes while somebody watches: readings, meters' states, alerts."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.domain.errors import NotFoundError, StorageError, TransientError
from gateway.domain.readings import Stored
from gateway.services.stream import Hub
from gateway.services.views import LONGEST_PAGE, AlertView, MeterView, Views

EVERY_S = 1.0
STATES_EVERY_S = 2.0
METERS_A_SECOND = 100  # on many meters their states are looked at less often
LINGER_S = 120.0  # after the last viewer has gone, so that it may come back and resume
MOST_ALERTS = 1000  # changed within a turn; with more, viewers start anew


class Shapes(Protocol):
    """How events look to those who watch: one line of JSON each."""

    def reading(self, reading: Stored) -> bytes:
        """Show a meter's newest reading."""

    def state(self, view: MeterView) -> bytes:
        """Show a meter without its readings."""

    def alert(self, view: AlertView) -> bytes:
        """Show an alert."""


@dataclass(slots=True)
class _Seen:
    """What viewers have been told."""

    rows: dict[str, int] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    looked_s: float = 0.0


class StreamFeed:
    """The service; idle while nobody watches. At most one reading a meter and second."""

    def __init__(
        self, hub: Hub, views: Views, latest: Mapping[str, Stored], shapes: Shapes
    ) -> None:
        self._hub = hub
        self._views = views
        self._latest = latest
        self._shapes = shapes
        self._alerts: dict[str, None] = {}
        self._gone = False
        self._following = False
        self._seen = _Seen()

    def alert_changed(self, alert_id: str) -> None:
        """Note that an alert has another state on disk."""
        if self._following and len(self._alerts) <= MOST_ALERTS:
            self._alerts[alert_id] = None

    def something_gone(self) -> None:
        """Note that a meter or alerts are gone from the disk: viewers are to start anew."""
        self._gone = self._following

    async def run(self) -> None:
        """Feed until cancelled; TransientError when the disk fails."""
        try:
            while True:
                await self._hub.viewed()
                await self._follow()
        except StorageError as error:
            msg = f"the stream cannot be fed: {error}"
            raise TransientError(msg) from error
        finally:
            self._following = False

    async def snapshot(self) -> bytes:
        """Return everything as events, for who comes new: states, then newest readings.

        They carry the position before them, so that whoever follows from there misses nothing.
        """
        label = self._hub.label(self._hub.position)
        parts: list[bytes] = []
        readings: list[bytes] = []
        async for view in self._meters():
            parts.append(b"event: state\ndata: %s\n\n" % self._shapes.state(view))
            if view.last is not None:
                readings.append(b"event: reading\ndata: %s\n\n" % self._shapes.reading(view.last))
        parts += readings
        return b"".join(b"%s\n%s" % (label, part) for part in parts)

    async def _follow(self) -> None:
        """Publish what changes until nobody has watched for a while."""
        # The first turn tells everything: whoever woke us has looked a moment before.
        self._seen = _Seen()
        self._alerts.clear()
        self._gone = False
        self._following = True
        watched_s = time.monotonic()
        while (now_s := time.monotonic()) - watched_s < LINGER_S:
            if self._hub.viewers:
                watched_s = now_s
            await self._turn(now_s)
            await asyncio.sleep(EVERY_S)
        self._following = False
        self._hub.forget()

    async def _turn(self, now_s: float) -> None:
        before = self._hub.position
        self._look_at_readings()
        pause_s = max(STATES_EVERY_S, len(self._seen.states) / METERS_A_SECOND)
        if now_s - self._seen.looked_s >= pause_s:
            self._seen.looked_s = now_s
            await self._look_at_states()
        await self._look_at_alerts()
        if self._gone:  # what was published above may be gone since; who comes back is told all
            self._gone = False
            self._seen.states.clear()
            self._hub.forget()
        if self._hub.position > before:
            self._hub.wake()

    def _look_at_readings(self) -> None:
        rows = self._seen.rows
        for meter, reading in list(self._latest.items()):
            if rows.get(meter) != reading.row:
                rows[meter] = reading.row
                self._hub.publish("reading", meter, self._shapes.reading(reading))

    async def _look_at_states(self) -> None:
        states = self._seen.states
        async for view in self._meters():
            text = self._shapes.state(view)
            if states.get(view.info.id) != text:
                states[view.info.id] = text
                self._hub.publish("state", view.info.id, text)

    async def _look_at_alerts(self) -> None:
        if len(self._alerts) > MOST_ALERTS:
            self._alerts.clear()
            self._hub.forget()
            return
        waiting, self._alerts = list(self._alerts), {}
        for alert_id in waiting:
            try:
                view = await self._views.get_alert(alert_id)
            except NotFoundError:  # set aside with a damaged database
                continue
            self._hub.publish("alert", alert_id, self._shapes.alert(view))

    async def _meters(self) -> AsyncIterator[MeterView]:
        cursor: str | None = None
        while True:
            page = await self._views.list_meters(cursor, LONGEST_PAGE)
            for view in page.items:
                yield view
            if page.next is None:
                return
            cursor = page.next
