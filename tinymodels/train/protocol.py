"""The event protocol: refit by the month on what came before, then judge the month.

For each month of the test every contender is fitted on the trailing weeks that end where the
month begins, its limit chosen from those weeks alone. The clean month gives the false alarms.
Then each event is put into the clean series by itself and the stretch scored anew; a hit is an
alert that BEGINS between the fault's start and the law's deadline. The placebo asks the same of the
clean series.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np

from tinymodels.detect.contract import FitRefusedError, Fitter, Model, Options, scored
from tinymodels.detect.events import Event as Alert
from tinymodels.detect.events import merged
from tinymodels.detect.examples import known
from tinymodels.detect.injector import (
    HOME_FAULTS,
    HOUR_MS,
    LAWS,
    Event,
    FaultName,
    fits,
    measured_slope,
    plan,
)
from tinymodels.detect.limits import DAYS_PER_MONTH
from tinymodels.detect.minutes import DAY_MS, Floats, Minutes
from tinymodels.train.errors import EvaluationError
from tinymodels.train.figures import (
    BudgetFigures,
    FaultFigures,
    Report,
    SeriesFacts,
    budget_name,
)
from tinymodels.train.labels import Label, false_ones, left_out
from tinymodels.train.labels import count as count_labels
from tinymodels.train.listener import Listener
from tinymodels.train.scoring import Series, Stretch
from tinymodels.train.split import Split

TRAILING_MS: Final = 56 * DAY_MS
BUDGETS: Final = (4.0, 2.0, 1.0)
FAR_OFF: Final = 1.3  # times a whole row: above every limit of the voltage
Told = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


class Contender(NamedTuple):
    """A detector under test: its name in the report, and what fits its models."""

    name: str
    fitter: Fitter


@dataclass(frozen=True, slots=True)
class Terms:
    """What is decided before the test months are opened."""

    options: Options
    budgets: Sequence[float] = BUDGETS
    faults: Sequence[FaultName] = HOME_FAULTS
    events: int = 160
    seed: int = 6
    trailing_ms: int = TRAILING_MS
    modelled: tuple[str, ...] = ()
    simulated: bool = False
    labels: Sequence[Label] = ()

    def frozen(self, names: Sequence[str]) -> dict[str, object]:
        """Return the terms as JSON values, for the seal of a split."""
        return {
            "contenders": list(names),
            "options": [str(self.options.zone), self.options.voltage, self.options.seed],
            "budgets": list(self.budgets),
            "faults": {name: list(map(str, LAWS[name])) for name in self.faults},
            "events": self.events,
            "seed": self.seed,
            "trailing_ms": self.trailing_ms,
            "labels": len(self.labels),
        }


class Example(NamedTuple):
    """One event for a picture: the stretch clean and with the fault, and when it was found."""

    detector: str
    event: Event
    clean: Minutes
    faulty: Minutes
    alert_ms: int | None


class Judged(NamedTuple):
    """What comes of a judgement."""

    reports: dict[str, Report]
    examples: list[Example]


@dataclass(slots=True)
class _Tally:
    """One contender at one budget."""

    allowed: float
    listener: Listener = field(default_factory=Listener)
    alerts: list[Alert] = field(default_factory=list)
    hits: dict[FaultName, list[int]] = field(default_factory=dict)
    placebo: dict[FaultName, int] = field(default_factory=dict)
    events: dict[FaultName, int] = field(default_factory=dict)

    def note(self, event: Event, found: Sequence[Alert], clean: Sequence[Alert]) -> int | None:
        """Count an event; return when it was found in time, None if it was not."""
        name = event.fault
        self.events[name] = self.events.get(name, 0) + 1
        first = _first(found, event.start_ms, event.deadline_ms)
        if _first(clean, event.start_ms, event.deadline_ms) is not None:
            self.placebo[name] = self.placebo.get(name, 0) + 1
        if first is None:
            return None
        self.hits.setdefault(name, []).append(first - event.start_ms)
        return first


def _first(found: Sequence[Alert], from_ms: int, to_ms: int) -> int | None:
    """Return when the first alert began in (from, to]: what was open before counts for nothing."""
    return next((alert.from_ms for alert in found if from_ms < alert.from_ms <= to_ms), None)


def judge(split: Split, contenders: Sequence[Contender], terms: Terms, told: Told) -> Judged:
    """Open the test months of a split and judge all contenders in them, once.

    Raise EvaluationError where the months were opened before or nothing can be injected.
    """
    slope = measured_slope(split.training)
    opened = split.open(terms.frozen([contender.name for contender in contenders]))
    # A fault that is longer than a short test, or needs what nobody measured, is left out.
    able = [name for name in terms.faults if known(split.training, LAWS[name].needs)]
    faults = [name for name in able if fits(name, opened.test_ms)]
    planned = [
        event for name in faults for event in plan(name, opened.test_ms, terms.events, terms.seed)
    ]
    if not planned:
        msg = f"{split.name}: none of the faults can be put into this series"
        raise EvaluationError(msg)
    months = list(_months(*opened.test_ms))
    told(f"{split.name}: features", 0, len(months))
    series = Series(opened.series, slope, planned, left_out_ms=left_out(terms.labels))
    runs = [_Run(contender, terms, series) for contender in contenders]
    for number, month in enumerate(months):
        told(f"{split.name}: {_month_name(month[0])}", number, len(months))
        tried = [event for event in planned if month[0] <= event.start_ms < month[1]]
        for run in runs:
            run.begin(month, [event.start_ms for event in tried])
        for event in tried:
            _try_all(runs, series, event)
    told(f"{split.name}: judged", len(months), len(months))
    clean_days = _days(opened.series.between(*opened.test_ms))
    reports: dict[str, Report] = {}
    examples: list[Example] = []
    for run in runs:
        facts = SeriesFacts(
            split.name, *opened.test_ms, clean_days, slope, run.refits, opened.frozen_sha256,
            terms.modelled, terms.simulated,
        )  # fmt: skip
        reports[run.contender.name] = run.report(facts)
        examples += run.examples.values()
    return Judged(reports, examples)


def _days(minutes: Minutes) -> float:
    """Return how many days have data, counted in hours: some loggers skip minutes."""
    return len(np.unique(minutes.start_ms // HOUR_MS)) / 24


def _months(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the calendar months of a span, its ends cut."""
    while from_ms < to_ms:
        at = datetime.fromtimestamp(from_ms / 1000, UTC)
        after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        end_ms = min(int(after.timestamp()) * 1000, to_ms)
        yield from_ms, end_ms
        from_ms = end_ms


