"""Injected faults obey their physics, touch nothing else, and come back the same for a seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymodels.detect.injector import (
    HOME_FAULTS,
    HOUR_MS,
    LAWS,
    Event,
    FaultName,
    inject,
    measured_slope,
    plan,
)
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes

FROM_MS = 1_767_571_200_000
SLOPE = -3.0


def home(days: int = 3, seed: int = 1) -> Minutes:
    """Return a home on a supply of SLOPE V/kW, with V, Q and I."""
    rng = np.random.default_rng(seed)
    count = days * 1440
    starts = FROM_MS + MINUTE_MS * np.arange(count)
    load_w = 150 + 100 * (np.arange(count) % 45 < 18) + 2000 * (np.arange(count) % 60 < 6)
    power = load_w + rng.normal(0, 5, count)
    volts = 233 + SLOPE * power / 1000 + rng.normal(0, 0.2, count)
    var = 60 + rng.normal(0, 3, count)
    amps = np.hypot(power, var) / volts
    return Minutes(
        starts,
        np.column_stack((power, power - 8, power + 9, volts, volts + 1, var, amps)),
    )


def event(fault: FaultName, size: float, hours: int = 12) -> Event:
    return Event(fault, FROM_MS + DAY_MS, FROM_MS + DAY_MS + hours * HOUR_MS, size, 5)


def changed(fault: FaultName, size: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column before and after, inside the fault."""
    clean, put = home(), event(fault, size)
    faulty = inject(clean, put, SLOPE)
    span = (put.start_ms, put.end_ms)
    return clean.between(*span)[name], faulty.between(*span)[name]


@pytest.mark.parametrize("fault", list(FaultName))
def test_nothing_outside_changes_and_something_inside_does(fault: FaultName) -> None:
    clean, law = home(), LAWS[fault]
    put = event(fault, law.most)
    faulty = inject(clean, put, SLOPE)
    outside = (clean.start_ms < put.start_ms) | (clean.start_ms >= put.end_ms)
    assert np.array_equal(clean.values[outside], faulty.values[outside])
    assert not np.allclose(clean.values[~outside], faulty.values[~outside])
    assert np.array_equal(clean.values, home().values), "the clean series is not written to"


@pytest.mark.parametrize("fault", list(FaultName))
def test_current_follows_apparent_power(fault: FaultName) -> None:
    """|S| = V·I held before, so it holds in the fault too."""
    put = event(fault, LAWS[fault].most)
    faulty = inject(home(), put, SLOPE)
    apparent = np.hypot(faulty["p_mean_w"], faulty["q_mean_var"])
    assert np.allclose(apparent, faulty["v_mean_v"] * faulty["i_mean_a"], rtol=1e-6)


def test_a_stuck_heater_loads_the_supply() -> None:
    before, after = changed(FaultName.STUCK_HEATER, 1500, "p_mean_w")
    assert np.allclose(after - before, 1500)
    before, after = changed(FaultName.STUCK_HEATER, 1500, "v_mean_v")
    assert np.allclose(after - before, SLOPE * 1.5)
    before, after = changed(FaultName.STUCK_HEATER, 1500, "q_mean_var")
    assert np.allclose(after, before)


def test_a_bypass_hides_power_but_not_the_drop() -> None:
    before, after = changed(FaultName.BYPASS, 0.5, "p_mean_w")
    assert np.allclose(after, 0.5 * before)
    before, after = changed(FaultName.BYPASS, 0.5, "v_mean_v")
    assert np.array_equal(after, before)
    clean = home(days=8)
    faulty = inject(clean, event(FaultName.BYPASS, 0.6, hours=6 * 24), -3.0)
    assert measured_slope(clean) == pytest.approx(SLOPE, abs=0.1)
    # The drop of 2 kW is seen as that of 1.2 kW; -4 is where measured_slope stops.
    assert measured_slope(faulty.between(FROM_MS + DAY_MS, FROM_MS + 7 * DAY_MS)) == -4.0


def test_a_swell_lifts_the_voltage_and_half_of_the_load() -> None:
    before, after = changed(FaultName.SWELL, 1.1, "v_max_v")
    assert np.allclose(after, 1.1 * before)
    before, after = changed(FaultName.SWELL, 1.1, "p_mean_w")
    assert np.allclose(after, before * (1 + 0.5 * 0.21))


def test_a_reversed_clamp_swaps_the_extremes() -> None:
    low, _ = changed(FaultName.REVERSED, 1, "p_min_w")
    _, high = changed(FaultName.REVERSED, 1, "p_max_w")
    assert np.allclose(high, -low)
    before, after = changed(FaultName.REVERSED, 1, "q_mean_var")
    assert np.allclose(after, -before)


def test_a_drift_grows_from_nothing() -> None:
    before, after = changed(FaultName.DRIFT, 0.3, "p_mean_w")
    share = after / before
    assert share[0] == pytest.approx(1)
    assert share[-1] == pytest.approx(0.7, abs=1e-3)
    assert (np.diff(share) < 0).all()


def test_a_voltage_sensor_that_is_off_falsifies_power_too() -> None:
    before, after = changed(FaultName.SENSOR_OFF, -0.03, "v_mean_v")
    assert np.allclose(after, 0.97 * before)
    before, after = changed(FaultName.SENSOR_OFF, -0.03, "p_mean_w")
    assert np.allclose(after, 0.97 * before)


def test_a_fridge_that_never_stops_fills_the_pauses() -> None:
    """Where the compressor ran already nothing is added."""
    before, after = changed(FaultName.FRIDGE, 100, "p_mean_w")
    added = after - before
    assert set(np.round(added).tolist()) == {0.0, 100.0}
    quiet = before < 200
    assert (added[quiet] > 50).mean() > 0.95
    running = (before > 200) & (before < 300)
    assert (added[running] < 50).mean() > 0.95


def test_unknown_columns_stay_unknown() -> None:
    clean = home()
    values = clean.values.copy()
    values[:, 3:] = np.nan
    for fault in FaultName:
        faulty = inject(Minutes(clean.start_ms, values), event(fault, LAWS[fault].most), SLOPE)
        assert np.isfinite(faulty["p_mean_w"]).all()
        assert np.isnan(faulty["v_mean_v"]).all()
        assert np.isnan(faulty["i_mean_a"]).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(HOME_FAULTS), st.integers(1, 40), st.integers(0, 9))
def test_planned_events_keep_to_the_law_and_the_span(
    fault: FaultName, count: int, seed: int
) -> None:
    span = (FROM_MS, FROM_MS + 190 * DAY_MS)
    law = LAWS[fault]
    events = plan(fault, span, count, seed)
    assert events == plan(fault, span, count, seed)
    assert len(events) == count
    for one in events:
        assert span[0] <= one.start_ms
        assert max(one.end_ms, one.deadline_ms) <= span[1]
        assert law.least_ms - MINUTE_MS <= one.end_ms - one.start_ms <= law.most_ms
        assert law.least <= abs(one.size) <= law.most
    starts = [one.start_ms for one in events]
    assert starts == sorted(starts)


def test_a_span_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="drift"):
        plan(FaultName.DRIFT, (FROM_MS, FROM_MS + 13 * DAY_MS), 3, 1)
