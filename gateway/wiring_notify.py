"""Wires how people are told of alerts: devices, roads, and the service that uses them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.adapters.apprise_road import NAME, AppriseRoad, read_addresses
from gateway.adapters.store.database import Database
from gateway.adapters.store.notices import SqlDevices, SqlNotices
from gateway.pipeline.alert_book import Change
from gateway.services.alert_desk import AlertDesk
from gateway.services.notify.checks import notify_operations
from gateway.services.notify.delivery import Delivery
from gateway.services.notify.devices import Devices, device_operations
from gateway.services.notify.notifier import Notifier
from gateway.services.notify.planning import QuietHours
from gateway.services.notify.ports import PUSH, DeviceStore, Road
from gateway.services.notify.web_push import web_push_operations
from gateway.services.notify.wording import Wording
from gateway.services.operations import Operations
from gateway.services.placer import Now
from gateway.settings import CloudSettings, Settings
from gateway.supervise import Stage

if TYPE_CHECKING:
    import firebase_admin

    from cloud_sync.push import FcmRoad


class Notifying:
    """The parts that tell people; `offer` and `stage` put them into the gateway."""

    def __init__(self, settings: Settings, database: Database, now: Now) -> None:
        """Raise ConfigError where the file of addresses cannot be used."""
        notify, zone = settings.notify, settings.site.zone
        store, devices = SqlNotices(database), SqlDevices(database)
        self.devices = Devices(devices)
        self._push = _push_road(settings, devices)
        self._apprise = _apprise_road(settings)
        self._roads: dict[str, Road] = {}
        if self._push is not None:
            self._roads[PUSH] = self._push
        if self._apprise is not None:
            self._roads[NAME] = self._apprise
        delivery = Delivery(store, self._roads, Wording(settings.site.id, zone), now)
        quiet = QuietHours.of(notify, zone)
        self.notifier = Notifier(store, self._roads, delivery, notify, now, quiet)
        self._operations = device_operations(self.devices)
        self._operations |= notify_operations(store, self._roads, delivery, now)
        self._operations |= web_push_operations(settings.cloud)

    def offer(self, operations: Operations) -> None:
        """Offer what people may ask of it."""
        operations.offer(self._operations)

    def stage(self, desk: AlertDesk) -> Stage:
        """Return the service, which the desk wakes with every change."""
        other = desk.listener

        def tell(change: Change) -> None:
            self.notifier.notify()
            if other is not None:
                other(change)

        desk.listener = tell
        return Stage("notify", self._run, self.close)

    async def _run(self) -> None:
        """Run the service, with Firebase imported beside it before an alert needs it."""
        if self._push is None:
            await self.notifier.run()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._push.warm(), name="push-warm")
            await self.notifier.run()

    async def close(self) -> None:
        """Give up what is under way; it is kept as waiting."""
        await self.notifier.delivery.close()
        if self._push is not None:
            await self._push.close()


def _push_road(settings: Settings, devices: DeviceStore) -> "FcmRoad | None":
    """Return the road to phones where the cloud is on; Firebase itself is imported later."""
    if not settings.cloud.enabled:
        return None
    from cloud_sync.identity import has_account  # noqa: PLC0415 - not without cloud
    from cloud_sync.push import FcmRoad  # noqa: PLC0415 - as above

    cloud, database = settings.cloud, settings.storage.path
    # Google takes pushes from service accounts alone; the function `push` has one.
    door = "" if has_account(cloud) else cloud.functions_url.rstrip("/")
    return FcmRoad(devices, lambda: _open_app(cloud, database), f"{door}/push" if door else "")


def _open_app(cloud: CloudSettings, database: Path) -> "firebase_admin.App":
    from cloud_sync.firebase_app import credentials_of, open_app  # noqa: PLC0415 - imports Firebase

    return open_app(cloud.project, credentials_of(cloud, database))


def _apprise_road(settings: Settings) -> AppriseRoad | None:
    path = settings.notify.urls_file
    if path is None:
        return None
    return AppriseRoad(read_addresses(path), settings.notify.language)
