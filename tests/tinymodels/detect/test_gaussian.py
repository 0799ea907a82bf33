"""Gaussian P(x) given the time of day: fit, refuse, score, explain, serialise."""

import itertools
import math
import random
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from tinymodels.detect.features import (
    DAY_MS,
    NAMES,
    QUARTER_MS,
    Quarter,
    Track,
    clock_basis,
    featurise,
    natural,
)
from tinymodels.detect.gaussian import FitRefusedError, GaussianModel, Options, fit
from tinymodels.detect.limit import choose_limit

LISBON = ZoneInfo("Europe/Lisbon")
MIDNIGHT_MS = 1_748_732_400_000  # 2025-06-01 00:00 in Lisbon, a Sunday
OPTIONS = Options(LISBON, 4.0)


def home(days: float, seed: int = 1, start_ms: int = MIDNIGHT_MS) -> list[Quarter]:
    """Return a plausible home: base load, evening peak, cooking, voltage that sags with load."""
    wild = random.Random(seed)
    rows = []
    for k in range(round(days * 96)):
        start = start_ms + k * QUARTER_MS
        hour = k / 4 % 24
        power_w = 150 + 600 * math.exp(-(((hour - 20) / 2.5) ** 2)) + wild.expovariate(1 / 60)
        if 11 < hour < 21 and wild.random() < 0.1:
            power_w += wild.uniform(500, 2000)
        q_var = 60 + 0.1 * power_w + wild.gauss(0, 10)
        v = 233 - power_w / 1000 * 1.5 + math.sin(hour / 24 * 2 * math.pi) + wild.gauss(0, 0.8)
        i = math.hypot(power_w, q_var) / v
        rows.append(Quarter(start, power_w, power_w * 0.8, power_w * 1.5, v, q_var, i))
    return rows


def scores(model: GaussianModel, rows: list[Quarter]) -> list[float]:
    starts, values = featurise(rows)
    pairs = zip(starts, values.tolist(), strict=True)
    return [model.score(start, features) for start, features in pairs]


def alarms(model: GaussianModel, rows: list[Quarter]) -> list[int]:
    """Return the quarters at which 3 of the last 4 were above the limit."""
    above = [score > model.limit for score in scores(model, rows)]
    return [k for k in range(3, len(above)) if sum(above[k - 3 : k + 1]) >= 3]


def lasting_above(model: GaussianModel, rows: list[Quarter]) -> int:
    return len(alarms(model, rows))


def events(quarters: list[int]) -> int:
    """Count alarms, those within six hours as one."""
    return sum(later - sooner > 24 for sooner, later in itertools.pairwise([-1000, *quarters]))


def test_a_usual_month_stays_within_the_budget() -> None:
    model = fit(home(56), OPTIONS)
    assert model.names == NAMES
    counts = [
        events(alarms(model, home(30, seed, MIDNIGHT_MS + 56 * DAY_MS))) for seed in (2, 3, 4)
    ]
    assert sum(counts) <= 3 * 4, counts


def test_a_stuck_heater_by_night_is_improbable_and_explained() -> None:
    model = fit(home(28), OPTIONS)
    rows = home(2, 5, MIDNIGHT_MS + 28 * DAY_MS)
    stuck = [
        row._replace(p_mean_w=row.p_mean_w + 1500, i_mean_a=row.i_mean_a + 6.5)
        if 96 <= k < 116
        else row
        for k, row in enumerate(rows)
    ]
    assert lasting_above(model, stuck) >= 15
    starts, values = featurise(stuck)
    why = model.explain(starts[110], values[110].tolist())
    assert why.feature in ("power", "base")
    assert why.sigmas > 4
    value_w, unit = natural(why.feature, why.value)
    assert unit == "W"
    assert value_w > 1500
    assert natural(why.feature, why.expected)[0] < 500


