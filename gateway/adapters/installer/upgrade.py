"""Another version in place of the present one; when it does not become ready, the old one again."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.adapters.installer.answers import Answers
from gateway.adapters.installer.earlier import Noted, look_at, noted
from gateway.adapters.installer.errors import InstallError, explain
from gateway.adapters.installer.files import PlaceFile
from gateway.adapters.installer.layout import BROKER, SERVICE, Layout
from gateway.adapters.installer.record import Record
from gateway.adapters.installer.releases import Releases, Source
from gateway.adapters.installer.services import ServiceManager, run
from gateway.adapters.installer.shipped import INTERNET, JOURNAL, LAN, Shipped
from gateway.adapters.installer.steps import Report, carry_out
from gateway.adapters.readiness import readyz
from gateway.adapters.store import backup as backups
from gateway.adapters.store import restore as restores
from gateway.domain.errors import GatewayError
from gateway.settings import Settings

READY_S = 60.0  # from READY of systemd to a gateway that takes readings
STEADY_S = 5.0  # a version that dies after its READY is no good either
LOOK_S = 0.5


class UpgradeFailedError(InstallError):
    """The new version is not in use; the message says why, and that the old one runs again."""


@dataclass(slots=True)
class Upgrade:
    """One change of version. `ready` tells whether the gateway takes readings now."""

    layout: Layout
    source: Source
    services: ServiceManager
    report: Report
    settings: Settings
    ready_s: float = READY_S
    _touched: list[PlaceFile] = field(default_factory=list, init=False)
    _releases: Releases = field(init=False)

    def __post_init__(self) -> None:
        """Look at the present installation."""
        self._releases = Releases(self.layout)

    @property
    def database(self) -> Path:
        """Where the readings are."""
        return self.layout.real(self.settings.storage.path)

    @property
    def _marker(self) -> Path:
        return self.layout.program / "upgrading.json"

    def run(self) -> None:
        """Do it. UpgradeFailedError once the old version is back, InstallError before that."""
        old = self._releases.current()
        if old is None:
            msg = f"nothing is installed in {self.layout.program}; use: wattwarden install"
            raise InstallError(msg)
        try:
            new = self._prepared()
        except OSError as error:
            raise explain(error) from error
        was_ready = self._ready()
        self.report("stop the gateway; meters keep their readings meanwhile")
        self.services.stop(SERVICE)
        copy: Path | None = None
        try:
            copy = self._copy(old)
            self._touched = self._files()
            self._mark(old, new, copy)
            self._switch(new, was_ready=was_ready)
        except BaseException as error:
            told = explain(error) if isinstance(error, OSError) else error
            self._back(old, new, copy, told)
            if isinstance(error, OSError | GatewayError):
                msg = f"{told}; version {old.name} runs again, and nothing was lost"
                raise UpgradeFailedError(msg) from error
            raise
        self._marker.unlink(missing_ok=True)
        self._releases.prune(old, new)

    def mend(self) -> bool:
        """Roll back an upgrade that the power ended half-way; True when there was one.

        One that had only to be called done is kept.
        """
        found = noted(self._marker)
        if found is None:
            self._marker.unlink(missing_ok=True)
            return False
        folder = self.layout.program / "releases"
        old, new = folder / found.old, folder / found.new
        if self.services.active(SERVICE) and self._ready():
            self._marker.unlink()
            return False
        self.report("an earlier upgrade was interrupted: going back")
        self._back(old, new, Path(found.copy), InstallError("interrupted"))
        return True

    def _prepared(self) -> Path:
        """Build the new release and have it read the settings; nothing is stopped for that."""
        self.report(f"install version {self.source.wheel.version} beside the present one")
        new = self._releases.build(self.source)
        config = str(self.layout.config)
        python = str(new / "bin" / "python")
        # -P: started in a checkout, it would try that one's code instead.
        done = run([python, "-P", "-m", "gateway.cli", "check-config", "--config", config])
        if done.returncode != 0:
            self._releases.remove(new)
            msg = (
                f"version {self.source.wheel.version} cannot use the settings: "
                f"{done.stderr.strip()[-400:]}; the present version goes on"
            )
            raise InstallError(msg)
        return new

    def _copy(self, old: Path) -> Path | None:
        """Copy the database while nobody writes it; only the newest such copy is kept."""
        database = self.database
        if not database.exists():
            return None
        copy = database.with_name(f"{database.name}.before-upgrade-from-{old.name}")
        self.report(f"copy the database to {copy}")
        for earlier in database.parent.glob(f"{database.name}.before-upgrade-from-*"):
            earlier.unlink()
        backups.backup(database, copy, lambda *_: None, replace=True)
        restores.own_as(copy, database)
        return copy

    def _switch(self, new: Path, *, was_ready: bool) -> None:
        carry_out(self._touched, self.report)
        self._releases.switch(new)
        self.services.reread()
        placed = [step.path for step in self._touched if step.placed]
        if self._of_broker(placed) and self.services.active(BROKER):
            self.services.restart(BROKER)
        self.report(f"start version {self.source.wheel.version}")
        self.services.start(SERVICE)
        self._wait(was_ready=was_ready)

    def _files(self) -> list[PlaceFile]:
        """Return the shipped files of those kinds that this installation has."""
        layout, record = self.layout, Record(self.layout)
        answers = Answers(lan=layout.real(LAN).exists(), internet=layout.real(INTERNET).exists())
        shipped = Shipped(layout, self.source.wheel, record)
        care = shipped.card_care() if layout.real(JOURNAL).exists() else []
        record.facts = {"version": self.source.wheel.version}
        keep = PlaceFile(layout.record, record.text)
        # The ACL is left alone: it also carries what was granted to single meters.
        renewal = shipped.renewal() if answers.lan else []
        return [
            shipped.sysusers(), *shipped.unit(answers), *shipped.broker(answers), *care, *renewal,
            keep,
        ]  # fmt: skip

    def _of_broker(self, paths: Iterable[Path]) -> bool:
        """Tell whether files of the broker are among these."""
        return any(path.is_relative_to(self.layout.broker_folder) for path in paths)

    def _wait(self, *, was_ready: bool) -> None:
        """Wait until the new version does what the old one did; UpgradeFailedError otherwise."""
        if not self.services.available():
            return
        began_s = time.monotonic()
        while True:
            time.sleep(LOOK_S)
            if not self.services.active(SERVICE):
                msg = f"version {self.source.wheel.version} ended soon after its start"
                raise UpgradeFailedError(msg)
            waited_s = time.monotonic() - began_s
            if waited_s > STEADY_S and (not was_ready or self._ready()):
                return
            if waited_s > self.ready_s:
                why = readyz(self.settings.web)[1]
                msg = (
                    f"version {self.source.wheel.version} was not ready within"
                    f" {self.ready_s:.0f} s: {why}"
                )
                raise UpgradeFailedError(msg)

    def _ready(self) -> bool:
        web = self.settings.web
        return web.enabled and bool(web.port) and readyz(web)[0]

    def _mark(self, old: Path, new: Path, copy: Path | None) -> None:
        """Note on disk how to go back, with the files as they are."""
        paths = [path for step in self._touched for path in step.targets()]
        Noted(old.name, new.name, str(copy or ""), look_at(paths)).write(self._marker)

    def _back(self, old: Path, new: Path, copy: Path | None, why: BaseException) -> None:
        """Have the old version run again, on the database as it can read it."""
        self.report(f"it failed ({why}); going back to {old.name}")
        self.services.stop(SERVICE)
        # From the disk, since after a power cut nothing else knows what the files were.
        found = noted(self._marker)
        changed = [] if found is None else found.put_back()
        self._releases.switch(old)
        self._old_schema(copy)
        self.services.reread()
        # Also one that the new version's files kept from running.
        if self._of_broker(changed) and self.services.enabled(BROKER):
            with contextlib.suppress(GatewayError):  # the gateway waits for it
                self.services.restart(BROKER)
        self.services.start(SERVICE)
        self._releases.remove(new)
        self._marker.unlink(missing_ok=True)

    def _old_schema(self, copy: Path | None) -> None:
        """Put the copy back only if the new version has changed the schema.

        Otherwise the old version can read what the new one has stored, and keeps it.
        """
        if copy is None or not copy.is_file():
            return
        with contextlib.suppress(GatewayError):  # a database that cannot be read is replaced too
            if backups.schema_of(copy) == backups.schema_of(self.database):
                return
        with restores.hold(self.database):
            aside = restores.restore(copy, self.database, lambda *_: None)
        self.report(f"the database is that of before; the new version's is {aside}")
