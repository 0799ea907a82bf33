"""The event protocol: what counts as found, what as luck, what as false, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.plain_detector import PlainFitter, PlainModel
from tests.support.small_home import MONDAY_MS, small_home
from tinymodels.detect.charts import FITTER as CHARTS
from tinymodels.detect.contract import Model, Options
from tinymodels.detect.injector import HOUR_MS, LAWS, FaultName
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Times
from tinymodels.train.errors import EvaluationError
from tinymodels.train.figures import Report, pooled
from tinymodels.train.labels import Label
from tinymodels.train.protocol import Contender, Judged, Terms, judge
from tinymodels.train.scoring import Series
from tinymodels.train.split import Split

DAYS, TEST_DAY = 64, 30
TEST_MS = MONDAY_MS + TEST_DAY * DAY_MS
OPTIONS = Options(ZoneInfo("UTC"), 4.0)


def silent(*_: object) -> None:
    """Tell nobody."""


def run(fitter: object, **terms: object) -> Judged:
    split = Split("home", small_home(DAYS), TEST_MS, short=True)
    wanted = Terms(OPTIONS, **{"budgets": (4.0, 1.0), "events": 12, **terms})  # type: ignore[arg-type]
    return judge(split, [Contender("one", fitter)], wanted, silent)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scripted(PlainModel):
    """A model whose score is a formula of each quarter's time and power."""

    rule: Callable[[Times, Floats], Floats] = lambda starts, _: np.zeros(len(starts))

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        starts, where = np.unique(minutes.start_ms // 900_000 * 900_000, return_index=True)
        power = np.add.reduceat(minutes["p_mean_w"], where) / np.diff(
            np.append(where, len(minutes))
        )
        return starts, self.rule(starts, power)


@dataclass
class ScriptedFitter:
    """Remembers what it was given to fit on."""

    rule: Callable[[Times, Floats], Floats]

    def __post_init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.holes: list[int] = []

    def fit(self, minutes: Minutes, options: Options) -> Model:  # noqa: ARG002 - the contract's
        self.spans.append((int(minutes.start_ms[0]), int(minutes.start_ms[-1])))
        self.holes.append(int(np.diff(minutes.start_ms).max()))
        return Scripted(0, 1, 1, (0, 1), rule=self.rule)


def lasting(power: Floats, width: int) -> Floats:
    """Return the least of the last `width` quarters."""
    padded = np.concatenate((np.zeros(width - 1), power))
    found: Floats = np.lib.stride_tricks.sliding_window_view(padded, width).min(axis=1)
    return found


def figures(judged: Judged, fault: FaultName) -> object:
    return judged.reports["one"].budgets["4"].faults[fault.value]


def test_an_alert_within_the_limit_is_a_hit_and_its_delay_is_told() -> None:
    """An hour above 900 W: a heater is seen after an hour, the clean home has none."""
    fitter = ScriptedFitter(lambda _, power: np.where(lasting(power, 4) > 900, 2.0, 0.0))
    judged = run(fitter, faults=(FaultName.STUCK_HEATER,))
    found = judged.reports["one"].budgets["4"].faults["stuck_heater"]
    assert found.events == 12
    assert found.hits == 12
    assert found.placebo_hits == 0
    assert all(45 * MINUTE_MS < delay <= 90 * MINUTE_MS for delay in found.delays_ms)
    assert judged.reports["one"].budgets["4"].false_alarms == 0
    assert judged.examples[0].alert_ms is not None


def test_an_alert_after_the_limit_is_a_miss() -> None:
    """A detector that needs six hours of heating is too late for a limit of five."""
    width = LAWS[FaultName.STUCK_HEATER].limit_ms // 900_000 + 4
    late = ScriptedFitter(lambda _, power: np.where(lasting(power, width) > 900, 2.0, 0.0))
    judged = run(late, faults=(FaultName.STUCK_HEATER,))
    assert figures(judged, FaultName.STUCK_HEATER).hits == 0  # type: ignore[attr-defined]


def test_a_detector_that_always_rings_finds_nothing() -> None:
    """What was on before the fault is no alert of the fault, and one alarm for ever is one."""
    judged = run(ScriptedFitter(lambda starts, _: np.full(len(starts), 9.0)))
    assert all(not f.hits for f in judged.reports["one"].budgets["4"].faults.values())


def test_luck_is_counted_beside_and_as_false_alarms() -> None:
    """Rings every eight hours, whatever the power is: hits and placebo are the same."""
    fitter = ScriptedFitter(lambda starts, _: np.where(starts % (8 * HOUR_MS) == 0, 2.0, 0.0))
    judged = run(fitter, faults=(FaultName.BYPASS, FaultName.PHANTOM_LOAD))
    budget = judged.reports["one"].budgets["4"]
    for fault in budget.faults.values():
        assert fault.hits == fault.placebo_hits == 12
    assert budget.false_alarms_per_month > 30
    assert not budget.within


def test_nothing_of_a_month_or_later_is_fitted_on() -> None:
    fitter = ScriptedFitter(lambda starts, _: np.zeros(len(starts)))
    run(fitter, faults=(FaultName.SWELL,))
    assert fitter.spans[0][1] < TEST_MS
    begins = [TEST_MS, MONDAY_MS + 61 * DAY_MS]  # July and 1 August
    latest = sorted({end for _, end in fitter.spans})
    assert all(end < begin for end, begin in zip(latest, begins, strict=True))


def test_what_people_called_right_is_not_false_and_not_fitted_on() -> None:
    at_ms = TEST_MS + 10 * DAY_MS
    rule = lambda starts, _: np.where((starts >= at_ms) & (starts < at_ms + HOUR_MS), 2.0, 0.0)  # noqa: E731
    said = Label("home", "grid", "anomaly", at_ms, at_ms + HOUR_MS, right=True)
    early = Label("home", "grid", "anomaly", TEST_MS - 2 * DAY_MS, TEST_MS - DAY_MS, right=False)
    without = run(ScriptedFitter(rule)).reports["one"].budgets["4"]
    assert without.false_alarms == 1
    fitter = ScriptedFitter(rule)
    told = run(fitter, labels=(early, said)).reports["one"].budgets["4"]
    assert told.false_alarms == 0
    assert (told.labels.right, told.labels.found, told.labels.wrong) == (1, 1, 0)
    assert fitter.holes[0] >= DAY_MS


def test_faults_that_a_series_cannot_have_are_left_out() -> None:
    """Without voltage there is no swell; without anything to inject there is no judgement."""
    home = small_home(DAYS)
    home.values[:, 3:] = np.nan
    split = Split("home", home, TEST_MS, short=True)
    judged = judge(split, [Contender("one", PlainFitter())], Terms(OPTIONS, events=2), silent)
    assert "swell" not in judged.reports["one"].budgets["4"].faults
    split = Split("home", home, TEST_MS, short=True)
    with pytest.raises(EvaluationError, match="none of the faults"):
        judge(split, [], Terms(OPTIONS, faults=(FaultName.SWELL,), events=2), silent)


def test_faults_longer_than_a_short_test_are_left_out() -> None:
    home = small_home(DAYS)
    late_ms = int(home.start_ms[-1]) - 8 * DAY_MS
    terms = Terms(OPTIONS, faults=(FaultName.DRIFT, FaultName.STUCK_HEATER), events=2)
    split = Split("home", home, late_ms, short=True)
    found = judge(split, [Contender("one", PlainFitter())], terms, silent)
    assert list(found.reports["one"].budgets["4"].faults) == ["stuck_heater"]


def test_shared_features_score_as_the_whole_series_would() -> None:
    """The short cut across an event gives what scoring all faulty minutes gives."""
    home, rng = small_home(40), np.random.default_rng(3)
    model = CHARTS.fit(home.between(0, TEST_MS), OPTIONS)
    from tinymodels.detect.injector import inject, plan  # noqa: PLC0415

    for fault in (FaultName.BYPASS, FaultName.SWELL):
        event = plan(fault, (TEST_MS, TEST_MS + 9 * DAY_MS), 3, int(rng.integers(99)))[1]
        series = Series(home, -1.8, [event])
        series.clean(model, (TEST_MS, TEST_MS + DAY_MS))
        starts, scores = series.faulty(model, series.stretch(event))
        all_starts, all_scores = model.score(inject(home, event, -1.8))
        low, high = np.searchsorted(all_starts, [event.start_ms - HOUR_MS, event.deadline_ms])
        mine = dict(zip(starts.tolist(), scores.tolist(), strict=True))
        for at_ms, score in zip(all_starts[low:high].tolist(), all_scores[low:high], strict=True):
            assert mine[at_ms] == pytest.approx(float(score), rel=0.02, abs=0.02)


def test_a_report_round_trips_and_pools() -> None:
    report = run(PlainFitter(), events=4).reports["one"]
    assert Report.from_json(report.to_json()) == report
    both = pooled("two homes", [report, report])
    one, two = report.budgets["4"], both.budgets["4"]
    assert two.months == 2 * one.months
    assert two.faults["bypass"].events == 2 * one.faults["bypass"].events
    assert both.clean_days == 2 * report.clean_days
    with pytest.raises(EvaluationError, match="evaluate anew"):
        Report.from_json(b'{"detector": "x"}')
