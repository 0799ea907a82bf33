"""Wires the pages and the API: they are loaded beside the running services, readings first."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from gateway.adapters.store.history import SqlHistory
from gateway.adapters.store.views import SqlViews
from gateway.pipeline.alert_book import Change
from gateway.services.stream import Hub
from gateway.services.stream_feed import StreamFeed
from gateway.settings import web_tls_context
from gateway.supervise import Stage
from gateway.wiring_home import add_site

if TYPE_CHECKING:
    from gateway.app import Parts
    from gateway.web.server import WebServer

log = structlog.get_logger()
LONGEST_CONNECT_S = 1.0  # where the broker is away, people want to be told so by the pages
FIRST_READINGS_S = 0.1  # from the connection to what the broker kept for us
LONGEST_BACKLOG_S = 3.0
LOOK_S = 0.02


class Web:
    """Loads the web server's code in a thread, then serves.

    That code takes a third of the start. Meters wait for acks with little memory, people for a
    page that comes a moment later: so what meters have kept goes first, for some seconds at most.
    """

    def __init__(self, parts: "Parts", settled: Callable[[], None]) -> None:
        """`settled` is called once all code is there. ConfigError when the TLS files are wrong."""
        self._parts = parts
        self._settled = settled
        self._tls = web_tls_context(parts.settings.web)
        self._hub = Hub()
        self._history = SqlHistory(parts.database, parts.settings.site.zone)
        self._made: tuple[WebServer, StreamFeed] | None = None
        self._loaded = asyncio.Event()

    def stages(self) -> list[Stage]:
        """Return the services: the server, and what feeds the open pages."""
        return [Stage("web", self._serve, self._stop), Stage("stream", self._feed)]

    async def _serve(self) -> None:
        if self._made is None:
            await self._readings_first()
            self._made = await asyncio.to_thread(self._make)
            _also_tell(self._parts, self._made[1])
            self._loaded.set()
            self._settled()
        await self._made[0].run()

    async def _feed(self) -> None:
        await self._loaded.wait()
        if self._made is not None:
            await self._made[1].run()

    async def _stop(self) -> None:
        self._hub.close()
        if self._made is not None:
            await self._made[0].stop()
        self._history.close()

    async def _readings_first(self) -> None:
        intake = self._parts.intake
        await _until(lambda: intake.connected, LONGEST_CONNECT_S)
        await asyncio.sleep(FIRST_READINGS_S)
        await _until(lambda: not (intake.backlog or self._unjudged()), LONGEST_BACKLOG_S)
        log.info("web_loading", waiting=intake.backlog + self._unjudged())

    def _unjudged(self) -> int:
        parts = self._parts
        return max(0, parts.intake.ledger.next_row - 1 - parts.deriver.judged_row)

    def _make(self) -> "tuple[WebServer, StreamFeed]":
        # Imported here: a gateway without web does not pay for it.
        from gateway.adapters.metrics import registry_of  # noqa: PLC0415
        from gateway.web.app import create_app  # noqa: PLC0415
        from gateway.web.deps import WebDeps  # noqa: PLC0415
        from gateway.web.server import WebServer  # noqa: PLC0415
        from gateway.web.static import PUSH_ORIGINS, app_directory, load_files  # noqa: PLC0415
        from gateway.web.stream import JsonShapes  # noqa: PLC0415

        parts = self._parts
        web, zone = parts.settings.web, parts.settings.site.zone
        views = SqlViews(
            parts.database,
            max_bytes=parts.settings.storage.max_bytes,
            latest=parts.deriver.latest.get,
            unjudged=self._unjudged,
        )
        add_site(parts, views)
        registry = registry_of(
            parts.intake, parts.deriver, parts.board, parts.clock.trusted, parts.models.care.counts
        )
        feed = StreamFeed(self._hub, views, parts.deriver.latest, JsonShapes())
        deps = WebDeps(
            parts.accounts, parts.tokens, parts.first_run, views, self._history, self._hub, feed,
            parts.operations, parts.runtime, parts.unready, registry, bound_host=web.host,
            zone=zone, uploads=parts.home.uploads, system=parts.home.system,
            app_calls=PUSH_ORIGINS if parts.settings.cloud.pushes_to_browsers else (),
        )  # fmt: skip
        app = create_app(deps, load_files(app_directory()))
        return WebServer(app, web.host, web.port, self._tls), feed


async def _until(true: Callable[[], bool], within_s: float) -> None:
    """Wait until something holds, or the time is over."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while not true() and loop.time() < until_s:  # noqa: ASYNC110 - of whatever it depends on
        await asyncio.sleep(LOOK_S)


def _also_tell(parts: "Parts", feed: StreamFeed) -> None:
    """Have the stream told of alerts too, and of what is gone."""
    desk = parts.deriver.desk
    other = desk.listener

    def tell(change: Change) -> None:
        feed.alert_changed(change.alert.id)
        if other is not None:
            other(change)

    desk.listener = tell
    parts.operations.when_removed(lambda _: feed.something_gone())
    parts.home.importing.when_undone(feed.something_gone)
