"""A report on a detector: what the gate compares and people read; JSON by msgspec."""

from typing import Final

import msgspec

from tinymodels.train.confidence import lower_bound
from tinymodels.train.errors import EvaluationError
from tinymodels.train.labels import LabelCount

SCHEMA: Final = 1


class FaultFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of fault fared. `hits`: alerts within `limit_ms`.

    `placebo_hits`: the same windows of the clean series in which an alert began by itself. Delays
    are of the hits, from the fault's start to the alert. `disjoint` is how many such faults the
    test would hold one after the other: events that overlap in time say less than as many
    separate ones. `target` None: reported only.
    """

    events: int
    hits: int
    placebo_hits: int
    limit_ms: int
    disjoint: int
    target: float | None = None
    delays_ms: tuple[int, ...] = ()

    @property
    def recall(self) -> float:
        """Return the share of events found in time."""
        return self.hits / self.events

    @property
    def placebo(self) -> float:
        """Return the share that luck would have found."""
        return self.placebo_hits / self.events

    @property
    def lower(self) -> float:
        """Return the recall's one-sided 95 % lower bound (Clopper-Pearson)."""
        return lower_bound(self.hits, self.events)

    @property
    def met(self) -> bool | None:
        """Return whether the lower bound reaches the target, None without one."""
        return None if self.target is None else self.lower >= self.target

    def delay_ms(self, share: float) -> int | None:
        """Return the delay that `share` of the hits do not exceed, None without hits."""
        ordered = sorted(self.delays_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


class BudgetFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One detector at one budget.

    `false_alarms` are events of the clean series, merged to 6 h, less those that a person called
    right; `labels` tells how it fared on what people said.
    """

    allowed_per_month: float
    months: float
    false_alarms: int
    alerts: int
    faults: dict[str, FaultFigures]
    labels: LabelCount = LabelCount()

    @property
    def false_alarms_per_month(self) -> float:
        """Return how many there were in a month of 30.44 days with data."""
        return self.false_alarms / self.months

    @property
    def within(self) -> bool:
        """Return whether the budget was kept in the test months."""
        return self.false_alarms_per_month <= self.allowed_per_month


class SeriesFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a report was measured on; `modelled` names columns that nobody measured."""

    name: str
    test_from_ms: int
    test_to_ms: int
    clean_days: float
    slope_v_per_kw: float
    refits: int
    frozen_sha256: str
    modelled: tuple[str, ...] = ()
    simulated: bool = False


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One detector, judged; `budgets` by the allowed false alarms per month as text ("4")."""

    detector: str
    series: tuple[SeriesFacts, ...]
    budgets: dict[str, BudgetFigures]
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """Return the report; equal reports give equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"))

    @classmethod
    def from_json(cls, text: bytes) -> "Report":
        """Return a report, or raise EvaluationError: it must be made anew."""
        try:
            report = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"not a report of an evaluation: {error}; evaluate anew"
            raise EvaluationError(msg) from error
        if report.schema != SCHEMA:
            msg = f"a report of schema {report.schema}, not {SCHEMA}: evaluate anew"
            raise EvaluationError(msg)
        return report

    @property
    def clean_days(self) -> float:
        """Return the days held out, over all series."""
        return sum(series.clean_days for series in self.series)


def budget_name(allowed: float) -> str:
    """Return the key of a budget in a report."""
    return f"{allowed:g}"


def pooled(name: str, reports: list[Report]) -> Report:
    """Return several homes' reports of one detector as one, events and months added up."""
    if not reports:
        msg = f"{name}: no report to pool"
        raise EvaluationError(msg)
    keys = [key for key in reports[0].budgets if all(key in r.budgets for r in reports)]
    return Report(
        detector=name,
        series=tuple(facts for report in reports for facts in report.series),
        budgets={key: _pooled_budget([report.budgets[key] for report in reports]) for key in keys},
    )


def _pooled_budget(parts: list[BudgetFigures]) -> BudgetFigures:
    names = dict.fromkeys(name for part in parts for name in part.faults)
    return BudgetFigures(
        allowed_per_month=parts[0].allowed_per_month,
        months=sum(part.months for part in parts),
        false_alarms=sum(part.false_alarms for part in parts),
        alerts=sum(part.alerts for part in parts),
        labels=LabelCount(
            *(
                sum(getattr(part.labels, name) for part in parts)
                for name in LabelCount.__struct_fields__
            )
        ),
        faults={
            name: _pooled_fault([part.faults[name] for part in parts if name in part.faults])
            for name in names
        },
    )


def _pooled_fault(parts: list[FaultFigures]) -> FaultFigures:
    return FaultFigures(
        events=sum(part.events for part in parts),
        hits=sum(part.hits for part in parts),
        placebo_hits=sum(part.placebo_hits for part in parts),
        limit_ms=parts[0].limit_ms,
        disjoint=sum(part.disjoint for part in parts),
        target=parts[0].target,
        delays_ms=tuple(sorted(delay for part in parts for delay in part.delays_ms)),
    )
