"""Judge detectors on an archive or a bench's homes; write tables, JSON, pictures and cards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tinymodels.detect.contract import Fitter, Model, Options
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes
from tinymodels.detect.package import SUFFIX, Package, unpack
from tinymodels.train.errors import EvaluationError
from tinymodels.train.figures import Report, budget_name, pooled
from tinymodels.train.files import write_whole
from tinymodels.train.picture import svg
from tinymodels.train.protocol import Contender, Example, Judged, Terms, Told, judge
from tinymodels.train.report import comparison, markdown, unreached
from tinymodels.train.split import Split

LEAST_HISTORY_MS: Final = 14 * DAY_MS


class Channel(NamedTuple):
    """One channel to judge on: its name, minutes, and where its test begins."""

    name: str
    minutes: Minutes
    test_from_ms: int
    terms: Terms
    short: bool = False


class Outcome(NamedTuple):
    """What came of judging several channels: a pooled report per detector, and pictures."""

    reports: tuple[Report, ...]
    by_channel: Mapping[str, Judged]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """A published model as a fitter: nothing is fitted, its limits are those of its card.

    A budget that the card does not name gets the limit that the model came with. It refuses to
    be judged on months that it was fitted on.
    """

    name: str
    model: Model
    limits: Mapping[str, float]
    test_from_ms: int

    def fit(self, minutes: Minutes, options: Options) -> Model:  # noqa: ARG002 - as `Fitter` has it
        """Return the model for this budget; EvaluationError where it saw the test."""
        if self.model.trained[1] > self.test_from_ms:
            msg = f"{self.name}: it was fitted on months of the test; begin the test later"
            raise EvaluationError(msg)
        limit = self.limits.get(budget_name(options.alarms_per_month), self.model.limit)
        return self.model.with_limit(limit)


def test_begin(minutes: Minutes, days: int) -> int:
    """Return where the last `days` begin; EvaluationError where too little would be left to fit."""
    end_ms = int(minutes.start_ms[-1]) + MINUTE_MS
    begin_ms = end_ms - days * DAY_MS
    if int(minutes.start_ms[0]) > begin_ms - LEAST_HISTORY_MS:
        held = (end_ms - int(minutes.start_ms[0])) / DAY_MS
        msg = f"{held:.0f} days are too few for {days} of test and two weeks to fit on"
        raise EvaluationError(msg)
    return begin_ms


def judge_channels(
    channels: Sequence[Channel], fitters: Mapping[str, Fitter], told: Told
) -> Outcome:
    """Judge every detector on every channel; a channel that cannot be judged is told, not hidden.

    EvaluationError where none can.
    """
    judged: dict[str, Judged] = {}
    skipped: list[str] = []
    for channel in channels:
        contenders = [Contender(name, fitter) for name, fitter in fitters.items()]
        try:
            split = Split(channel.name, channel.minutes, channel.test_from_ms, short=channel.short)
            judged[channel.name] = judge(split, contenders, channel.terms, told)
        except EvaluationError as error:
            skipped.append(str(error))
    if not judged:
        raise EvaluationError("; ".join(skipped) or "there is nothing to judge")
    reports = tuple(
        pooled(name, [one.reports[name] for one in judged.values()]) for name in fitters
    )
    return Outcome(reports, judged, tuple(skipped))


def write_outcome(outcome: Outcome, out: Path) -> list[Path]:
    """Write NAME.report.json and NAME.card.md per detector, faults.md, and a picture per fault."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for report in outcome.reports:
        path = out / f"{report.detector}.report.json"
        write_whole(path, report.to_json())
        written.append(path)
    pages = [fault_page(outcome)]
    examples = [one for judged in outcome.by_channel.values() for one in judged.examples]
    for name in dict.fromkeys(example.event.fault for example in examples):
        path = out / f"{name.value}.svg"
        write_whole(path, svg(_best([one for one in examples if one.event.fault is name])).encode())
        pages.append(f"![{name.value}]({path.name})")
        written.append(path)
    page = out / "faults.md"
    write_whole(page, ("\n\n".join(pages) + "\n").encode())
    return [page, *written]


def fault_page(outcome: Outcome) -> str:
    """Return the fault table as Markdown: comparison, all figures, and what is not reached."""
    reports = outcome.reports
    parts = ["# How faults are found", markdown(reports)]
    for budget in reports[0].budgets:
        parts += [f"## At {budget} false alarms a month", comparison(reports, budget)]
        for report in reports:
            short = unreached(report, budget)
            parts += [f"{report.detector} does not reach:"] if short else []
            parts += ["\n".join(f"- {line}" for line in short)] if short else []
    if outcome.skipped:
        parts += ["## Not judged", "\n".join(f"- {why}" for why in outcome.skipped)]
    return "\n\n".join(parts) + "\n"


def read_package(path: Path) -> Package:
    """Return a model's file; EvaluationError where it cannot be read."""
    if path.suffix != SUFFIX:
        msg = f"--model: {path} is no {SUFFIX} file"
        raise EvaluationError(msg)
    try:
        return unpack(path.read_bytes())
    except OSError as error:
        msg = f"--model: {path} cannot be read: {error.strerror}"
        raise EvaluationError(msg) from error


def published(path: Path, test_from_ms: int) -> tuple[str, Fitter]:
    """Return a published model's name and what stands for it in a judgement."""
    package = read_package(path)
    fitter = published_model(package, open_package(package), test_from_ms)
    return fitter.name, fitter


def published_model(package: Package, model: Model, test_from_ms: int) -> Published:
    """Return a package's model for a judgement, its limits from the card."""
    limits = package.card.get("limits") or {}
    return Published(package.name.removesuffix(SUFFIX), model, dict(limits), test_from_ms)


def _best(examples: Sequence[Example]) -> Example:
    """Return an example of the last detector that found the fault, else of the last."""
    found = [one for one in examples if one.alert_ms is not None]
    return (found or list(examples))[-1]
