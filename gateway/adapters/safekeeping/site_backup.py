"""Make one file of a whole site, and put it back."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import __version__
from gateway.adapters.installer.errors import explain
from gateway.adapters.installer.files import Owner, PlaceFile
from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.steps import Report, carry_out
from gateway.adapters.safekeeping import archive
from gateway.adapters.safekeeping.archive import DATABASE, Entry, Manifest
from gateway.adapters.safekeeping.contents import allowed, site_files
from gateway.adapters.safekeeping.sealing import is_sealed
from gateway.adapters.store import backup as backups
from gateway.adapters.store import restore as restores
from gateway.domain.errors import BadInputError
from gateway.settings import Settings

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Site:
    """Which site: its layout, settings file and settings."""

    layout: Layout
    config: Path
    settings: Settings

    @property
    def database(self) -> Path:
        """Where the readings are."""
        return self.layout.real(self.settings.storage.path)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A backup laid out and proven; nothing of it is in use yet. `site` is the one in it."""

    manifest: Manifest
    files: dict[Path, tuple[Entry, Path]]
    database: Path | None
    site: Site


def is_site_backup(file: Path) -> bool:
    """Tell whether a file is a backup of a whole site, and not of a database alone."""
    try:
        with file.open("rb") as stream:
            return is_sealed(stream.read(32))
    except OSError:
        return False


def save(
    site: Site, target: Path, progress: backups.Progress, passphrase: str | None, *, replace: bool
) -> Manifest:
    """Write the whole site to `target`, mode 0600, whole or not at all; the daemon may run.

    BadInputError when `target` cannot be written, StorageError for a database that cannot be
    read or is damaged.
    """
    backups.refuse_target(site.database, target, replace=replace)
    copy = target.with_name(f".{target.name}.database")
    try:
        if site.database.exists():
            backups.backup(site.database, copy, progress, replace=True)
        return _settled(site, target, copy if copy.exists() else None, passphrase)
    finally:
        backups.remove_with_journals(copy)


def save_settings(site: Site, target: Path) -> Manifest:
    """Write settings, secrets and keys without the readings to `target`, mode 0600."""
    return _settled(site, target, None, None)


def _settled(site: Site, target: Path, copy: Path | None, passphrase: str | None) -> Manifest:
    part = target.with_name(f".{target.name}.part")
    try:
        manifest = _write(site, part, copy, passphrase)
        backups.settle(part, target)
    except OSError as error:
        raise explain(error) from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _write(site: Site, part: Path, copy: Path | None, passphrase: str | None) -> Manifest:
    files = site_files(site.layout, site.config, site.settings)
    entries = [archive.entry_of(path, site.layout.shown(path)) for path in files]
    if copy is not None:
        files.append(copy)
        entries.append(archive.entry_of(copy, DATABASE))
    manifest = Manifest(
        site.settings.site.id, __version__, time.time_ns() // 1_000_000,
        site.layout.shown(site.config), entries,
    )  # fmt: skip
    part.unlink(missing_ok=True)
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(number, "wb") as out:
        archive.write(out, manifest, files, passphrase)
    return manifest


@contextlib.contextmanager
def unpacked(
    file: Path, layout: Layout, config: Path, passphrase: str | None
) -> Iterator[Unpacked]:
    """Lay out a backup beside where it will go; removed again at the end of the `with` block.

    BadInputError when it is damaged, of another format, encrypted otherwise, or holds files that
    belong nowhere in a site; ConfigError when this version cannot use its settings.
    """
    beside = layout.state if layout.state.is_dir() else config.parent
    try:
        needed, free = file.stat().st_size, shutil.disk_usage(beside).free
        if free < 2 * needed:
            msg = f"{beside} has {free / 1e6:.0f} MB free, about {2 * needed / 1e6:.0f} are needed"
            raise BadInputError(msg)
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=beside) as made:
            with file.open("rb") as stream:
                manifest, files = archive.unpack(stream, Path(made), passphrase)
            yield _sorted_out(manifest, files, layout, config)
    except OSError as error:
        raise explain(error) from error


def _sorted_out(manifest: Manifest, files: list[Path], layout: Layout, config: Path) -> Unpacked:
    pairs = list(zip(manifest.entries, files, strict=True))
    settings_file = next((file for entry, file in pairs if entry.path == manifest.config), None)
    if settings_file is None:
        msg = "FILE: it holds no settings"
        raise BadInputError(msg)
    site = Site(layout, config, Settings.load(settings_file))
    placed: dict[Path, tuple[Entry, Path]] = {}
    database = None
    for entry, file in pairs:
        if entry.path == DATABASE:
            database = file
            continue
        path = config if entry.path == manifest.config else layout.real(entry.path)
        if not entry.path.startswith("/") or not allowed(layout, path, config, site.settings):
            msg = f"FILE: {entry.path} in it belongs to no site; nothing was changed"
            raise BadInputError(msg)
        placed[path] = (entry, file)
    return Unpacked(manifest, placed, database, site)


def put_back(found: Unpacked, progress: backups.Progress, report: Report) -> Path | None:
    """Put a laid-out backup in place; return where the present database now lies, if any.

    To be called while `restores.hold` holds the database. When anything fails, all files are as
    before. Raises InstallError or StorageError.
    """
    steps = [
        PlaceFile(path, file.read_bytes, entry.mode, _owner(entry))
        for path, (entry, file) in found.files.items()
    ]
    aside: list[Path | None] = []

    class Readings:
        """The last step: the database."""

        def pending(self) -> str | None:
            return None if found.database is None else f"restore {found.site.database}"

        def apply(self) -> None:
            if found.database is not None:
                aside.append(restores.restore(found.database, found.site.database, progress))

        def undo(self) -> None:
            """`restore` changes nothing when it fails."""

    carry_out([*steps, Readings()], report)
    return aside[0] if aside else None


def _owner(entry: Entry) -> Owner:
    return Owner(entry.user, entry.group) if os.geteuid() == 0 else Owner()
