"""`wattwarden meters calibrate`: the guided session, or an unattended one with --yes."""

import sys
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import click

from gateway.cli.call import invoke
from gateway.cli.guided import Guide, Plan
from gateway.cli.options import config_option, example
from gateway.cli.references import Listed, Logged, ReferenceSource, Typed
from gateway.domain.errors import BadInputError, GatewayError
from gateway.settings import Settings

FILE = click.Path(path_type=Path, dir_okay=False)


class _Given(TypedDict):
    """The options that tell how."""

    class_pct: float
    reference: str
    digits: tuple[float, float]
    channel: tuple[str, ...]
    readings: Path | None
    reference_log: Path | None
    loads: int
    count: int
    stretch: int
    wait: float
    certificate: Path | None
    allow_reversed: bool
    fresh: bool
    check: bool
    yes: bool


@click.command(
    epilog=example(
        "sudo wattwarden meters calibrate kitchen --class 1 --reference 'plug meter PM-231'",
        "sudo wattwarden meters calibrate kitchen --class 0.2 --reference-log ref.csv --yes",
    )
)
@click.argument("meter", metavar="ID")
@click.option(
    "--class", "class_pct", type=click.FloatRange(0, 10, min_open=True), default=1.0,
    show_default=True, help="Accuracy of the reference, % of its reading.",
)  # fmt: skip
@click.option("--reference", default="", help="What the reference is, for the report.")
@click.option(
    "--digits", type=(float, float), default=(0.1, 0.1), show_default=True, metavar="V W",
    help="Its last digits: the smallest steps of V and W that it shows.",
)  # fmt: skip
@click.option("--channel", multiple=True, help="Only this channel; may be given again.")
@click.option("--readings", type=FILE, help="Take readings from this CSV: load,channel,v,i,p.")
@click.option("--reference-log", type=FILE, help="A CSV that a reference meter writes: t,v,i,p.")
@click.option(
    "--loads", type=click.IntRange(2, 7), default=5, show_default=True, help="With --reference-log."
)
@click.option(
    "--count", type=click.IntRange(1, 20), default=3, show_default=True,
    help="How often typed readings are asked for at each load.",
)  # fmt: skip
@click.option("--stretch", type=click.IntRange(1, 30), default=5, help="Seconds measured at once.")
@click.option("--wait", type=float, default=120.0, help="Seconds to wait for a load with --yes.")
@click.option("--certificate", type=FILE, help="Where the report goes. [calibration-ID-N.html]")
@click.option(
    "--reversed", "allow_reversed", is_flag=True, help="Allow a clamp the wrong way round."
)
@click.option("--fresh", is_flag=True, help="Begin anew instead of going on where it was left.")
@click.option("--check/--no-check", default=True, help="Check on one more load afterwards.")
@click.option("--yes", is_flag=True, help="Ask nothing; for --readings and --reference-log.")
@config_option
def calibrate(meter: str, config: Path, **given: Unpack[_Given]) -> None:
    """Calibrate a meter against a reference instrument, over the network.

    Needs resistive loads (a kettle, an iron, a lamp with a filament) and an instrument that
    reads V and W, or a log of one. What is measured is kept: interrupted, the next call goes on.
    The old calibration stays in force until the meter has confirmed the new one.
    """
    settings = Settings.load(config)
    if given["yes"] and given["readings"] is None and given["reference_log"] is None:
        msg = "--yes: needs --readings or --reference-log; somebody must tell what is true"
        raise BadInputError(msg)
    if not given["yes"] and not sys.stdin.isatty():
        msg = "--yes: needed where nobody can be asked"
        raise BadInputError(msg)
    volts, watts = given["digits"]
    plan = Plan(
        meter=meter,
        instrument={
            "name": given["reference"], "class_pct": given["class_pct"], "digit_v": volts,
            "digit_p": watts,
        },
        channels=given["channel"],
        stretch_s=given["stretch"],
        reversed_ok=given["allow_reversed"],
        fresh=given["fresh"],
        check=given["check"],
    )  # fmt: skip
    guide = Guide(plan, partial(invoke, settings), _say, _Nobody() if given["yes"] else _Somebody())
    made = guide.run(_source(guide, settings, given))
    _report(settings, meter, int(made["version"]), given["certificate"])


def _source(guide: Guide, settings: Settings, given: _Given) -> ReferenceSource:
    if given["reference_log"] is not None:
        return Logged(
            given["reference_log"], _say, loads=given["loads"], wait_s=given["wait"],
            zone=settings.site.zone,
        )  # fmt: skip
    if given["readings"] is not None:
        return Listed.load(given["readings"], guide.sees, _say, given["wait"])
    return Typed(_say, given["count"])


def _report(settings: Settings, meter: str, version: int, where: Path | None) -> None:
    """Write the one-page report."""
    page = invoke(settings, "calibration.certificate", {"id": meter, "version": version})
    path = where or Path(f"calibration-{meter}-{version}.html")
    try:
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(str(page["html"]), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        msg = f"--certificate: {path} cannot be written: {error.strerror}; the calibration is done"
        raise GatewayError(msg) from error
    click.echo(f"calibration {version} of {meter} is in force; its report: {path}")


def _say(text: str) -> None:
    click.echo(text)


class _Somebody:
    """The person at the terminal."""

    def wait(self, text: str) -> None:
        """Tell what to do, and wait until it is done."""
        click.echo(text)
        click.prompt("Press Enter when it is done", default="", show_default=False, err=True)

    def again(self, problem: str) -> bool:
        """Tell what is wrong with a load; return whether to measure it once more."""
        click.echo(f"  {problem}")
        return click.confirm("Measure this load once more?", default=True, err=True)

    def back(self, problem: str) -> bool:
        """Tell what is wrong with the calibration; return whether to take it back."""
        click.echo(f"  {problem}")
        return click.confirm("Go back to what was before?", default=False, err=True)


class _Nobody:
    """Nobody can be asked: what is wrong ends the session, which can be gone on with."""

    def wait(self, text: str) -> None:
        """Tell what should be so by now."""
        click.echo(text)

    def again(self, problem: str) -> bool:  # noqa: ARG002 - the port's
        """Return False."""
        return False

    def back(self, problem: str) -> bool:  # noqa: ARG002 - the port's
        """Return False: it stays in force, and the error says how to take it back."""
        return False
