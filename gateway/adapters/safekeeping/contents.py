"""What belongs to a site besides its readings: settings, secrets, keys, broker accounts."""

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.adapters.installer.layout import Layout
from gateway.settings import Settings

LARGEST = 50_000_000  # of a single file; readings are in the database, nothing else is large
# Beside the database, but no part of what is worth keeping.
PASSING = re.compile(r"\.(lock|sock|part|db-wal|db-shm|damaged.*|before-.*|restoring.*|parquet)$")
PASSING_FOLDER = Path("/run")  # gone at the next boot, such as what systemd hands out


def site_files(layout: Layout, config: Path, settings: Settings) -> list[Path]:
    """Return the files to keep, sorted; those that are not there are left out.

    An installation's own folders belong to it only where `config` is the installed one.
    """
    found = {config, *_beside(layout.real(settings.storage.path))}
    found |= {layout.real(path) for path in named_files(settings)}
    if config.resolve() == layout.config.resolve():
        found |= set(_installed(layout))
    return sorted(path for path in found if _worth_keeping(path))


def named_files(settings: Settings) -> Iterator[Path]:
    """Yield every file that the settings name and that outlives a boot."""
    for section in settings.model_dump().values():
        for key, value in section.items():
            if not isinstance(value, Path) or key == "path":  # the database is saved otherwise
                continue
            if not value.is_relative_to(PASSING_FOLDER):
                yield value


def allowed(layout: Layout, path: Path, config: Path, settings: Settings) -> bool:
    """Tell whether a backup may write here: a place of a site, and no other."""
    if ".." in path.parts:
        return False
    folders = (
        layout.settings_folder, layout.unit_extras, layout.real(settings.storage.path).parent,
    )  # fmt: skip
    if path == config or any(path.is_relative_to(folder) for folder in folders):
        return True
    if path in {layout.real(named) for named in named_files(settings)}:
        return True
    ours = (layout.broker_folder, layout.broker_folder / "certs", layout.credstore)
    return path.parent in ours and path.name.startswith("wattwarden")


def _beside(database: Path) -> Iterator[Path]:
    """Yield what the daemon keeps beside its database, such as the site's key."""
    if database.parent.is_dir():
        for path in database.parent.rglob("*"):
            if path.name != database.name and not PASSING.search(path.name):
                yield path


def _installed(layout: Layout) -> Iterator[Path]:
    yield from layout.settings_folder.rglob("*")
    yield from layout.broker_folder.glob("wattwarden.*")
    yield from layout.broker_folder.glob("certs/wattwarden-*")
    yield from layout.credstore.glob("wattwarden.*")
    yield from layout.unit_extras.glob("*.conf")


def _worth_keeping(path: Path) -> bool:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > LARGEST:
        return False
    with path.open("rb") as stream:
        # Copies of databases, and backups: they would only make each other larger.
        return not stream.read(20).startswith((b"SQLite format 3", b"WATTWARDEN-BACKUP"))
