"""`wattwarden backup` and `wattwarden restore`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.adapters.store import backup as backups
from gateway.adapters.store import restore as restores
from gateway.cli.options import config_option, example
from gateway.cli.tables import moment
from gateway.domain.errors import BadInputError
from gateway.settings import Settings

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.command(epilog=example("wattwarden backup /var/lib/wattwarden/backup.db"))
@file_argument
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@config_option
def backup(file: Path, config: Path, *, force: bool) -> None:
    """Copy the whole database to FILE, consistent even while the daemon runs.

    The copy is checked before it gets its name; only its owner may read it, since it holds the
    users' password hashes.
    """
    settings = Settings.load(config)
    with _bar("Copying") as progress:
        size = backups.backup(settings.storage.path, file, progress, replace=force)
    click.echo(f"{file}: {size / 1e6:.1f} MB, checked")


@click.command(
    epilog=example(
        "systemctl stop wattwarden",
        "wattwarden restore /var/lib/wattwarden/backup.db",
        "systemctl start wattwarden",
    )
)
@file_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def restore(file: Path, config: Path, *, yes: bool) -> None:
    """Put a backup in the database's place. The daemon must be stopped.

    The present database is kept beside it, so that this can be undone.
    """
    settings = Settings.load(config)
    database = settings.storage.path
    if not yes and not sys.stdin.isatty():
        msg = f"--yes: needed where nobody can be asked; it replaces {database}"
        raise BadInputError(msg)
    with restores.hold(database):
        content = restores.examine(file)
        newest = moment(content.newest_ms, settings.site.zone)
        click.echo(f"{file}: {content.meters} meters, newest reading of {newest}", err=True)
        if not yes:
            click.confirm(f"Replace {database} by it?", abort=True, err=True)
        with _bar("Restoring") as progress:
            aside = restores.restore(file, database, progress)
    click.echo(f"{database} is restored; start the daemon: systemctl start wattwarden")
    if aside is not None:
        click.echo(f"the database before it is {aside}; to undo: wattwarden restore {aside}")
        click.echo(f"when all is well: rm {aside}")


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
