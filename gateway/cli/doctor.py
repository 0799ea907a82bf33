"""`wattwarden doctor`: is everything well, and if not, who must do what."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from gateway.adapters.doctor import RealSurroundings
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import STYLES, printable
from gateway.domain.errors import ConfigError
from gateway.services.doctor import examine, failed
from gateway.services.doctor_facts import Check, Level
from gateway.settings import Settings


@click.command(
    epilog=example(
        "wattwarden doctor", "wattwarden doctor --json | jq '.checks[] | select(.level != \"ok\")'"
    )
)
@click.option("--full", is_flag=True, help="Check the whole database, however long it takes.")
@json_option
@config_option
def doctor(config: Path, *, full: bool, as_json: bool) -> None:
    """Check everything around the gateway and say who must do what.

    Nothing is changed. The exit status is 1 when a check ends in an error, 2 when the settings
    cannot be used. Run it as root or as the daemon's user, so that it sees all.
    """
    try:
        settings = Settings.load(config)
    except ConfigError as error:
        todo = "Administrator: edit it, then: wattwarden check-config."
        _report([Check("settings", Level.ERROR, str(error), todo)], as_json=as_json)
        raise
    checks = [Check("settings", Level.OK, f"{config} is valid")]
    checks += examine(RealSurroundings(settings, full=full))
    _report(checks, as_json=as_json)
    if failed(checks):
        sys.exit(1)


def _report(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        items = [
            {
                "name": check.name, "level": check.level, "said": check.said,
                "todo": check.todo, "figures": dict(check.figures),
            }
            for check in checks
        ]  # fmt: skip
        click.echo(json.dumps({"ok": not failed(checks), "checks": items}))
        return
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = f" {printable(check.name):<{width}}  {printable(check.said)}"
        console.print(Text.assemble((f"{check.level:<8}", STYLES[check.level]), line))
        if check.todo:
            console.print(Text(f"{'':<{width + 11}}{printable(check.todo)}"))
    errors = sum(check.level is Level.ERROR for check in checks)
    warnings = sum(check.level is Level.WARNING for check in checks)
    console.print(Text(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
