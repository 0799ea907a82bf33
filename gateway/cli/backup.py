"""`wattwarden backup` and `wattwarden restore`: a database alone, or a whole site."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.adapters.installer.layout import BROKER, SERVICE, Layout
from gateway.adapters.installer.services import manager_of
from gateway.adapters.safekeeping.sealing import check_passphrase, is_encrypted
from gateway.adapters.safekeeping.site_backup import (
    Site,
    Unpacked,
    is_site_backup,
    put_back,
    save,
    save_settings,
    unpacked,
)
from gateway.adapters.store import backup as backups
from gateway.adapters.store import restore as restores
from gateway.cli.options import config_option, example
from gateway.cli.tables import moment
from gateway.domain.errors import AlreadyRunningError, BadInputError
from gateway.settings import DEFAULT_CONFIG, Settings, read_secret

file_argument = click.argument("file", type=click.Path(path_type=Path))
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Encrypt with, or open by, the passphrase in this file's first line (mode 0600).",
)
root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, resolve_path=True),
    default="/",
    envvar="DESTDIR",
    hidden=True,
    help="Below which folder the site lies [DESTDIR].",
)


@click.command(
    epilog=example(
        "wattwarden backup /var/lib/wattwarden/backup.db",
        "sudo wattwarden backup --everything /media/stick/home.wattwarden --encrypt",
    )
)
@file_argument
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--everything", is_flag=True, help="Also settings, passwords, keys and certificates.")
@click.option("--encrypt", is_flag=True, help="With --everything: ask for a passphrase.")
@passphrase_option
@root_option
@config_option
def backup(  # noqa: PLR0913 - one parameter an option
    *, file: Path, config: Path, root: Path, passphrase_file: Path | None, force: bool,
    everything: bool, encrypt: bool,
) -> None:  # fmt: skip
    """Copy the database to FILE, or with --everything the whole site, while the daemon runs.

    The copy is checked before it gets its name; only its owner may read it, since it holds
    password hashes, and with --everything keys and passwords. With the latter `restore` makes a
    new card what the old one was. Without the passphrase an encrypted file is lost.
    """
    config = _below(root, config)
    settings = Settings.load(config)
    if not everything:
        if encrypt or passphrase_file is not None:
            msg = "--encrypt, --passphrase-file: belong to --everything"
            raise BadInputError(msg)
        with _bar("Copying") as progress:
            size = backups.backup(settings.storage.path, file, progress, replace=force)
        click.echo(f"{file}: {size / 1e6:.1f} MB, checked")
        return
    passphrase = _passphrase(passphrase_file, ask=encrypt, twice=True)
    with _bar("Copying") as progress:
        made = save(Site(Layout(root), config, settings), file, progress, passphrase, replace=force)
    kind = "encrypted" if passphrase else "not encrypted: keep it where nobody else reads it"
    click.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {len(made.entries)} files, {kind}")


@click.command(
    epilog=example(
        "systemctl stop wattwarden",
        "wattwarden restore /var/lib/wattwarden/backup.db",
        "systemctl start wattwarden",
    )
)
@file_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@passphrase_option
@root_option
@config_option
def restore(
    *, file: Path, config: Path, root: Path, passphrase_file: Path | None, yes: bool
) -> None:
    """Put a backup in the database's or the site's place. The daemon must be stopped.

    The present database is kept beside it, so that this can be undone. A backup of the whole
    site (`backup --everything`) also replaces settings, passwords, keys and certificates; those
    before it are kept in a backup of their own.
    """
    config = _below(root, config)
    if is_site_backup(file):
        _restore_site(file, Layout(root), config, passphrase_file, yes=yes)
        return
    settings = Settings.load(config)
    database = settings.storage.path
    _need_someone(f"it replaces {database}", yes=yes)
    with restores.hold(database):
        content = restores.examine(file)
        newest = moment(content.newest_ms, settings.site.zone)
        click.echo(f"{file}: {content.meters} meters, newest reading of {newest}", err=True)
        if not yes:
            click.confirm(f"Replace {database} by it?", abort=True, err=True)
        with _bar("Restoring") as progress:
            aside = restores.restore(file, database, progress)
    click.echo(f"{database} is restored; start the daemon: systemctl start wattwarden")
    _tell_aside(aside)


def _restore_site(
    file: Path, layout: Layout, config: Path, passphrase_file: Path | None, *, yes: bool
) -> None:
    _need_someone("it replaces settings, keys and readings", yes=yes)
    services = manager_of(layout)
    if services.active(SERVICE):
        msg = "the gateway runs; first: systemctl stop wattwarden"
        raise AlreadyRunningError(msg)
    asking = is_encrypted(file) and sys.stdin.isatty()
    passphrase = _passphrase(passphrase_file, ask=asking, twice=False)
    with unpacked(file, layout, config, passphrase) as found, restores.hold(found.site.database):
        click.echo(_described(found, file), err=True)
        if not yes:
            click.confirm("Replace this site by it?", abort=True, err=True)
        before = _keep_present(found.site)
        with _bar("Restoring") as progress:
            aside = put_back(found, progress, lambda _: None)
    click.echo(f"site {found.manifest.site} is restored: {len(found.files)} files and its readings")
    if before is not None:
        click.echo(f"settings and keys before it are in {before}")
    _tell_aside(aside)
    if services.available():
        services.reread()  # drop-ins of the unit may have come back
        services.restart(BROKER)
    click.echo("start the daemon: systemctl start wattwarden")


def _described(found: Unpacked, file: Path) -> str:
    zone, manifest = found.site.settings.site.zone, found.manifest
    said = f"{file}: site {manifest.site}, of {moment(manifest.made_ms, zone)}"
    if found.database is None:
        return f"{said}, without readings"
    content = restores.examine(found.database)
    newest = moment(content.newest_ms, zone)
    return f"{said}, {content.meters} meters, newest reading of {newest}"


def _keep_present(site: Site) -> Path | None:
    """Save the present settings and keys beside the database; readings are kept by `restore`."""
    if not site.config.exists():
        return None
    settings = Settings.load(site.config)
    target = site.database.with_name(f"{site.database.name}.before-restore.wattwarden")
    present = Site(site.layout, site.config, settings)
    save_settings(present, target)
    return target


def _tell_aside(aside: Path | None) -> None:
    if aside is not None:
        click.echo(f"the database before it is {aside}; to undo: wattwarden restore {aside}")
        click.echo(f"when all is well: rm {aside}")


def _need_someone(what: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        msg = f"--yes: needed where nobody can be asked; {what}"
        raise BadInputError(msg)


def _passphrase(file: Path | None, *, ask: bool, twice: bool) -> str | None:
    if file is not None:
        return check_passphrase(read_secret(file, key="--passphrase-file"))
    if not ask:
        return None
    if not sys.stdin.isatty():
        msg = "no terminal to ask for the passphrase on; give --passphrase-file"
        raise click.UsageError(msg)
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
    return check_passphrase(asked)


def _below(root: Path, config: Path) -> Path:
    """Return the settings file of a staging root where none was named."""
    return Layout(root).config if config == DEFAULT_CONFIG else config


@contextmanager
def _bar(title: str) -> Iterator[backups.Progress]:
    """Give a progress bar on stderr, where it is a terminal."""
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)