def test_a_seven_day_fit_sees_a_swell_of_the_voltage() -> None:
    model = fit(home(7), OPTIONS)
    assert "day" not in model.names
    rows = [row._replace(v_mean_v=row.v_mean_v * 1.06) for row in home(1, 9, MIDNIGHT_MS)]
    assert lasting_above(model, rows) > 80
    without = fit(home(7), Options(LISBON, 4.0, voltage=False))
    assert "voltage" not in without.names


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "0.0 days"),
        (home(6.9), "6.9 days"),
        (home(20)[::5], "takes at least 470"),
        ([row._replace(p_mean_w=0.0) for row in home(10)], "does not change"),
        ([row._replace(p_mean_w=math.nan) for row in home(10)], "unknown"),
        (home(10)[::-1] + home(30)[-10:], "time order"),
        (home(10) + home(10)[-1:], "time order"),
    ],
)
def test_too_little_or_too_even_history_is_refused(rows: list[Quarter], why: str) -> None:
    with pytest.raises(FitRefusedError, match=why):
        fit(rows, OPTIONS)


def test_what_is_not_measured_is_left_out_of_the_model() -> None:
    rows = [r._replace(q_mean_var=math.nan, i_mean_a=math.nan) for r in home(28)]
    model = fit(rows, OPTIONS)
    assert model.names == ("power", "base", "day", "voltage")
    assert all(math.isfinite(score) for score in scores(model, rows))


def test_an_unknown_feature_of_one_quarter_counts_as_usual() -> None:
    model = fit(home(28), OPTIONS)
    assert model.score(MIDNIGHT_MS, [math.nan] * len(NAMES)) == 0.0


def test_alert_periods_may_be_cut_out() -> None:
    rows = home(30)
    cut = rows[:900] + rows[1300:]
    assert fit(cut, OPTIONS).quarters == len(cut)


def test_bytes_there_and_back() -> None:
    model = fit(home(14), OPTIONS)
    body = model.to_bytes()
    assert len(body) < 2000
    again = GaussianModel.from_bytes(body)
    assert again == model
    row = featurise(home(1))[1][20].tolist()
    assert again.score(MIDNIGHT_MS, row) == model.score(MIDNIGHT_MS, row)


@pytest.mark.parametrize("body", [b"", b"junk", b"\x80", b"\xc1" * 10])
def test_bytes_that_are_no_model_are_refused(body: bytes) -> None:
    with pytest.raises(BadInputError, match="anew"):
        GaussianModel.from_bytes(body)


def test_the_clock_is_the_households_also_when_it_changes() -> None:
    # 2025-10-26 01:00 UTC: Lisbon falls back from 02:00 to 01:00.
    change_ms = 1_761_440_400_000
    before, after = clock_basis([change_ms - 4 * QUARTER_MS, change_ms], LISBON)
    assert np.allclose(before, after)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 60), min_size=200, max_size=2000),
    st.floats(0.5, 60),
    st.integers(0, 2**31),
)
def test_the_limit_keeps_the_budget_on_the_data_it_was_chosen_on(
    base: list[float], budget: float, seed: int
) -> None:
    d2 = np.asarray(base) * np.random.default_rng(seed).exponential(1, len(base))
    starts = np.arange(len(d2), dtype=np.int64) * QUARTER_MS
    limit = choose_limit(starts, d2, budget, 5)
    above = [k for k in range(3, len(d2)) if sum(d2[k - 3 : k + 1] > limit) >= 3]
    assert events(above) <= budget * len(d2) / 96 / 30.44


def test_features_forget_over_a_hole_and_survive_a_null() -> None:
    track = Track()
    rows = home(1)
    for row in rows:
        last = track.add(row)
    assert all(math.isfinite(value) for value in last)
    late = rows[0]._replace(start_ms=rows[-1].start_ms + DAY_MS)
    fresh = dict(zip(NAMES, track.add(late), strict=True))
    assert math.isnan(fresh["base"])
    assert math.isnan(fresh["day"])
    assert math.isfinite(fresh["power"])
    null = late._replace(start_ms=late.start_ms + QUARTER_MS, p_mean_w=math.nan)
    assert math.isnan(track.add(null)[0])
