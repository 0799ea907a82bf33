"""The gate: good models pass, each bad one is stopped, and the verdict says why."""

import functools
import math
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.support.bad_models import Flaw, bad_package, good_package
from tests.support.plain_detector import PlainModel
from tests.support.small_home import small_home
from tinymodels.detect.contract import Options
from tinymodels.detect.injector import FaultName
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.package import Package
from tinymodels.train.card import NEEDED, card_page, make_card, missing
from tinymodels.train.checks import check_model, correlate
from tinymodels.train.evaluation import published_model
from tinymodels.train.figures import FaultFigures, Report
from tinymodels.train.gate import Checks, GateVerdict, judge
from tinymodels.train.protocol import Contender, Terms
from tinymodels.train.protocol import judge as judge_contenders
from tinymodels.train.split import Split

# The models are fitted on two weeks of this home; these are the month after them.
DAYS, FITTED_DAYS = 46, 15
FAULTS = (FaultName.SWELL, FaultName.REVERSED, FaultName.STUCK_HEATER, FaultName.POOR_PF)
TERMS = Terms(Options(ZoneInfo("UTC"), 4.0), budgets=(4.0,), faults=FAULTS, events=6)


@functools.cache
def home() -> Minutes:
    return small_home(DAYS, seed=3)


def report_of(package: Package) -> Report:
    test_ms = int(home().start_ms[0]) + FITTED_DAYS * DAY_MS
    split = Split("home", home(), test_ms, short=True)
    fitter = published_model(package, open_package(package), test_ms)
    judged = judge_contenders(split, [Contender("it", fitter)], TERMS, lambda *_: None)
    return judged.reports["it"]


@functools.cache
def champion() -> Report:
    return report_of(good_package())


def with_card(package: Package, report: Report) -> dict[str, Any]:
    about = {
        "kind": package.kind, "meters": [package.meter], "channel": package.channel,
        "data_from_ms": 1, "data_to_ms": 2, "features": list(package.features), "seed": 1,
    }  # fmt: skip
    return make_card(about, report, {"payload": package.payload}, {"4": 1.0})


def verdict_on(package: Package, report: Report) -> GateVerdict:
    checks = check_model(package, open_package(package), home())
    return judge(champion(), report, whole(checks, package, report))


def whole(checks: Checks, package: Package, report: Report) -> Checks:
    return msgspec.structs.replace(checks, card=with_card(package, report), correlation=0.9995)


def failed(verdict: GateVerdict) -> str:
    return "\n".join(line for line in verdict.lines if line.startswith("FAILED"))


def test_a_good_model_passes_and_the_verdict_tells_every_rule() -> None:
    verdict = verdict_on(good_package(), champion())
    assert verdict.passed, verdict.text()
    text = verdict.text()
    assert text.startswith("PASSED\n")
    for word in ("clean days", "false alarms a month", "champion", "bytes", "us a minute", "card"):
        assert word in text


@pytest.mark.parametrize(
    ("flaw", "why"),
    [
        (Flaw.CONSTANT, "whatever the minutes are"),
        (Flaw.MANY_ALERTS, "false alarms a month where 4 are allowed"),
        (Flaw.SLOW, "us a minute"),
        (Flaw.TOLD_ORDER, "the features are"),
        (Flaw.HIDDEN_ORDER, "champion"),
    ],
)
def test_each_bad_model_is_stopped(flaw: Flaw, why: str) -> None:
    bad = bad_package(flaw)
    seen = flaw in (Flaw.MANY_ALERTS, Flaw.HIDDEN_ORDER)  # the others' checks tell enough
    verdict = verdict_on(bad, report_of(bad) if seen else champion())
    assert not verdict.passed
    assert why in failed(verdict), verdict.text()


def test_a_model_of_nan_is_stopped() -> None:
    """Charts refuse to load with NaN in them; whatever does load must give numbers."""
    package, model = good_package(), PlainModel(math.nan, 1.0, 1.0, (1, 2))
    checks = whole(check_model(package, model, home()), package, champion())
    verdict = judge(champion(), champion(), checks)
    assert not verdict.passed
    assert "no numbers" in failed(verdict)


