"""`wattwarden install`: puts the gateway onto this machine, or into a staging root."""

import socket
import sys
import time
from pathlib import Path

import click

from gateway.adapters.installer.answers import Answers, timezone_of
from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.install import Installer
from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.machine import require_clock, require_debian, require_root
from gateway.adapters.installer.releases import Source
from gateway.adapters.installer.services import manager_of, run
from gateway.adapters.installer.wheel import Wheel, newest_in
from gateway.cli.options import example
from gateway.cli.site_kit import SiteKit
from gateway.domain.errors import BadInputError

CONTROL_S = 15.0

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, resolve_path=True),
    default="/",
    envvar="DESTDIR",
    help="Work below this folder instead of /: files only, no accounts and services [DESTDIR].",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
wheel_option = click.option(
    "--wheel",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The program; by default the newest one in --wheelhouse.",
)
wheelhouse_option = click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the wheels of all packages: installs without a network.",
)
extras_option = click.option(
    "--extras",
    default="kit",
    show_default=True,
    help="Parts beyond the daemon, with commas: kit (flashing meters), cloud, data.",
)


@click.command(
    epilog=example(
        "sudo wattwarden install --wheel wattwarden-0.1.0-py3-none-any.whl",
        "sudo wattwarden install --wheelhouse /media/stick/wheelhouse --yes",
    )
)
@wheel_option
@wheelhouse_option
@extras_option
@click.option("--site-id", default="home", show_default=True, help="The house's name.")
@click.option("--timezone", help="Decides where a day begins; by default the machine's.")
@click.option("--hostname", help="This machine's name in the network; by default what it says.")
@click.option(
    "--lan/--local-only", default=True, show_default=True,
    help="Let app and meters in over the home's network, by TLS, or this machine only.",
)  # fmt: skip
@click.option("--internet", is_flag=True, help="Let the daemon reach cloud and notifications.")
@click.option("--apt/--no-apt", default=True, show_default=True, help="Install what is missing.")
@click.option(
    "--card-care/--no-card-care", default=True, show_default=True,
    help="Spare the memory card: a capped journal, no access times.",
)  # fmt: skip
@click.option("--start/--no-start", default=True, show_default=True, help="Start the services.")
@root_option
@yes_option
def install(  # noqa: PLR0913 - one parameter an option
    *, wheel: Path | None, wheelhouse: Path | None, extras: str, site_id: str, timezone: str | None,
    hostname: str | None, root: Path, lan: bool, internet: bool, apt: bool, card_care: bool,
    start: bool, yes: bool,
) -> None:  # fmt: skip
    """Install the gateway on Raspberry Pi OS or Debian 12 and newer.

    Says first what it will do. What is there already is kept: settings, passwords,
    certificates, and files that were changed by hand. When a step fails, all before it is taken
    back. Running it again changes only what differs.
    """
    layout = Layout(root)
    require_root(layout)
    require_debian(layout)
    require_clock()
    answers = Answers(
        site_id, timezone or timezone_of(layout), hostname or socket.gethostname(), lan, internet,
        apt, card_care, start,
    )  # fmt: skip
    source = source_of(wheel, wheelhouse, extras)
    installer = Installer(layout, source, answers, SiteKit(layout, site_id), manager_of(layout))
    pending = installer.plan()
    if not pending:
        click.echo(f"wattwarden {source.wheel.version} is installed; nothing to do")
        return
    confirm(pending, yes=yes)
    count = installer.run(lambda said: click.echo(f"  {said}"))
    click.echo(f"done: {count} steps")
    _next_steps(layout, answers)


def source_of(wheel: Path | None, wheelhouse: Path | None, extras: str) -> Source:
    """Return where the program comes from; BadInputError names the option that is wrong."""
    wanted = tuple(one for one in extras.split(",") if one)
    if wrong := set(wanted) - {"kit", "cloud", "data"}:
        msg = f"--extras: no part {', '.join(sorted(wrong))}; there are kit, cloud, data"
        raise BadInputError(msg)
    if wheel is None and wheelhouse is None:
        msg = "--wheel: give the program's wheel, or a folder with all wheels by --wheelhouse"
        raise BadInputError(msg)
    try:
        found = Wheel(wheel if wheel is not None else newest_in(wheelhouse or Path()))
    except InstallError as error:
        raise BadInputError(str(error)) from error
    return Source(found, wheelhouse.resolve() if wheelhouse else None, wanted)


def confirm(pending: list[str], *, yes: bool) -> None:
    """Show what will be done and ask; BadInputError where nobody can be asked."""
    click.echo("This will be done:")
    for said in pending:
        click.echo(f"  {said}")
    if yes:
        return
    if not sys.stdin.isatty():
        msg = "--yes: needed where nobody can be asked"
        raise BadInputError(msg)
    click.confirm("Go on?", abort=True, default=True)


def _next_steps(layout: Layout, answers: Answers) -> None:
    if layout.staged:
        click.echo(f"staged below {layout.root}; accounts and services are the package's to make")
        return
    where = f"https://{answers.names[0]}:8443" if answers.lan else "http://127.0.0.1:8080"
    code, problem = _setup_code(layout) if answers.start else ("", "the gateway was not started")
    if code:
        click.echo(f"Open {where} and make the first administrator with this code:")
        click.echo(f"  {code}")
    else:
        click.echo(f"Open {where} ({problem})")
    click.echo("Is all well? sudo wattwarden doctor")


def _setup_code(layout: Layout) -> tuple[str, str]:
    """Return a code for the first account, or why there is none."""
    command = [str(layout.program / "bin" / "wattwarden"), "users", "setup-code"]
    until_s = time.monotonic() + CONTROL_S
    while True:  # READY comes a moment before the control socket listens
        done = run(command)
        if done.returncode == 0:
            return done.stdout.strip(), ""
        problem = done.stderr.strip().removeprefix("wattwarden: ")
        if "log in already" in problem or time.monotonic() > until_s:
            return "", problem
        time.sleep(1)
