"""`wattwarden train`: models from the Parquet archive, judged and ready to be published."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli.bars import Bars
from gateway.cli.options import archive_option, example, meters_option, words, zone_named
from gateway.cli.tables import show
from tinymodels.train.autoencoder import Recipe
from tinymodels.train.fitting import KINDS, Order
from tinymodels.train.judging import Trial
from tinymodels.train.leaving_out import spans_of
from tinymodels.train.outcome import Outcome
from tinymodels.train.training import Run
from tinymodels.train.training import train as run_training

MOST_JOBS = 64


@click.command(
    epilog=example(
        "wattwarden export --archive readings",
        "wattwarden train --archive readings --out models --jobs 2",
        "wattwarden train --archive readings --out models --kinds charts,device --meters kitchen",
    )
)
@archive_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="Where models go. An interrupted run with the same options goes on there.",
)  # fmt: skip
@meters_option
@click.option(
    "--kinds", default=",".join(KINDS), show_default=True, metavar="KIND,…",
    help="Autoencoders need TensorFlow: pip install 'wattwarden[train]'.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, MOST_JOBS), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
@click.option("--zone", default="UTC", show_default=True, help="The homes' time zone.")
@click.option(
    "--budget", type=click.FloatRange(0.1, 100), default=4.0, show_default=True,
    help="False alarms per month that a channel may raise.",
)  # fmt: skip
@click.option(
    "--version", type=click.IntRange(1, 10**9), help="[default: the data's last day, YYYYMMDD]"
)
@click.option(
    "--champions", type=click.Path(path_type=Path, file_okay=False),
    help="A folder of models that run now: the gate compares with them.",
)  # fmt: skip
@click.option(
    "--leave-out", type=click.Path(path_type=Path, dir_okay=False),
    help="Alerts whose time is no pattern of usual life: `wattwarden alerts list --json`.",
)  # fmt: skip
@click.option(
    "--events", type=click.IntRange(2, 1000), default=40, show_default=True,
    help="Faults of each kind put into the held-out months.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1, 1000), default=30, show_default=True)
@click.option("--no-judging", is_flag=True, help="Only fit; the registry then asks for --force.")
@click.option("--fresh", is_flag=True, help="Throw away what an earlier run left in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def train(**given: Any) -> None:  # noqa: ANN401 - click gives one for each option
    """Fit charts, Gaussians, autoencoders and meters' own models; judge each; write cards.

    For every meter, and for all together where there are several. Nothing is published: that is
    `wattwarden registry publish`, which asks for the gate's verdict that is written here.
    """
    run = _run(given)
    with Bars() as bars:

        def told(stage: str, done: int, count: int, note: str) -> None:
            bars.move(stage, done, count, note=note, ended=f"{stage}: {done} of {count}")

        outcomes = run_training(run, told)
    if given["as_json"]:
        click.echo(json.dumps([one._asdict() for one in outcomes]))
        return
    _table(outcomes)
    click.echo(f"{sum(bool(one.file) for one in outcomes)} models in {run.out}", err=True)


def _run(given: dict[str, Any]) -> Run:
    leave_out = given["leave_out"]
    order = Order(
        zone=zone_named(given["zone"], "--zone").key,
        alarms_per_month=given["budget"],
        kinds=tuple(words(given["kinds"])),
        version=given["version"] or 0,
        seed=given["seed"],
        leave_out={} if leave_out is None else spans_of(leave_out),
    )
    return Run(
        archive=given["archive"],
        out=given["out"],
        order=order,
        meters=words(given["meters"]),
        jobs=given["jobs"],
        trial=None if given["no_judging"] else Trial(events=given["events"]),
        recipe=Recipe(epochs=given["epochs"], seed=given["seed"]),
        champions=given["champions"],
        fresh=given["fresh"],
    )


def _table(outcomes: Sequence[Outcome]) -> None:
    rows = [
        (
            "pooled" if one.meter == "*" else one.meter, one.channel, one.kind,
            {True: "ok", False: "refused", None: "-"}[one.passed], one.file or "-", one.why,
        )
        for one in outcomes
    ]  # fmt: skip
    show(("meter", "channel", "kind", "gate", "file", "why"), rows)
