"""`wattwarden meters command|publish|want|bundles`: what meters are told and given."""

import json
from pathlib import Path

import click

from gateway.cli.call import invoke
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import show
from gateway.domain.errors import BadInputError, GatewayError
from gateway.settings import Settings

EVERY_METER = "*"
MOST_BYTES = 400_000
meter_argument = click.argument("meter", metavar="ID")
kind_argument = click.argument("kind", type=click.Choice(["model", "calibration", "firmware"]))


@click.command(
    epilog=example(
        "wattwarden meters command kitchen identify seconds=30",
        "wattwarden meters command kitchen report",
        "wattwarden meters command shed relay on=false",
    )
)
@meter_argument
@click.argument("kind")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--id", "command_id", help="Asked again under the same id, it is done only once.")
@config_option
def command(
    meter: str, kind: str, arguments: tuple[str, ...], command_id: str | None, config: Path
) -> None:
    """Have a meter do something, and print what it answers as JSON. The daemon must run."""
    args: dict[str, object] = {"id": meter, "kind": kind, "args": _values(arguments)}
    if command_id is not None:
        args["command_id"] = command_id
    done = invoke(Settings.load(config), "meters.command", args)
    if not done["ok"]:
        msg = f"meter {meter}: {done['error']}"
        raise GatewayError(msg)
    click.echo(json.dumps(done["data"]))


def _values(arguments: tuple[str, ...]) -> dict[str, object]:
    """Return NAME=VALUE pairs; a value that is JSON counts as such, any other as text."""
    out: dict[str, object] = {}
    for pair in arguments:
        name, equals, value = pair.partition("=")
        if not equals:
            msg = f"{pair[:40]!r}: must be NAME=VALUE"
            raise BadInputError(msg)
        try:
            out[name] = json.loads(value)
        except ValueError:
            out[name] = value
    return out


@click.command(
    epilog=example(
        "wattwarden meters publish firmware.bin",
        "wattwarden meters publish model.bin --meter kitchen",
    )
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--meter", default=EVERY_METER, help="One meter's id. [default: every meter]")
@click.option(
    "--entry", type=click.Path(path_type=Path), help="Its signature. [default: FILE.json]"
)
@config_option
def publish(file: Path, meter: str, entry: Path | None, config: Path) -> None:
    """Give meters a signed model, calibration or firmware, as tools/make_bundle.py writes it."""
    signed = _entry(entry or file.with_name(file.name + ".json"))
    body = file.read_bytes()
    if len(body) > MOST_BYTES:
        msg = f"{file}: {len(body)} bytes; a firmware has at most 307200"
        raise BadInputError(msg)
    args = {
        "kind": signed.get("kind"), "version": signed.get("version"), "meter": meter,
        "sig": signed.get("sig"), "body": _base64(body),
    }  # fmt: skip
    invoke(Settings.load(config), "bundles.publish", args)
    who = "every meter" if meter == EVERY_METER else meter
    click.echo(f"{signed.get('kind')} {signed.get('version')} is announced to {who}")


def _entry(path: Path) -> dict[str, object]:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"--entry: {path} cannot be used: {error}"
        raise BadInputError(msg) from error
    if not isinstance(entry, dict):
        msg = f"--entry: {path} holds no entry of `desired`"
        raise BadInputError(msg)
    return entry


def _base64(body: bytes) -> str:
    import base64  # noqa: PLC0415 - for this command alone

    return base64.b64encode(body).decode()


@click.command(epilog=example("wattwarden meters want kitchen model 7"))
@meter_argument
@kind_argument
@click.argument("version", type=int)
@config_option
def want(meter: str, kind: str, version: int, config: Path) -> None:
    """Have a meter run a version again that the gateway keeps: the one before, say."""
    args: dict[str, object] = {"meter": meter, "kind": kind, "version": version}
    invoke(Settings.load(config), "bundles.want", args)
    click.echo(f"{kind} {version} is announced to {meter}")


@click.command(epilog=example("wattwarden meters bundles kitchen"))
@meter_argument
@json_option
@config_option
def bundles(meter: str, config: Path, *, as_json: bool) -> None:
    """Show what a meter shall run, how far it is, and why it refused what it refused."""
    found = invoke(Settings.load(config), "bundles.list", {"meter": meter})
    if as_json:
        click.echo(json.dumps(found))
        return
    progress = found["progress"]
    if not isinstance(progress, list) or not progress:
        click.echo(f"nothing was ever announced to {meter}", err=True)
        return
    show(
        ("kind", "version", "state", "why", "detail"),
        [[str(one[key]) or "-" for key in ("kind", "version", "state", "why", "detail")]
         for one in progress],
    )  # fmt: skip
