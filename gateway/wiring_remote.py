"""Wires commands from the cloud, where it is switched on."""

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.adapters.store.cloud_commands import SqlCommandLog
from gateway.adapters.store.database import Database
from gateway.services.operations import Operations
from gateway.services.placer import Now
from gateway.services.remote_commands import RemoteCommands
from gateway.settings import CloudSettings, Settings
from gateway.supervise import Stage

if TYPE_CHECKING:
    from google.cloud.firestore import Client


def remote_stages(
    settings: Settings, database: Database, operations: Operations, now: Now
) -> list[Stage]:
    """Return the service that does what people ask for from afar; none without cloud."""
    if not settings.cloud.enabled:
        return []
    from cloud_sync.command_box import FirestoreCommandBox  # noqa: PLC0415 - only with the cloud

    cloud, path = settings.cloud, settings.storage.path
    box = FirestoreCommandBox(lambda: _connect(cloud, path), settings.site.id)
    commands = RemoteCommands(box, SqlCommandLog(database), operations.call, now)
    return [Stage("commands", commands.run)]


def _connect(cloud: CloudSettings, database: Path) -> "Client":
    """Return a client of its own connection; called in threads, where Firebase is imported."""
    from cloud_sync.firebase_app import (  # noqa: PLC0415 - imports Firebase
        credentials_of,
        firestore_client,
        open_app,
    )

    return firestore_client(open_app(cloud.project, credentials_of(cloud, database)))
