"""`wattwarden upgrade`: another version, or the present one again if the new one fails."""

from pathlib import Path

import click

from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.machine import require_root
from gateway.adapters.installer.releases import Releases
from gateway.adapters.installer.services import manager_of
from gateway.adapters.installer.upgrade import READY_S, Upgrade
from gateway.cli.install import (
    confirm,
    extras_option,
    root_option,
    source_of,
    wheel_option,
    wheelhouse_option,
    yes_option,
)
from gateway.cli.options import example
from gateway.settings import Settings


@click.command(
    epilog=example(
        "sudo wattwarden upgrade --wheel wattwarden-0.2.0-py3-none-any.whl",
        "sudo wattwarden upgrade --wheelhouse /media/stick/wheelhouse --yes",
    )
)
@wheel_option
@wheelhouse_option
@extras_option
@click.option(
    "--ready-within", type=click.FloatRange(5, 3600), default=READY_S, show_default=True,
    help="Seconds the new version may take to be ready.",
)  # fmt: skip
@root_option
@yes_option
def upgrade(  # noqa: PLR0913 - one parameter an option
    *, wheel: Path | None, wheelhouse: Path | None, extras: str, ready_within: float, root: Path,
    yes: bool,
) -> None:  # fmt: skip
    """Install another version beside this one, copy the database, and switch.

    When the new version does not become ready, the old one runs again, on the database as it
    was if the new one has changed its form. Meters keep their readings meanwhile.
    """
    layout = Layout(root)
    require_root(layout)
    source = source_of(wheel, wheelhouse, extras)
    settings = Settings.load(layout.config)
    job = Upgrade(
        layout, source, manager_of(layout), lambda said: click.echo(f"  {said}"), settings,
        ready_within,
    )  # fmt: skip
    if job.mend():
        click.echo("the interrupted upgrade is undone; run this again to try once more")
        return
    if Releases(layout).holds(source.wheel):
        click.echo(f"wattwarden {source.wheel.version} is in use already; nothing to do")
        return
    pending = [
        f"install version {source.wheel.version} beside the present one, and try the settings",
        f"stop the gateway, copy {job.database}, switch, start",
        "go back to the present version if the new one is not ready",
    ]
    confirm(pending, yes=yes)
    job.run()
    click.echo(f"wattwarden {source.wheel.version} runs; the old one is kept beside it")