def changed(report: Report, **values: object) -> Report:
    """Return a report with all faults of budget 4 (or the budget itself) changed."""
    budget = report.budgets["4"]
    own = {name: value for name, value in values.items() if name in budget.__struct_fields__}
    rest = {name: value for name, value in values.items() if name not in own}
    faults = {name: msgspec.structs.replace(fault, **rest) for name, fault in budget.faults.items()}
    new = msgspec.structs.replace(budget, **{"faults": faults, **own})
    return msgspec.structs.replace(report, budgets={"4": new})


@pytest.fixture
def good() -> tuple[Report, Checks]:
    """Return a report and checks that pass, made by hand: 100 events of two faults."""
    fault = FaultFigures(100, 90, 5, 3_600_000, 40, 0.7, tuple(range(90)))
    base = champion()
    report = changed(base, months=2.0, false_alarms=6)
    budget = msgspec.structs.replace(report.budgets["4"], faults={"swell": fault, "drift": fault})
    report = msgspec.structs.replace(report, budgets={"4": budget})
    card = dict.fromkeys(NEEDED, "there")
    return report, Checks(size_bytes=9_000, step_us=80.0, correlation=0.9995, card=card)


def test_two_points_of_recall_may_be_lost_and_no_more(good: tuple[Report, Checks]) -> None:
    report, checks = good
    assert judge(report, changed(report, hits=88), checks).passed
    verdict = judge(report, changed(report, hits=87), checks)
    assert "swell 0.870, champion 0.900" in failed(verdict)
    assert judge(None, changed(report, hits=87), checks).passed


def test_false_alarms_stay_within_the_budget(good: tuple[Report, Checks]) -> None:
    report, checks = good
    assert judge(report, changed(report, false_alarms=8), checks).passed
    assert "4.50 false alarms a month" in failed(
        judge(report, changed(report, false_alarms=9), checks)
    )


def test_luck_is_no_detection(good: tuple[Report, Checks]) -> None:
    report, checks = good
    assert "beyond luck" in failed(judge(None, changed(report, placebo_hits=88), checks))


def test_28_clean_days_are_needed(good: tuple[Report, Checks]) -> None:
    report, checks = good
    facts = msgspec.structs.replace(report.series[0], clean_days=27.0)
    short = msgspec.structs.replace(report, series=(facts,))
    assert "27 clean days" in failed(judge(report, short, checks))


def test_faults_and_budgets_that_the_champion_knew_must_be_judged(
    good: tuple[Report, Checks],
) -> None:
    report, checks = good
    fewer = {"swell": report.budgets["4"].faults["swell"]}
    less = msgspec.structs.replace(
        report, budgets={"4": msgspec.structs.replace(report.budgets["4"], faults=fewer)}
    )
    assert "drift was not judged" in failed(judge(report, less, checks))
    none = msgspec.structs.replace(report, budgets={"2": report.budgets["4"]})
    assert "not judged at 4" in failed(judge(report, none, checks))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("correlation", 0.9989, "correlate 0.99890"),
        ("size_bytes", 600_000, "600000 bytes"),
        ("size_bytes", 0, "0 bytes"),
        ("step_us", 2001.0, "2001 us"),
        ("step_us", float("nan"), "nan us"),
        ("builtin_operators", False, "builtin operators"),
        ("problems", ("no load: the model breaks",), "no load"),
        ("card", {"kind": "charts"}, "the card lacks"),
    ],
)
def test_every_limit_on_the_model_itself(
    good: tuple[Report, Checks], name: str, value: object, why: str
) -> None:
    report, checks = good
    assert judge(report, report, checks).passed
    assert why in failed(judge(report, report, msgspec.structs.replace(checks, **{name: value})))


def test_a_card_is_complete_and_reads_well() -> None:
    report, package = champion(), good_package()
    card = with_card(package, report)
    assert missing(card) == []
    assert card["sizes"] == {"payload": len(package.payload)}
    page = card_page(card, report)
    assert "recall (placebo)" in page
    assert card["hashes"]["payload"] in page


def test_correlation_of_what_cannot_correlate_is_none() -> None:
    import numpy as np  # noqa: PLC0415

    line = np.arange(9.0)
    assert correlate(line, 2 * line + 1) == pytest.approx(1)
    assert correlate(line, np.ones(9)) == 0
    assert correlate(line, np.full(9, np.nan)) == 0
    assert correlate(line, line[:5]) == 0
