"""`wattwarden uninstall`: takes the gateway away; readings stay unless told otherwise."""

from pathlib import Path

import click

from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.machine import require_root
from gateway.adapters.installer.services import manager_of
from gateway.adapters.installer.uninstall import Uninstaller
from gateway.cli.install import confirm, root_option, yes_option
from gateway.cli.options import example


@click.command(epilog=example("sudo wattwarden uninstall", "sudo wattwarden uninstall --purge"))
@click.option(
    "--purge", is_flag=True, help="Remove readings, settings, passwords and keys too, for good."
)
@root_option
@yes_option
def uninstall(root: Path, *, purge: bool, yes: bool) -> None:
    """Remove the program and what it put into the system.

    Readings, settings, passwords and keys stay, so that a later installation goes on where this
    one ended; with --purge they go too. Debian's packages stay as well, and so does noatime.
    """
    layout = Layout(root)
    require_root(layout)
    uninstaller = Uninstaller(layout, manager_of(layout), purge=purge)
    pending = uninstaller.plan()
    if not pending:
        click.echo("nothing of wattwarden is installed")
        return
    confirm(pending, yes=yes)
    uninstaller.run(lambda said: click.echo(f"  {said}"))
    left = uninstaller.left()
    click.echo("wattwarden is removed")
    if left:
        click.echo("kept for a later installation; to remove these too, for good:")
        click.echo(f"  rm -r {' '.join(map(str, left))}")