def _month_name(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m}"


def _try_all(runs: "Sequence[_Run]", series: Series, event: Event) -> None:
    """Put one event in and let every contender judge it."""
    if not len(series.minutes.between(event.start_ms, event.deadline_ms)):
        return  # a hole in the data: nobody could have seen it
    stretch = series.stretch(event)
    for run in runs:
        run.attempt(stretch)


class _Run:
    """One contender going through the months of one series."""

    def __init__(self, contender: Contender, terms: Terms, series: Series) -> None:
        self.contender = contender
        self.terms = terms
        self.series = series
        self.tallies = [_Tally(allowed) for allowed in terms.budgets]
        self.refits = 0
        self.days = 0.0
        self.examples: dict[FaultName, Example] = {}
        self.models: list[list[Model]] = []
        self.clean: list[list[Alert]] = []

    def begin(self, month_ms: tuple[int, int], faults_ms: Sequence[int]) -> None:
        """Refit on what came before a month, and count its false alarms.

        `faults_ms` is when faults will be put into it.
        """
        from_ms, to_ms = month_ms
        self._refit((from_ms - self.terms.trailing_ms, from_ms))
        after_ms = max(LAWS[name].limit_ms for name in self.terms.faults)
        self.clean = []
        for group in self.models:
            heard = self.series.clean(group[0], (from_ms, to_ms + after_ms))
            for model in group:
                listener = self.tallies[len(self.clean)].listener
                self.clean.append(listener.month(model, heard, month_ms, faults_ms))
        for tally, found in zip(self.tallies, self.clean, strict=True):
            tally.alerts += [alert for alert in found if from_ms < alert.from_ms <= to_ms]
        self.days += _days(self.series.minutes.between(*month_ms))

    def _refit(self, span_ms: tuple[int, int]) -> None:
        """Fit for each budget; where the weeks do not suffice the last models stay."""
        options = self.terms.options
        try:
            models = [
                self.series.fit(
                    self.contender.fitter, span_ms, options._replace(alarms_per_month=allowed)
                )
                for allowed in self.terms.budgets
            ]
        except FitRefusedError as error:
            if not self.models:
                msg = f"{self.contender.name}: no model for the first month of the test: {error}"
                raise EvaluationError(msg) from error
            return
        self.models = _grouped(models, self.series, span_ms)
        self.refits += 1

    def attempt(self, stretch: Stretch) -> None:
        """Judge one event and count it at every budget."""
        found: list[list[Alert]] = []
        for group in self.models:
            heard = self.series.faulty(group[0], stretch)
            for model in group:
                listener = self.tallies[len(found)].listener
                found.append(listener.fault(model, heard, stretch.event.start_ms))
        event = stretch.event
        for number, tally in enumerate(self.tallies):
            alert_ms = tally.note(event, found[number], self.clean[number])
            if number == 0:
                self._keep(event, alert_ms)

    def _keep(self, event: Event, alert_ms: int | None) -> None:
        """Keep the first event of each kind for a picture, the first that was found if any."""
        known = self.examples.get(event.fault)
        if known is None or (known.alert_ms is None and alert_ms is not None):
            length_ms = max(event.end_ms, event.deadline_ms) - event.start_ms
            both = self.series.around(event, max(length_ms, DAY_MS // 4), length_ms)
            self.examples[event.fault] = Example(self.contender.name, event, *both, alert_ms)

    def report(self, facts: SeriesFacts) -> Report:
        """Return what was counted."""
        months = self.days / DAYS_PER_MONTH
        low, high = facts.test_from_ms, facts.test_to_ms
        labels = [label for label in self.terms.labels if low <= label.from_ms < high]
        budgets = {
            budget_name(tally.allowed): BudgetFigures(
                allowed_per_month=tally.allowed,
                months=months,
                false_alarms=len(merged(false_ones(tally.alerts, labels))),
                alerts=len(tally.alerts),
                labels=count_labels(tally.alerts, labels),
                faults={name.value: _figures(tally, name, facts) for name in tally.events},
            )
            for tally in self.tallies
        }
        return Report(self.contender.name, (facts,), budgets)


def _grouped(
    models: Sequence[Model], series: Series, span_ms: tuple[int, int]
) -> list[list[Model]]:
    """Return models in order, those side by side that differ only in their limits as one group.

    They are told by their scores of the span's last day, as it was and with everything far off
    (rules count in parts of the limit, and speak only then), and need scoring only once.
    """
    last = series.minutes.between(span_ms[1] - 2 * DAY_MS, span_ms[1])
    samples = (last, Minutes(last.start_ms, FAR_OFF * last.values))
    groups: list[list[Model]] = []
    known: list[Floats] = []
    for model in models:
        scores = [scored(model, sample)[1] for sample in samples]
        same = bool(known) and all(
            np.array_equal(one, other, equal_nan=True)
            for one, other in zip(known, scores, strict=True)
        )
        if same:
            groups[-1].append(model)
        else:
            groups.append([model])
            known = scores
    return groups


def _figures(tally: _Tally, name: FaultName, facts: SeriesFacts) -> FaultFigures:
    law = LAWS[name]
    delays = tally.hits.get(name, [])
    return FaultFigures(
        events=tally.events[name],
        hits=len(delays),
        placebo_hits=tally.placebo.get(name, 0),
        limit_ms=law.limit_ms,
        disjoint=int(facts.clean_days * DAY_MS // max(law.most_ms, law.limit_ms)),
        target=law.target,
        delays_ms=tuple(sorted(delays)),
    )
