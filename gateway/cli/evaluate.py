"""`wattwarden evaluate`: how well detectors find faults in months they have not seen."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli.bars import Bars
from gateway.cli.options import archive_option, example, meters_option, words, zone_named
from gateway.cli.tables import show
from gateway.domain.errors import BadInputError
from tinymodels.detect.contract import Fitter, Options
from tinymodels.detect.kinds import KINDS, fitter
from tinymodels.detect.minutes import Minutes
from tinymodels.train.archive import find, read
from tinymodels.train.errors import EvaluationError
from tinymodels.train.evaluation import (
    Channel,
    Outcome,
    judge_channels,
    published,
    test_begin,
    write_outcome,
)
from tinymodels.train.labels import Label, of_channel, read_labels
from tinymodels.train.protocol import BUDGETS, Terms
from tinymodels.train.report import plain, span
from tinymodels.train.split import LEAST_TEST_DAYS

# An autoencoder needs a network first: `train` makes one, --model brings it.
USUAL_KINDS = "gaussian,charts,combined"


@click.command(
    epilog=example(
        "wattwarden export --archive readings --resolution 1m",
        "wattwarden evaluate --archive readings --out judged",
        "wattwarden evaluate --archive readings --out judged --kinds charts --events 160",
        "wattwarden evaluate --archive readings --out judged --model charts-kitchen-grid-7.wwm",
    )
)
@archive_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="Where faults.md, a report per detector and a picture per fault go.",
)  # fmt: skip
@meters_option
@click.option("--channels", default="grid", show_default=True, metavar="NAME,…")
@click.option("--kinds", default=USUAL_KINDS, show_default=True, metavar="KIND,…")
@click.option(
    "--model", "models", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
    help="A published model (.wwm) to judge as it is, beside the kinds. Repeatable.",
)  # fmt: skip
@click.option(
    "--test-days", type=click.IntRange(28, 3650), default=LEAST_TEST_DAYS, show_default=True,
    help="How many of the last days are the test; what is before them is fitted on.",
)  # fmt: skip
@click.option(
    "--events", type=click.IntRange(2, 1000), default=40, show_default=True,
    help="Faults of each kind put into the test. A bound of .95 takes 59 or more.",
)  # fmt: skip
@click.option(
    "--budgets", default=",".join(f"{one:g}" for one in BUDGETS), show_default=True,
    metavar="N,…", help="False alarms a month that a meter may raise.",
)  # fmt: skip
@click.option(
    "--labels", type=click.Path(path_type=Path, dir_okay=False),
    help="What people said of alerts: `wattwarden alerts labels` writes it.",
)  # fmt: skip
@click.option("--zone", default="UTC", show_default=True, help="The homes' time zone.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=6, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def evaluate(**given: Any) -> None:  # noqa: ANN401 - click gives one for each option
    """Put faults into real months and count which detectors find them, and how often they err.

    Detectors are refitted by the month on the eight weeks before it; nothing is tuned on the
    test. Beside each recall stands the placebo, what luck would have found, and a lower bound.
    """
    channels = _channels(given)
    fitters = _fitters(given, channels)
    with Bars() as bars:

        def told(what: str, done: int, count: int) -> None:
            name, _, stage = what.partition(": ")
            bars.move(name, done, count, title=f"{name} {stage}", ended=f"{name}: {stage}")

        outcome = judge_channels(channels, fitters, told)
    written = write_outcome(outcome, given["out"])
    for why in outcome.skipped:
        click.echo(f"not judged: {why}", err=True)
    if given["as_json"]:
        click.echo(json.dumps({r.detector: json.loads(r.to_json()) for r in outcome.reports}))
        return
    _table(outcome)
    click.echo(f"{written[0]} and {len(written) - 1} files beside it", err=True)


def _channels(given: dict[str, Any]) -> list[Channel]:
    """Read the archive. BadInputError where a channel asked for is nowhere."""
    labels = {} if given["labels"] is None else read_labels(given["labels"])
    wanted = words(given["channels"])
    found: list[Channel] = []
    too_short: list[str] = []
    for meter, parts in find(given["archive"], words(given["meters"])).items():
        for channel, minutes in read(parts).items():
            if channel not in wanted or not len(minutes):
                continue
            name = f"{meter}-{channel}"
            try:
                begin_ms = test_begin(minutes, given["test_days"])
            except EvaluationError as error:
                too_short.append(f"{name}: {error}")
                continue
            terms = _terms(given, of_channel(labels, meter, channel))
            found.append(_channel(name, minutes, begin_ms, terms, given["test_days"]))
    for why in too_short:
        click.echo(f"left out: {why}", err=True)
    if not found:
        msg = f"--channels: nothing to judge for {', '.join(wanted)}; " + "; ".join(too_short)
        raise BadInputError(msg)
    return found


def _channel(name: str, minutes: Minutes, begin_ms: int, terms: Terms, days: int) -> Channel:
    return Channel(name, minutes, begin_ms, terms, short=days < LEAST_TEST_DAYS)


def _terms(given: dict[str, Any], labels: Sequence[Label]) -> Terms:
    return Terms(
        Options(zone_named(given["zone"], "--zone"), max(_budgets(given))),
        budgets=_budgets(given),
        events=given["events"],
        seed=given["seed"],
        labels=labels,
    )


def _fitters(given: dict[str, Any], channels: Sequence[Channel]) -> dict[str, Fitter]:
    kinds = words(given["kinds"])
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        msg = f"--kinds: {', '.join(unknown)} is none of {', '.join(KINDS)}"
        raise BadInputError(msg)
    fitters = {kind: fitter(kind) for kind in kinds}
    earliest_ms = min(channel.test_from_ms for channel in channels)
    fitters |= dict(published(path, earliest_ms) for path in given["models"])
    if not fitters:
        msg = "--kinds, --model: name at least one detector"
        raise BadInputError(msg)
    return fitters


def _budgets(given: dict[str, Any]) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in words(given["budgets"]))
    except ValueError as error:
        msg = f"--budgets: {given['budgets']!r} must be numbers such as 4,2,1"
        raise BadInputError(msg) from error
    if not found or not all(0 < one <= 1000 for one in found):  # noqa: PLR2004 - a bound of sense
        msg = f"--budgets: {given['budgets']!r} must be above 0"
        raise BadInputError(msg)
    return found


def _table(outcome: Outcome) -> None:
    """Show recall, placebo and bound of every fault at the first budget."""
    budget = next(iter(outcome.reports[0].budgets))
    rows = [
        (
            report.detector, plain(name), f"{fault.recall:.3f}", f"{fault.placebo:.2f}",
            f"{fault.lower:.3f}", span(fault.limit_ms),
            {None: "-", True: "met", False: "not met"}[fault.met],
        )
        for report in outcome.reports
        for name, fault in report.budgets[budget].faults.items()
    ]  # fmt: skip
    show(("detector", "fault", "recall", "placebo", "lower", "within", "target"), rows)
    for report in outcome.reports:
        figures = report.budgets[budget]
        click.echo(
            f"{report.detector}: {figures.false_alarms_per_month:.2f} false alarms a month, "
            f"{budget} allowed"
        )
