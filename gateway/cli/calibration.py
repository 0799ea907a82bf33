"""`wattwarden meters calibration`: show, list, compare, roll back, print."""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.call import invoke
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import moment, show
from gateway.settings import Settings

meter_argument = click.argument("meter", metavar="ID")
version_option = click.option("--version", type=int, help="[default: the newest]")


@click.group(epilog=example("wattwarden meters calibration show kitchen"))
def calibration() -> None:
    """See a meter's calibrations, compare them, go back to an earlier one."""


@calibration.command("show", epilog=example("wattwarden meters calibration show kitchen --json"))
@meter_argument
@version_option
@json_option
@config_option
def show_one(meter: str, version: int | None, config: Path, *, as_json: bool) -> None:
    """Show a calibration: its loads, what they leave open, and its check."""
    settings = Settings.load(config)
    found = invoke(settings, "calibration.show", {"id": meter, "version": version})
    if as_json:
        click.echo(json.dumps(found))
        return
    when = moment(_whole(found["made"]), settings.site.zone)
    click.echo(
        f"calibration {found['version']} of {meter}, made {when} by {found['by']}"
        f" ({found['state']}{' ' + str(found['why']) if found['why'] else ''})"
    )
    if found["note"]:
        click.echo(found["note"])
    if not found["points"]:
        return
    show(
        ("channel", "A", "W", "residual", "uncertainty (k = 2)"),
        [
            [one["channel"], f"{one['i']:.3g}", f"{one['p']:.4g}", f"{one['residual_pct']:+.2f} %",
             f"± {one['uncertainty_pct']:.2f} %"]
            for one in _rows(found["points"])
        ],
    )  # fmt: skip
    for check in _rows(found["checks"]):
        verdict = "agrees" if check["passed"] else "does not agree"
        click.echo(
            f"checked on {check['channel']} at {check['reference']['p']:.4g} W: "
            f"{check['error_pct']:+.2f} %, ± {check['allowed_pct']:.2f} % explained: {verdict}"
        )


@calibration.command("list", epilog=example("wattwarden meters calibration list kitchen"))
@meter_argument
@json_option
@config_option
def list_all(meter: str, config: Path, *, as_json: bool) -> None:
    """List a meter's calibrations, the newest first."""
    settings = Settings.load(config)
    found = invoke(settings, "calibration.list", {"id": meter})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = _rows(found["items"])
    if not rows:
        click.echo(f"{meter} was never calibrated here; it reads to some percent", err=True)
        return
    show(
        ("version", "made", "by", "state", "loads", "note"),
        [
            [str(one["version"]), moment(one["made"], settings.site.zone), one["by"], one["state"],
             str(len(one["points"])), one["note"] or "-"]
            for one in rows
        ],
    )  # fmt: skip


@calibration.command(epilog=example("wattwarden meters calibration compare kitchen 3 4"))
@meter_argument
@click.argument("first", type=int)
@click.argument("second", type=int)
@config_option
def compare(meter: str, first: int, second: int, config: Path) -> None:
    """Tell by how much two calibrations differ: V in %, and per current P in % and its angle."""
    settings = Settings.load(config)
    one, two = (
        invoke(settings, "calibration.show", {"id": meter, "version": version})["record"]
        for version in (first, second)
    )
    old, new = dict(_mapping(one)), dict(_mapping(two))
    volts = 100 * (new["v_gain"] / old["v_gain"] - 1)
    click.echo(f"voltage: {volts:+.2f} % from {first} to {second}")
    rows = []
    known = {channel["name"]: channel["points"] for channel in old["channels"]}
    for channel in new["channels"]:
        for point in channel["points"] if channel["name"] in known else ():
            near = _nearest(known[channel["name"]], point["i"])
            gain = 100 * (point["gain"] * new["v_gain"] / (near["gain"] * old["v_gain"]) - 1)
            turn = 57.29578 * (point["phase"] - near["phase"])
            rows.append([channel["name"], f"{point['i']:.3g}", f"{gain:+.2f} %", f"{turn:+.2f}°"])
    show(("channel", "A", "P", "angle"), rows)


@calibration.command(epilog=example("wattwarden meters calibration rollback kitchen"))
@meter_argument
@click.option("--version", type=int, help="[default: the one before]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def rollback(meter: str, version: int | None, config: Path, *, yes: bool) -> None:
    """Send an earlier calibration again; it gets a new version, since versions only rise.

    Before the first one the meter read by nominal parts: taken back, it does so again.
    """
    if not yes:
        click.confirm(f"Give {meter} an earlier calibration?", abort=True, err=True)
    args: dict[str, object] = {"id": meter, "version": version}
    made = invoke(Settings.load(config), "calibration.rollback", args)
    click.echo(f"{meter} is given calibration {made['version']}: {made['note']}")


@calibration.command(epilog=example("wattwarden meters calibration certificate kitchen k.html"))
@meter_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@version_option
@config_option
def certificate(meter: str, file: Path, version: int | None, config: Path) -> None:
    """Write the one-page report of a calibration as HTML."""
    args: dict[str, object] = {"id": meter, "version": version}
    page = invoke(Settings.load(config), "calibration.certificate", args)
    file.write_text(str(page["html"]), encoding="utf-8")
    click.echo(f"{file}: report of calibration {page['version']}")


def _nearest(points: list[dict[str, float]], amps: float) -> dict[str, float]:
    return min(points, key=lambda point: abs(point["i"] / amps - 1))


def _rows(value: object) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
