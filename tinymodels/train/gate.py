"""The gate: which challenger may be published, with a verdict that says why, line by line.

Rules are those of docs/detection.md. A model that fails is not publishable without force and a
reason. All that is compared was measured by `tinymodels.train.protocol` on the same months.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tinymodels.train import card as cards
from tinymodels.train.figures import BudgetFigures, Report
from tinymodels.train.report import plain

LEAST_CLEAN_DAYS: Final = 28.0
MOST_LOSS: Final = 0.02  # of recall, per fault: two points
LEAST_CORRELATION: Final = 0.999
MOST_STEP_US: Final = 2_000.0  # for one minute; a reading a second allows 40 us amortised
MOST_SIZE_BYTES: Final = 524_288
# Recall that hardly exceeds luck is no detection, whatever the champion did.
LEAST_OVER_PLACEBO: Final = 0.05
LEAST_EVENTS: Final = 20


class Checks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found on the model itself (tinymodels.train.checks); None: does not apply.

    `correlation` of the runtime's scores with the float model's; `problems` are sentences on
    cases that did not behave: NaN, zero load, reversed clamp, self-test, order of features.
    """

    size_bytes: int
    step_us: float
    correlation: float | None = None
    problems: tuple[str, ...] = ()
    builtin_operators: bool | None = None
    card: dict[str, Any] = {}


class GateVerdict(NamedTuple):
    """Whether a model may be published; one line per rule, those that failed begin with FAILED."""

    passed: bool
    lines: tuple[str, ...]

    def text(self) -> str:
        """Return the written verdict."""
        head = "PASSED" if self.passed else "NOT PASSED: not publishable without force and reason"
        return "\n".join((head, *self.lines)) + "\n"


class _Line(NamedTuple):
    good: bool
    text: str


def judge(champion: Report | None, challenger: Report, checks: Checks) -> GateVerdict:
    """Compare a challenger with the champion, None where there is none yet."""
    lines = [
        *_data(challenger),
        *_alarms(challenger),
        *_recall(champion, challenger),
        *_runs(checks),
        *_card(checks.card),
    ]
    told = tuple(f"{'ok' if line.good else 'FAILED'}: {line.text}" for line in lines)
    return GateVerdict(all(line.good for line in lines), told)


def _data(report: Report) -> Iterator[_Line]:
    days = report.clean_days
    yield _Line(
        days >= LEAST_CLEAN_DAYS,
        f"{days:.0f} clean days were held out; {LEAST_CLEAN_DAYS:.0f} are needed",
    )
    yield _Line(bool(report.budgets), f"{len(report.budgets)} budgets of false alarms were judged")


def _alarms(report: Report) -> Iterator[_Line]:
    for name, figures in report.budgets.items():
        yield _Line(
            figures.within,
            f"{figures.false_alarms_per_month:.2f} false alarms a month where {name} are allowed",
        )


def _recall(champion: Report | None, challenger: Report) -> Iterator[_Line]:
    for name, figures in challenger.budgets.items():
        yield _finds(name, figures)
        known = None if champion is None else champion.budgets.get(name)
        if known is not None:
            yield from _compared(name, known, figures)
    lost = set() if champion is None else champion.budgets.keys() - challenger.budgets.keys()
    if lost:
        yield _Line(
            good=False, text=f"not judged at {', '.join(sorted(lost))}, as the champion was"
        )


def _finds(name: str, figures: BudgetFigures) -> _Line:
    """Ask for more than luck: a constant model, or one that always alerts, finds nothing."""
    faults = figures.faults.values()
    count = sum(fault.events for fault in faults)
    over = sum(fault.hits - fault.placebo_hits for fault in faults) / max(count, 1)
    return _Line(
        over >= LEAST_OVER_PLACEBO and count >= LEAST_EVENTS,
        f"at {name} a month it finds {over:.0%} of {count} events beyond luck",
    )


def _compared(name: str, champion: BudgetFigures, challenger: BudgetFigures) -> Iterator[_Line]:
    for fault, known in champion.faults.items():
        found = challenger.faults.get(fault)
        if found is None:
            yield _Line(good=False, text=f"at {name}: {plain(fault)} was not judged")
            continue
        yield _Line(
            found.recall >= known.recall - MOST_LOSS - 1e-9,
            f"at {name}: {plain(fault)} {found.recall:.3f}, champion {known.recall:.3f}",
        )


def _runs(checks: Checks) -> Iterator[_Line]:
    yield _Line(
        0 < checks.size_bytes <= MOST_SIZE_BYTES,
        f"{checks.size_bytes} bytes; {MOST_SIZE_BYTES} are allowed",
    )
    yield _Line(
        0 <= checks.step_us <= MOST_STEP_US,
        f"{checks.step_us:.0f} us a minute; {MOST_STEP_US:.0f} are allowed",
    )
    if checks.correlation is not None:
        yield _Line(
            checks.correlation >= LEAST_CORRELATION,
            f"scores correlate {checks.correlation:.5f} with the float model's; "
            f"{LEAST_CORRELATION} is needed",
        )
    if checks.builtin_operators is not None:
        yield _Line(checks.builtin_operators, "the converted model has builtin operators only")
    for problem in checks.problems:
        yield _Line(good=False, text=problem)
    if not checks.problems:
        yield _Line(good=True, text="NaN, zero load, reversed clamp and self-test behave")


def _card(card: Mapping[str, Any]) -> Iterator[_Line]:
    lacks = cards.missing(card)
    text = f"the card lacks {', '.join(lacks)}" if lacks else "the card is complete"
    yield _Line(not lacks, text)
