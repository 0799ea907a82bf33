"""`wattwarden models`: which models judge, which are tried; pulling, activating, rolling back."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import click

from gateway.cli.call import invoke
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import moment, show
from gateway.domain.errors import GatewayError
from gateway.settings import Settings

POLL_S = 1.0
BAD_OUTCOMES = ("refused", "storage", "settings", "failed")


@click.group()
def models() -> None:
    """See and change which models judge; a repository brings new ones (docs/registry.md)."""


@models.command("list", epilog=example("wattwarden models list", "wattwarden models list --json"))
@json_option
@config_option
def list_models(config: Path, *, as_json: bool) -> None:
    """List the models: those that judge, those in shadow, those refused, those in meters."""
    settings = Settings.load(config)
    found = invoke(settings, "models.list", {})
    if as_json:
        click.echo(json.dumps(found))
        return
    items = _items(found)
    if not items:
        click.echo("no models yet; the gateway fits its own after a week of data", err=True)
        return
    zone = settings.site.zone
    show(
        ("meter", "channel", "kind", "slot", "version", "since", "data", "alarms", "why"),
        [
            [
                str(one["meter"]), str(one["channel"] or "-"), str(one["kind"]), str(one["slot"]),
                str(one["version"] or "-"),
                moment(_number(one.get("since_ms") or one.get("fitted_ms")), zone),
                _days(one), _alarms(one), str(one.get("why") or "-")[:80],
            ]
            for one in items
        ],
    )  # fmt: skip


def _items(found: Mapping[str, object]) -> list[dict[str, object]]:
    items = found["items"]
    return items if isinstance(items, list) else []


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _days(one: Mapping[str, object]) -> str:
    minutes = _number(one.get("minutes"))
    return f"{minutes / 1440:.1f} d" if minutes else "-"


def _alarms(one: Mapping[str, object]) -> str:
    if not one.get("minutes"):
        return "-"
    return f"{one['alarms']} ({one['champion_alarms']} by the champion)"


@models.command(epilog=example("wattwarden models pull"))
@json_option
@config_option
def pull(config: Path, *, as_json: bool) -> None:
    """Look into the repository now. Offline is no error; what must not be believed is."""
    settings = Settings.load(config)
    done = invoke(settings, "models.pull", {})
    while done["outcome"] == "running":
        time.sleep(POLL_S)
        done = invoke(settings, "models.pull", {})
    if as_json:
        click.echo(json.dumps(done))
    else:
        new = done["new"] if isinstance(done["new"], list) else []
        click.echo("\n".join([f"{done['outcome']}: {done['detail']}", *map(str, new)]))
    if done["outcome"] in BAD_OUTCOMES:
        msg = f"nothing was taken from the repository: {done['detail']}"
        raise GatewayError(msg)


@models.command(
    epilog=example(
        "wattwarden models activate stable/charts-pooled-grid-7.wwm",
        "wattwarden models activate stable/charts-pooled-grid-7.wwm --meter kitchen",
    )
)
@click.argument("path")
@click.option("--meter", default="", help="On this meter only.")
@click.option("--force", is_flag=True, help="Although it was refused or rolled back.")
@config_option
def activate(path: str, meter: str, config: Path, *, force: bool) -> None:
    """Have a model judge now, whatever is left of its time in shadow."""
    args: dict[str, object] = {"path": path, "meter": meter, "force": force}
    done = invoke(Settings.load(config), "models.activate", args)
    where = done["activated"] if isinstance(done["activated"], list) else []
    click.echo("\n".join(f"{path} judges {one['meter']} {one['channel']}" for one in where))


@models.command(
    epilog=example("wattwarden models rollback", "wattwarden models rollback --meter kitchen")
)
@click.option("--meter", default="", help="Of this meter only.")
@click.option("--channel", default="", help="Of this channel only.")
@config_option
def rollback(meter: str, channel: str, config: Path) -> None:
    """Give the judging back to the model before. Works without network, and without the daemon."""
    args: dict[str, object] = {"meter": meter, "channel": channel}
    done = invoke(Settings.load(config), "models.rollback", args)
    now = done["now"] if isinstance(done["now"], list) else []
    click.echo("\n".join(str(one) for one in now))


@models.command(epilog=example("wattwarden models history --limit 20"))
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@config_option
def history(limit: int, config: Path, *, as_json: bool) -> None:
    """Show what happened to models from elsewhere, the newest first."""
    settings = Settings.load(config)
    found = invoke(settings, "models.history", {"limit": limit})
    if as_json:
        click.echo(json.dumps(found))
        return
    zone = settings.site.zone
    show(
        ("when", "what", "model", "meter", "channel", "why"),
        [[moment(_number(one["at_ms"]), zone), str(one["what"]), str(one["path"]),
          str(one["meter"] or "-"), str(one["channel"] or "-"), str(one["detail"])[:100]]
         for one in _items(found)],
    )  # fmt: skip


@models.command(epilog=example("wattwarden models waves"))
@json_option
@config_option
def waves(config: Path, *, as_json: bool) -> None:
    """Show how far bundles are that go out to meters in waves."""
    found = invoke(Settings.load(config), "models.waves", {})
    if as_json:
        click.echo(json.dumps(found))
        return
    show(
        ("bundle", "state", "wave", "meters", "well for", "why"),
        [[str(one["path"]), str(one["state"]), str(one["wave"]), _names(one["meters"]),
          f"{one['healthy_s']} s", str(one["why"] or "-")] for one in _items(found)],
    )  # fmt: skip


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "-"
