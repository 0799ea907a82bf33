"""`wattwarden notify`: does an alert reach people, and what waits."""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.call import invoke
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import show
from gateway.settings import Settings

FAILED = 1


@click.group(epilog=example("wattwarden notify test", "wattwarden notify status"))
def notify() -> None:
    """See whether alerts reach people."""


@notify.command(epilog=example("wattwarden notify test --json"))
@json_option
@config_option
def test(config: Path, *, as_json: bool) -> None:
    """Send a test to every phone and address. Exit status 1 when one was not taken."""
    answer: dict[str, Any] = invoke(Settings.load(config), "notify.test", {})
    items = answer["items"]
    if as_json:
        click.echo(json.dumps(answer))
    elif items:
        show(
            ("road", "target", "result", "reason"),
            [(i["road"], i["target"], i["result"], i["reason"] or "-") for i in items],
        )
    else:
        click.echo(
            "nobody to tell: set notify.urls_file, or cloud.enabled and register a phone",
            err=True,
        )
    if not items or any(item["result"] != "sent" for item in items):
        raise click.exceptions.Exit(FAILED)


@notify.command(epilog=example("wattwarden notify status"))
@json_option
@config_option
def status(config: Path, *, as_json: bool) -> None:
    """Say which roads there are, what waits, and who must act."""
    answer: dict[str, Any] = invoke(Settings.load(config), "notify.status", {})
    if as_json:
        click.echo(json.dumps(answer))
        return
    show(
        ("road", "targets", "trouble"),
        [
            (name, str(road["targets"]), road["trouble"] or "-")
            for name, road in answer["roads"].items()
        ],
    )
    click.echo(f"{answer['waiting']} waiting, {answer['sent']} sent, {answer['dropped']} dropped")
