"""`wattwarden meters`: which meters there are, what they are called, what is missing of them."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from gateway.adapters.store.inventory import Missing, list_missing, newest_reading
from gateway.adapters.store.readonly import snapshot
from gateway.adapters.store.views import select_meter, select_meters
from gateway.cli.call import invoke
from gateway.cli.lazy import Lazy, LazyGroup
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import moment, show
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.domain.meters import Role
from gateway.services.bundle_forms import Progress
from gateway.services.views import MeterView, is_online
from gateway.settings import Settings
from gateway.web.models import MeterList, MeterOut

MOST_METERS = 2000
id_argument = click.argument("meter", metavar="ID")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class _Change(TypedDict):
    """What changes of a meter, in the words of the options."""

    label: str | None
    channel: str | None
    role: str | None
    rating: str | None


@click.group(
    cls=LazyGroup,
    lazy={
        "flash": Lazy(
            "gateway.cli.flash:flash", "Put MicroPython and the firmware on an ESP32 on USB."
        ),
        "provision": Lazy(
            "gateway.cli.provision:provision", "Make a flashed board a meter of this site."
        ),
        "remove": Lazy("gateway.cli.remove:remove", "End a meter's access to the broker."),
        "simulate": Lazy(
            "gateway.cli.simulate:simulate", "Run simulated meters against the broker."
        ),
        "command": Lazy(
            "gateway.cli.care:command", "Have a meter do something; print what it answers."
        ),
        "publish": Lazy(
            "gateway.cli.care:publish", "Give meters a signed model, calibration or firmware."
        ),
        "want": Lazy("gateway.cli.care:want", "Have a meter run a kept version again."),
        "bundles": Lazy(
            "gateway.cli.care:bundles", "Show what a meter shall run, and how far it is."
        ),
        "calibrate": Lazy(
            "gateway.cli.calibrate:calibrate", "Calibrate a meter against a reference instrument."
        ),
        "calibration": Lazy(
            "gateway.cli.calibration:calibration", "See, compare and take back calibrations."
        ),
    },
    epilog=example(
        "wattwarden meters list", "wattwarden meters set kitchen --channel load1 --rating 30"
    ),
)
def meters() -> None:
    """See, add, change, remove and simulate meters; tell them what to do."""


@meters.command(
    "list",
    epilog=example(
        "wattwarden meters list",
        "wattwarden meters list --json | jq '.items[] | select(.online | not).id'",
    ),
)
@json_option
@config_option
def list_meters(config: Path, *, as_json: bool) -> None:
    """List the meters, with their newest readings. Works with and without a running daemon."""
    settings = Settings.load(config)
    with snapshot(settings.storage.path) as db:
        found = [
            _today(replace(view, last=newest_reading(db, view.info.id)))
            for view in select_meters(db, "", MOST_METERS)
        ]
    if as_json:
        listed = MeterList(items=[MeterOut.of(view) for view in found], next=None)
        click.echo(listed.model_dump_json())
        return
    if not found:
        click.echo("no meters yet; the first reading registers one, or: meters add ID", err=True)
        return
    zone = settings.site.zone
    show(
        ("meter", "label", "now", "newest reading", "voltage", "channels", "firmware", "bundles"),
        [_row(view, moment(view.last.at_ms if view.last else None, zone)) for view in found],
    )


@meters.command(
    epilog=example(
        'wattwarden meters add kitchen --label "Kitchen, ground floor"',
        "wattwarden meters add winter-2024 --recorded",
    )
)
@id_argument
@click.option("--recorded", is_flag=True, help="For data with times of its own: never silent.")
@click.option("--label", help="A name for people.")
@config_option
def add(meter: str, label: str | None, config: Path, *, recorded: bool) -> None:
    """Register a meter before its first reading, or let a removed one in again."""
    settings = Settings.load(config)
    args: dict[str, object] = {"id": meter, "recorded": recorded}
    if label is not None:
        args["label"] = label
    done = invoke(settings, "meters.add", args)
    if label is not None and not done["added"]:
        invoke(settings, "meters.update", {"id": meter, "label": label})
    kind = "recorded meter" if recorded else "meter"
    click.echo(f"{kind} {meter} is {'registered' if done['added'] else 'registered already'}")


@meters.command(
    epilog=example("wattwarden meters gaps kitchen", "wattwarden meters gaps kitchen --final")
)
@id_argument
@click.option("--final", is_flag=True, help="Give up what is missing: it will never come.")
@yes_option
@json_option
@config_option
def gaps(meter: str, config: Path, *, final: bool, yes: bool, as_json: bool) -> None:
    """Show which readings are missing. A late one still fills its gap.

    With --final the meter is told to stop keeping what it has not delivered yet; for a meter
    that was replaced or erased.
    """
    settings = Settings.load(config)
    if final:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Give up all that is missing of {meter}?", abort=True, err=True)
        done = invoke(settings, "meters.finalise_gaps", {"id": meter})
        click.echo(f"{done['windows']} windows of {meter} are given up", err=as_json)
    with snapshot(settings.storage.path) as db:
        if select_meter(db, meter) is None:
            msg = f"no meter {meter[:40]!r}; see: wattwarden meters list"
            raise NotFoundError(msg)
        found = list_missing(db, meter)
    if as_json:
        click.echo(json.dumps({"items": [_gap_json(gap) for gap in found], "next": None}))
    elif found:
        zone = settings.site.zone
        show(
            ("state", "boot", "first", "last", "windows", "from", "to", "why"),
            [
                [gap.state, str(gap.boot), str(gap.first), str(gap.last), str(gap.windows),
                 moment(gap.from_ms, zone), moment(gap.to_ms, zone), gap.reason]
                for gap in found
            ],
        )  # fmt: skip
    elif not final:
        click.echo(f"nothing is missing of {meter}", err=True)


@meters.command(
    "set",
    epilog=example(
        'wattwarden meters set kitchen --label "Kitchen"',
        "wattwarden meters set kitchen --channel load1 --role load --rating 30",
    ),
)
@id_argument
@click.option("--label", help="A name for people; '' for none.")
@click.option("--channel", help="The channel that --role and --rating are for.")
@click.option(
    "--role", type=click.Choice([one.value for one in Role]), help="What the channel measures."
)
@click.option("--rating", metavar="A", help="Rated current of its clamp or circuit, or 'unknown'.")
@config_option
def set_meter(meter: str, config: Path, **wanted: Unpack[_Change]) -> None:
    """Change a meter's label, or a channel's role and rated current."""
    args = _changes(wanted)
    if not args:
        msg = "nothing to change: give --label, or --channel with --role or --rating"
        raise BadInputError(msg)
    invoke(Settings.load(config), "meters.update", {"id": meter, **args})
    click.echo(f"meter {meter} is changed")


def _changes(wanted: _Change) -> dict[str, object]:
    """Return the arguments of meters.update, or raise BadInputError."""
    args: dict[str, object] = {}
    if wanted["label"] is not None:
        args["label"] = wanted["label"]
    change: dict[str, object] = {}
    if wanted["role"] is not None:
        change["role"] = wanted["role"]
    if wanted["rating"] is not None:
        change["rating_a"] = _amperes(wanted["rating"])
    if bool(change) != (wanted["channel"] is not None):
        msg = "--channel: goes together with --role or --rating"
        raise BadInputError(msg)
    if wanted["channel"] is not None:
        args["channels"] = {wanted["channel"]: change}
    return args


def _amperes(text: str) -> float | None:
    if text == "unknown":
        return None
    try:
        return float(text)
    except ValueError as error:
        msg = f"--rating: {text[:40]!r} is neither a number of amperes nor 'unknown'"
        raise BadInputError(msg) from error


def _today(view: MeterView) -> MeterView:
    return replace(view, online=is_online(view, time.time_ns() // 1_000_000))


def _row(view: MeterView, newest: str) -> list[str]:
    info, last = view.info, view.last
    now = "recorded" if info.recorded else "online" if view.online else "offline"
    channels = [
        f"{name} {last.ch[name].p:.0f} W"
        if last and name in last.ch and last.ch[name].p is not None
        else name
        for name in info.channels
    ]
    voltage = f"{last.v:.1f} V" if last and last.v is not None else "-"
    return [
        info.id, info.label or "-", now, newest, voltage, ", ".join(channels) or "-",
        view.fw or "-", ", ".join(_told(one) for one in view.rollouts) or "-",
    ]  # fmt: skip


def _told(progress: Progress) -> str:
    """Return in short how far a meter is with a bundle."""
    why = f": {progress.why}" if progress.why else ""
    return f"{progress.kind} {progress.version} {progress.state}{why}"


def _gap_json(gap: Missing) -> dict[str, object]:
    return {
        "boot": gap.boot, "first": gap.first, "last": gap.last, "windows": gap.windows,
        "state": gap.state, "reason": gap.reason, "from": gap.from_ms, "to": gap.to_ms,
    }  # fmt: skip
