"""Gaussian P(x) given the time of day: its features, its explanation, its persistence."""

import math
from zoneinfo import ZoneInfo

import numpy as np

from tests.tinymodels.detect.homes import MIDNIGHT_MS, changed, following, home
from tinymodels.detect.contract import Options
from tinymodels.detect.gaussian import FEATURES, FITTER, PERSIST_M, PERSIST_N, persisting
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS
from tinymodels.detect.signals import NAMES

LISBON = ZoneInfo("Europe/Lisbon")
OPTIONS = Options(LISBON, 4.0)


def test_all_features_of_a_long_history_are_used() -> None:
    assert FITTER.fit(home(28), OPTIONS).names == FEATURES
    week = FITTER.fit(home(8), OPTIONS)
    assert "day" not in week.names
    without = FITTER.fit(home(8), OPTIONS._replace(voltage=False))
    assert set(week.names) - set(without.names) == {"voltage"}


def test_reactive_power_is_explained_in_var() -> None:
    model = FITTER.fit(home(28), OPTIONS)
    clean = following(1, 28, 5)
    from_ms = int(clean.start_ms[0]) + 3 * 3_600_000
    faulty = changed(clean, from_ms, from_ms + DAY_MS, add={"q_mean_var": 400.0})
    state = model.new_state()
    for row in faulty.between(0, from_ms + 2 * 3_600_000).rows():
        model.step(state, row)
    why = model.explain(state)
    assert (why.feature, why.unit) == ("reactive", "var")
    assert 400 < why.value < 700
    assert why.expected < 150
    assert why.sigmas > 4
    assert abs(why.since_ms - from_ms) <= 30 * MINUTE_MS


def test_a_single_wild_block_is_no_anomaly() -> None:
    calm, wild = np.ones(40), np.ones(40)
    wild[10 : 10 + PERSIST_M - 1] = 100.0
    starts = MIDNIGHT_MS + np.arange(40) * STEP_MS
    assert persisting(starts, wild).max() == persisting(starts, calm).max()
    wild[10 + PERSIST_M - 1] = 100.0
    assert persisting(starts, wild).max() == 100.0
    starts[15:] += DAY_MS  # over a hole nothing adds up
    assert persisting(starts, wild).max() == 1.0
    assert len(persisting(starts[:0], wild[:0])) == 0
    assert PERSIST_M < PERSIST_N


def test_unknown_features_count_as_usual() -> None:
    model = FITTER.fit(home(28), OPTIONS)
    state = model.new_state()
    unknown = model.judge(state, MIDNIGHT_MS, [math.nan] * len(NAMES))
    assert unknown[:2] == (0.0, False)
