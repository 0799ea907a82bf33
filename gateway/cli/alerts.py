"""`wattwarden alerts`: see what is wrong, and say what was done about it."""

import json
from pathlib import Path
from typing import TypedDict, Unpack

import click

from gateway.adapters.store.labels import select_labels
from gateway.adapters.store.readonly import snapshot
from gateway.adapters.store.views import select_alerts
from gateway.cli.call import invoke
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import moment, show
from gateway.domain.alerts import AlertState, Severity
from gateway.domain.errors import BadInputError
from gateway.pipeline.alert_book import LONGEST_SNOOZE_MIN
from gateway.services.views import AlertFilter, AlertView, write_cursor
from gateway.settings import Settings
from gateway.web.models import AlertList, AlertOut

MOST_SHOWN = 10_000
id_argument = click.argument("alert_id", metavar="ID")


class _Wanted(TypedDict):
    """Which alerts, in the words of the options."""

    state: str
    severity: str | None
    meter: str | None


@click.group(
    epilog=example(
        "wattwarden alerts list --state open", "wattwarden alerts acknowledge c434270be8f073eb"
    )
)
def alerts() -> None:
    """See alerts and answer them."""


@alerts.command(
    "list",
    epilog=example(
        "wattwarden alerts list --state open --severity critical",
        "wattwarden alerts list --json | jq '.items[].title'",
    ),
)
@click.option(
    "--state",
    type=click.Choice([*(one.value for one in AlertState), "all"]),
    default="all",
    show_default=True,
    help="Only alerts in this state.",
)
@click.option(
    "--severity", type=click.Choice([one.value for one in Severity]), help="Only as bad as this."
)
@click.option("--meter", help="Only of this meter; '' stands for the gateway itself.")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_SHOWN),
    default=100,
    show_default=True,
    help="At most so many, the newest.",
)
@json_option
@config_option
def list_alerts(config: Path, limit: int, *, as_json: bool, **wanted: Unpack[_Wanted]) -> None:
    """List alerts, newest first. Works with and without a running daemon."""
    settings = Settings.load(config)
    which = _filter(wanted)
    with snapshot(settings.storage.path) as db:
        found = select_alerts(db, which, None, limit + 1)
    more = len(found) > limit
    if as_json:
        click.echo(_page(found[:limit], more=more).model_dump_json())
        return
    if not found:
        click.echo("no alerts", err=True)
        return
    zone = settings.site.zone
    show(
        ("opened", "severity", "state", "meter", "channel", "alert", "times", "detail", "id"),
        [_row(view, moment(view.alert.opened_ms, zone)) for view in found[:limit]],
    )
    if more:
        click.echo(f"there are more than {limit}; see --limit", err=True)


@alerts.command(epilog=example("wattwarden alerts acknowledge c434270be8f073eb"))
@id_argument
@json_option
@config_option
def acknowledge(alert_id: str, config: Path, *, as_json: bool) -> None:
    """Say that somebody looks after an alert. It stays open until its condition clears."""
    _change(config, "alerts.acknowledge", {"id": alert_id}, as_json=as_json)


@alerts.command(
    epilog=example('wattwarden alerts resolve c434270be8f073eb --note "clamp turned round"')
)
@id_argument
@click.option("--note", default="", help="What was found or done, for the alert's history.")
@json_option
@config_option
def resolve(alert_id: str, note: str, config: Path, *, as_json: bool) -> None:
    """Close an alert by hand. It opens again after an hour if its condition lasts."""
    _change(config, "alerts.resolve", {"id": alert_id, "note": note}, as_json=as_json)


@alerts.command(epilog=example("wattwarden alerts snooze c434270be8f073eb --minutes 120"))
@id_argument
@click.option(
    "--minutes",
    type=click.IntRange(0, LONGEST_SNOOZE_MIN),
    required=True,
    help="For how long; 0 ends a snooze.",
)
@json_option
@config_option
def snooze(alert_id: str, minutes: int, config: Path, *, as_json: bool) -> None:
    """Keep an alert from notifying anybody for a while."""
    _change(config, "alerts.snooze", {"id": alert_id, "minutes": minutes}, as_json=as_json)


@alerts.command(
    epilog=example(
        'wattwarden alerts verdict c434270be8f073eb --wrong --note "guests, all ovens on"'
    )
)
@id_argument
@click.option("--right/--wrong", "right", default=None, help="Whether the alert was right.")
@click.option("--note", default="", help="Why, for those who train the detectors.")
@json_option
@config_option
def verdict(alert_id: str, note: str, config: Path, *, right: bool | None, as_json: bool) -> None:
    """Say whether an alert was right; detectors learn from it."""
    if right is None:
        msg = "--right, --wrong: one of them is needed"
        raise BadInputError(msg)
    args: dict[str, object] = {"id": alert_id, "right": right, "note": note}
    _change(config, "alerts.verdict", args, as_json=as_json)


@alerts.command(
    epilog=example(
        "wattwarden alerts labels > labels.jsonl",
        "wattwarden evaluate --archive archive --labels labels.jsonl --out judged",
    )
)
@config_option
def labels(config: Path) -> None:
    """Write what people said of alerts as JSON lines, for `train` and `evaluate`.

    One line for each alert with a verdict: meter, channel, kind, from when to when, right or
    wrong, and the note. Who said it is not in there; read the notes before you pass them on.
    """
    with snapshot(Settings.load(config).storage.path) as db:
        for row in select_labels(db):
            click.echo(json.dumps(row._asdict()))


def _change(config: Path, name: str, args: dict[str, object], *, as_json: bool) -> None:
    done = invoke(Settings.load(config), name, args)
    click.echo(json.dumps(done) if as_json else f"alert {done['id']} is {done['state']}")


def _filter(wanted: _Wanted) -> AlertFilter:
    state, severity = wanted["state"], wanted["severity"]
    return AlertFilter(
        None if state == "all" else AlertState(state),
        None if severity is None else Severity(severity),
        wanted["meter"],
    )


def _page(views: list[AlertView], *, more: bool) -> AlertList:
    last = views[-1].alert if more else None
    return AlertList(
        items=[AlertOut.of(view) for view in views],
        next=None if last is None else write_cursor(last.opened_ms, last.id),
    )


def _row(view: AlertView, opened: str) -> list[str]:
    alert = view.alert
    meter, channel, _ = alert.key
    return [
        opened, alert.severity, alert.state, meter or "gateway", channel or "-", alert.title,
        str(alert.count), alert.detail, alert.id,
    ]  # fmt: skip
