"""Wires the cloud and the archive, where they are switched on; nothing of Google without it."""

import asyncio
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple, Never

import structlog

from gateway import __version__
from gateway.adapters.clock import SystemClock
from gateway.adapters.store.archive import SqlArchiveFeed
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import Database
from gateway.domain.errors import ConfigError
from gateway.pipeline.alert_book import Change
from gateway.services.cloud_feed import DAY_MS, DueKind
from gateway.services.deriving import Deriver
from gateway.services.operations import Args, Operation, Operations, Result
from gateway.settings import Settings
from gateway.supervise import Board, Stage

if TYPE_CHECKING:
    from google.cloud.firestore import Client

    from cloud_sync.documents import GatewayState

log = structlog.get_logger()
MEGABYTE = 1_000_000
LEASES_LOOK_S = 5.0
CLOUD_KINDS = (DueKind.QUARTER, DueKind.DAY, DueKind.GAPS)


class House(NamedTuple):
    """What of the gateway the cloud needs."""

    settings: Settings
    database: Database
    clock: SystemClock
    deriver: Deriver
    board: Board
    operations: Operations


def cloud_stages(house: House) -> list[Stage]:
    """Return the services of the cloud and the archive; ConfigError where they cannot work."""
    settings, database, clock = house.settings, house.database, house.clock
    kinds: list[DueKind] = []
    stages: list[Stage] = []
    if settings.cloud.enabled:
        kinds += CLOUD_KINDS
        parts = CloudParts(house)
        house.operations.offer(parts.operations())
        stages += parts.stages()
    if settings.archive.enabled:
        kinds.append(DueKind.HOUR)
        stages.append(_archive_stage(settings, database, clock))
    _arm(settings, database, clock, kinds)
    return stages


def _arm(settings: Settings, database: Database, clock: SystemClock, kinds: list[DueKind]) -> None:
    """Have the store note from now on what is due; a database without any stays as it is."""
    from_ms = clock.wall_ms() - settings.cloud.backfill_days * DAY_MS
    SqlCloudFeed(database, settings.site.zone).arm_now(kinds, from_ms)


def _archive_stage(settings: Settings, database: Database, clock: SystemClock) -> Stage:
    from cloud_sync.archiver import Archiver, ChildWriter  # noqa: PLC0415 - only where it is on

    if settings.archive.bucket and not settings.cloud.project:
        msg = "archive.bucket: needs cloud.project and the cloud's credentials"
        raise ConfigError(msg)
    job: dict[str, object] = {"settings": settings.model_dump(mode="json")}
    writer = ChildWriter("gateway.archiving", job)
    wait_s = settings.archive.late_wait_s
    archiver = Archiver(SqlArchiveFeed(database), writer, clock, wait_s)
    return Stage("archive", archiver.run)


class CloudParts:
    """The parts that speak to Firebase, which is imported when the first call is made."""

    def __init__(self, gateway: House) -> None:
        """Raise ConfigError without a project, or with an emulator in a real home."""
        from cloud_sync.firebase_app import refuse_emulators  # noqa: PLC0415
        from cloud_sync.firestore import FirestoreCloud  # noqa: PLC0415
        from cloud_sync.governor import Governor, Limits  # noqa: PLC0415
        from cloud_sync.latest import Home, LatestSender  # noqa: PLC0415
        from cloud_sync.leases import FirestoreLeases, LeaseBook  # noqa: PLC0415
        from cloud_sync.planner import Planner  # noqa: PLC0415
        from cloud_sync.uploader import Uploader  # noqa: PLC0415

        settings, clock, deriver = gateway.settings, gateway.clock, gateway.deriver
        cloud, site = settings.cloud, settings.site
        refuse_emulators(os.environ, development=cloud.development)
        if not cloud.project:
            msg = "cloud.project: name the Firebase project, such as my-home-1234"
            raise ConfigError(msg)
        self._settings = settings
        self._board = gateway.board
        self._clock = clock
        self._desk = deriver.desk
        self._started_ms = clock.wall_ms()
        self._feed = feed = SqlCloudFeed(gateway.database, site.zone)
        self._cloud = FirestoreCloud(self._connect)
        governor = Governor(Limits(cloud.daily_writes, cloud.daily_megabytes * MEGABYTE))
        planner = Planner(feed, site.id, site.zone, clock, cloud.late_wait_s)
        self.uploader = Uploader(feed, self._cloud, planner, governor)
        book = LeaseBook()
        self._leases = FirestoreLeases(self._connect, site.id, book)
        home = Home(deriver.latest, book, self._state, self.reachable)
        self._latest = LatestSender(feed, self._cloud, planner, governor, home)

    def _connect(self) -> "Client":
        """Return a client of its own connection; called in threads."""
        from cloud_sync.firebase_app import (  # noqa: PLC0415 - imports Firebase
            credentials_of,
            firestore_client,
            open_app,
        )

        cloud, database = self._settings.cloud, self._settings.storage.path
        return firestore_client(open_app(cloud.project, credentials_of(cloud, database)))

    def reachable(self) -> bool:
        """Tell whether the cloud answered when it was last asked."""
        return self.uploader.state.word in ("running", "waiting")

    async def _state(self) -> "GatewayState":
        from cloud_sync.documents import GatewayState  # noqa: PLC0415 - only where it is on

        backlog = await self._feed.backlog()
        return GatewayState(
            version=__version__,
            timezone=self._settings.site.timezone,
            started_ms=self._started_ms,
            services={name: health.state for name, health in self._board.services.items()},
            meters={m.id: m.online for m in await self._feed.meters() if not m.removed},
            waiting=backlog.waiting,
            open_alerts=await self._feed.open_alerts(),
            clock_trusted=self._clock.trusted(),
        )

    def operations(self) -> dict[str, Operation]:
        """Return what people may ask of it."""
        return {"cloud.status": self._tell_status, "cloud.hurry": self._hurry}

    async def _tell_status(self, _: Args, __: str) -> Result:
        return asdict(self.uploader.state)

    async def _hurry(self, _: Args, __: str) -> Result:
        self.uploader.hurry()
        return asdict(self.uploader.state)

    async def drain(self) -> int:
        """Send all that is over now; return how many documents that were."""
        try:
            return await self.uploader.drain()
        finally:
            await self._cloud.close()

    def stages(self) -> list[Stage]:
        """Return the services; the desk wakes the uploader with every change."""
        other = self._desk.listener

        def tell(change: Change) -> None:
            self.uploader.wake.set()
            if other is not None:
                other(change)

        self._desk.listener = tell
        return [
            Stage("cloud", self.uploader.run, self._cloud.close),
            Stage("latest", self._latest.run),
            Stage("leases", self._watch_leases, self._end_leases),
        ]

    async def _watch_leases(self) -> Never:
        """Listen for viewers while the cloud is there."""
        while True:
            if self.reachable():
                try:
                    await asyncio.to_thread(self._leases.keep)
                except Exception as error:  # noqa: BLE001 - of a library; viewers can wait
                    log.warning("leases_not_watched", error=str(error))
            await asyncio.sleep(LEASES_LOOK_S)

    async def _end_leases(self) -> None:
        await asyncio.to_thread(self._leases.close)
