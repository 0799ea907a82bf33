"""`wattwarden certificates`: how long they are good, and renewing them."""

import json
from pathlib import Path

import click

from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.machine import require_clock, require_root
from gateway.adapters.installer.renewal import days_left, names_of, renew, servers
from gateway.adapters.installer.services import manager_of
from gateway.cli.install import root_option
from gateway.cli.options import example, json_option
from gateway.cli.site_kit import SiteKit

BEFORE_END_DAYS = 60.0  # eight of the weekly timer's runs


@click.group()
def certificates() -> None:
    """Show and renew the certificates of web server and broker."""


@certificates.command("show", epilog=example("sudo wattwarden certificates show"))
@json_option
@root_option
def show_all(root: Path, *, as_json: bool) -> None:
    """Show names and days left."""
    found = [
        {
            "name": one.purpose,
            "path": str(one.certificate),
            "names": list(names_of(one.certificate)),
            "days_left": round(days_left(one.certificate), 1),
        }
        for one in servers(Layout(root))
    ]
    if as_json:
        click.echo(json.dumps({"items": found}))
        return
    for item in found:
        names = ", ".join(map(str, item["names"] if isinstance(item["names"], list) else []))
        click.echo(f"{item['name']:<8} {item['days_left']} days left, for {names}")
    if not found:
        click.echo("no certificates are installed here", err=True)


@certificates.command("renew", epilog=example("sudo wattwarden certificates renew"))
@click.option(
    "--within-days", type=click.FloatRange(0, 100_000), default=BEFORE_END_DAYS, show_default=True,
    help="Renew what ends within so many days.",
)  # fmt: skip
@root_option
def renew_all(within_days: float, root: Path) -> None:
    """Renew what ends soon; meters and phones go on trusting, since the authority stays.

    A weekly timer does this by itself.
    """
    layout = Layout(root)
    require_root(layout)
    require_clock()
    count = renew(
        layout, SiteKit(layout), manager_of(layout), click.echo,
        within_days=within_days,
    )  # fmt: skip
    if not count:
        click.echo(f"nothing ends within {within_days:.0f} days")
