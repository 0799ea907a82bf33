"""The Gaussian on a stream: when it is fitted, when it speaks, when it is content again."""

import math
import random

import pytest

from gateway.domain.alerts import AlertKind, AlertState
from gateway.domain.readings import Stored
from gateway.pipeline.judge import MeterJudge
from gateway.pipeline.rules.pattern import Sum
from tests.support.judging import LISBON, alerts, channel, findings, judge_for, of_kind, reading
from tinymodels.detect.features import QUARTER_MS, Quarter
from tinymodels.detect.gaussian import GaussianModel, Options, fit

MIDNIGHT_MS = 1_748_732_400_000  # 2025-06-01 00:00 in Lisbon
DAY_MS = 96 * QUARTER_MS
FIVE_MIN_MS = 300_000


def home(from_day: float, to_day: float, extra_w: float = 0.0, seed: int = 4) -> list[Stored]:
    """Return readings of five minutes with an evening peak."""
    wild = random.Random(f"{seed}/{from_day}")
    readings = []
    for k in range(round(from_day * 288), round(to_day * 288)):
        hour = k / 12 % 24
        power_w = 150 + 600 * math.exp(-(((hour - 20) / 2.5) ** 2)) + wild.expovariate(1 / 60)
        power_w += extra_w
        v = 232 + wild.gauss(0, 0.8)
        ch = {"grid": channel(power_w, power_w / v * 1.05, q=60 + wild.gauss(0, 8))}
        at_ms = MIDNIGHT_MS + (k + 1) * FIVE_MIN_MS
        readings.append(reading(at_ms, FIVE_MIN_MS, v=v, ch=ch))
    return readings


def quarters(readings: list[Stored]) -> list[Quarter]:
    """Return the 15-minute rollups of the stream."""
    sums: dict[int, Sum] = {}
    for one in readings:
        start_ms = (one.at_ms - one.dt_ms // 2) // QUARTER_MS * QUARTER_MS
        one_sum = sums.setdefault(start_ms, Sum(start_ms=start_ms))
        one_sum.add(one.ch["grid"], one.v, one.dt_ms)
    return [row for row in (one_sum.quarter() for one_sum in sums.values()) if row is not None]


@pytest.fixture(scope="module")
def fitted() -> GaussianModel:
    return fit(quarters(home(0, 14)), Options(LISBON, 4.0))


def ready(model: GaussianModel) -> MeterJudge:
    judge = judge_for()
    assert findings(judge, home(0, 14)) == []
    judge.set_model("grid", model)
    return judge


def test_a_rollup_of_the_stream_is_weighted_by_time() -> None:
    one_sum = Sum(start_ms=0)
    one_sum.add(channel(100.0, q=None), 230.0, 600_000)
    one_sum.add(channel(400.0, q=50.0), None, 300_000)
    row = one_sum.quarter()
    assert row is not None
    assert row.p_mean_w == 200.0
    assert (row.p_min_w, row.p_max_w) == (100.0, 400.0)
    assert row.v_mean_v == 230.0
    assert row.q_mean_var == 50.0


def test_a_stuck_heater_becomes_one_anomaly_that_clears(fitted: GaussianModel) -> None:
    judge = ready(fitted)
    stream = home(14, 15.1) + home(15.1, 15.5, 1500.0) + home(15.5, 16)
    (alert,) = alerts(judge, stream)
    assert alert.key == ("home", "grid", AlertKind.ANOMALY)
    assert alert.state is AlertState.RESOLVED
    assert alert.opened_ms - (MIDNIGHT_MS + 15.1 * DAY_MS) <= 4 * QUARTER_MS
    assert alert.evidence["feature"] in ("power", "base")
    assert alert.evidence["power_w"] > 1500  # type: ignore[operator]
    assert alert.evidence["expected_power_w"] < 400  # type: ignore[operator]
    assert "is usual at this time of day" in alert.detail


def test_a_usual_week_says_nothing(fitted: GaussianModel) -> None:
    assert of_kind(AlertKind.ANOMALY, findings(ready(fitted), home(14, 21))) == []


def test_a_single_wild_quarter_is_no_anomaly(fitted: GaussianModel) -> None:
    judge = ready(fitted)
    stream = home(14, 14.5) + home(14.5, 14.5 + 1 / 48, 4000.0) + home(14.5 + 1 / 48, 15)
    assert of_kind(AlertKind.ANOMALY, findings(judge, stream)) == []


def test_a_fit_is_wanted_at_seven_days_then_monthly(fitted: GaussianModel) -> None:
    judge = judge_for()
    asked = []
    for one in home(0, 9.1):
        judge.judge(one)
        if judge.wants_fit():
            asked.append((one.at_ms - MIDNIGHT_MS) / DAY_MS)
    # Not answered: asked again a day of data later.
    assert asked == pytest.approx([7.0, 8.0, 9.0], abs=0.02)
    judge.set_model("grid", fitted)
    asked = []
    for one in home(14, 46.1):
        judge.judge(one)
        if judge.wants_fit():
            asked.append((one.at_ms - fitted.to_ms) / DAY_MS)
    assert asked == pytest.approx([30.0, 31.0, 32.0], abs=0.02)


def test_switched_off_it_neither_scores_nor_asks(fitted: GaussianModel) -> None:
    judge = judge_for(gaussian=0)
    judge.set_model("grid", fitted)
    assert findings(judge, home(0, 8, 1500.0)) == []
    assert judge.wants_fit() == []
