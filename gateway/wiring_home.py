"""Wires what people set up around the meters: tariffs, mutes, the site's tree, imports, system."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.adapters.import_files import Upload, UploadFolder
from gateway.adapters.store.home import (
    SqlDocuments,
    SqlMutes,
    SqlTariffs,
    select_document,
    select_mutes,
)
from gateway.adapters.store.imports import SqlImports
from gateway.adapters.system import OwnSystem
from gateway.domain.errors import TransientError
from gateway.logs import configure
from gateway.pipeline.mutes import MuteBook
from gateway.services.accounts import Accounts
from gateway.services.import_feed import ImportFeed
from gateway.services.import_jobs import ImportJob
from gateway.services.importing import Importing
from gateway.services.live_settings import SETTINGS, LiveSettings
from gateway.services.muting import Muting
from gateway.services.sites import Sites
from gateway.services.tariffs import Tariffs
from gateway.services.views import Views
from gateway.settings import Settings
from gateway.supervise import Stage

if TYPE_CHECKING:
    from gateway.app import Parts

UPLOADS_AT_ONCE = 2


@dataclass(slots=True)
class UploadDesk:
    """Satisfies the web's `Uploads`."""

    importing: Importing
    folder: UploadFolder
    accounts: Accounts
    open: int = 0

    def begin(self) -> "Counted":
        """Begin an upload; TransientError where too many are under way."""
        if self.open >= UPLOADS_AT_ONCE:
            msg = "other tables are being uploaded; try again in a minute"
            raise TransientError(msg)
        upload = self.folder.begin()
        self.open += 1
        return Counted(self, upload)


@dataclass(slots=True)
class Counted:
    """An upload that makes room for another when it ends."""

    desk: UploadDesk
    upload: Upload

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self.upload.write(piece)

    def finish(self) -> None:
        """Have everything on the disk."""
        self.upload.finish()

    async def take(self, name: str, who: str) -> dict[str, object]:
        """Take it in, finished, under a file's name; return its import."""
        desk = self.desk

        def keep(job: ImportJob) -> None:
            desk.folder.keep(self.upload, job)

        made = await desk.importing.add(name, self.upload.size_bytes, keep, who)
        await desk.accounts.note(who, "imports.upload", f"id={made['id']} file={name}"[:300])
        return made

    def discard(self) -> None:
        """Forget it, whatever became of it."""
        self.desk.open -= 1
        self.upload.discard()


class Home:
    """The parts around the meters, built with the gateway."""

    def __init__(self, parts: "Parts") -> None:
        database, deriver, offered = parts.database, parts.deriver, parts.operations
        deriver.desk.mutes = MuteBook(database.read_now(select_mutes))
        tariffs = Tariffs(SqlTariffs(database))
        muting = Muting(SqlMutes(database), deriver.desk.mutes, deriver, parts.clock)
        live = LiveSettings(SqlDocuments(database), parts.settings, deriver, configure)
        kept = database.read_now(lambda db: select_document(db, SETTINGS))
        live.begin(None if kept is None else kept[1])
        self.folder = UploadFolder(database.path.with_name("imports"))
        self.importing = Importing(
            SqlImports(database), self.folder, ImportFeed(parts.intake, deriver), parts.clock,
            parts.settings.site.zone,
        )  # fmt: skip
        self.importing.register_with(
            lambda args, who: offered.call("meters.add", dict(args), who),
            lambda args, who: offered.call("meters.update", dict(args), who),
        )
        self.uploads = UploadDesk(self.importing, self.folder, parts.accounts)
        self.system = OwnSystem(database.path, ca_of(parts.settings))
        for part in (tariffs, muting, live, self.importing):
            offered.offer(part.reading())
            offered.offer_audited(part.changing())

    def stages(self) -> list[Stage]:
        """Return the services."""

        async def stop() -> None:
            self.folder.stop()

        return [Stage("imports", self.importing.run, stop)]


def add_site(parts: "Parts", views: Views) -> None:
    """Offer the operations that need what people see."""
    sites = Sites(SqlDocuments(parts.database), views, parts.deriver)
    parts.operations.offer(sites.reading())
    parts.operations.offer_audited(sites.changing())


def ca_of(settings: Settings) -> Path | None:
    """Return the site's CA: the installer's, else the one that the broker is reached by."""
    return next(
        (path for path in (settings.kit.ca_file, settings.mqtt.ca_file) if path and path.exists()),
        None,
    )
