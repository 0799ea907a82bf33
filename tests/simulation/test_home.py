"""A simulated home: electrical sense, registers, and answers that do not depend on the asking."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation import appliances
from simulation.home import UJ_PER_MWH, Home, Windows
from simulation.houses import demo_homes, family_house, flat, workshop
from simulation.spec import Fitting, HomeSpec

DAY_MS = 86_400_000
MIDNIGHT = 20_200 * DAY_MS  # 2025-04-22T00:00Z
FIELDS = ("i", "p", "q", "in_mwh", "out_mwh")
SPECS = st.sampled_from([flat(), family_house(), workshop()])


def same(one: Windows, other: Windows) -> bool:
    """Return whether two batches are equal to the last bit."""
    return all(
        np.array_equal(getattr(one, field), getattr(other, field))
        for field in ("end_ms", "v", "f", "clip", "silent")
    ) and all(
        np.array_equal(getattr(one.channels[name], field), getattr(other.channels[name], field))
        for name in one.channels
        for field in FIELDS
    )


@settings(deadline=None, max_examples=12)
@given(SPECS, st.integers(0, 1000), st.integers(0, 3 * DAY_MS // 1000))
def test_power_never_exceeds_volts_times_amperes(spec: HomeSpec, seed: int, second: int) -> None:
    """S^2 >= P^2 + Q^2, with Q of the fundamental."""
    since = MIDNIGHT + second * 1000
    windows = Home(seed, spec, since_ms=since).windows(since, 3000)
    for channel in windows.channels.values():
        apparent = windows.v * channel.i
        assert (np.hypot(channel.p, channel.q) <= apparent * (1 + 1e-9) + 1e-9).all()


@settings(deadline=None, max_examples=12)
@given(SPECS, st.integers(0, 1000), st.integers(0, DAY_MS // 1000))
def test_registers_rise_and_hold_the_energy(spec: HomeSpec, seed: int, second: int) -> None:
    """Registers are whole mWh, never fall, and differ by the integral of the power."""
    since = MIDNIGHT + second * 1000
    windows = Home(seed, spec, since_ms=since).windows(since, 5000)
    for channel in windows.channels.values():
        assert channel.in_mwh.dtype == np.int64
        assert (np.diff(channel.in_mwh) >= 0).all()
        assert (np.diff(channel.out_mwh) >= 0).all()
        microjoules = np.rint(channel.p * 1000).astype(np.int64) * windows.dt_ms
        assert channel.in_mwh[-1] == microjoules[microjoules > 0].sum() // UJ_PER_MWH
        assert channel.out_mwh[-1] == -microjoules[microjoules < 0].sum() // UJ_PER_MWH


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 50), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_any_chunks_equal_one_batch(seed: int, chunks: list[int]) -> None:
    """Chunks across blocks, one by one, or out of order give the same bits."""
    spec = family_house()
    since = MIDNIGHT + 12 * 3_600_000 + 777_000
    whole = Home(seed, spec, since_ms=since).windows(since, sum(chunks))
    home = Home(seed, spec, since_ms=since)
    starts = np.concatenate(([0], np.cumsum(chunks)))[:-1].tolist()
    for start, count in reversed(list(zip(starts, chunks, strict=True))):
        piece = home.windows(since + start * 1000, count)
        assert piece.v.tolist() == whole.v[start : start + count].tolist()
        for name in ("grid", "solar"):
            for field in FIELDS:
                part = getattr(piece.channels[name], field)
                assert np.array_equal(
                    part, getattr(whole.channels[name], field)[start : start + count]
                )


def test_iterator_equals_batch() -> None:
    """The iterator gives the batch's numbers, also across its own chunks."""
    home = Home(3, workshop(), since_ms=MIDNIGHT)
    batch = home.windows(MIDNIGHT, 2500)
    for index, window in enumerate(home.iterate(MIDNIGHT, 2500)):
        assert window.end_ms == batch.end_ms[index] == MIDNIGHT + (index + 1) * 1000
        assert (window.v, window.f) == (batch.v[index], batch.f[index])
        for name, channel in window.channels.items():
            expected = tuple(getattr(batch.channels[name], field)[index] for field in FIELDS)
            assert tuple(getattr(channel, field) for field in FIELDS) == expected
    assert index == 2499


def test_same_seed_same_home_other_seed_other_home() -> None:
    """The seed decides everything."""
    one, again, other = (
        Home(seed, flat(), since_ms=MIDNIGHT).windows(MIDNIGHT, 4000) for seed in (1, 1, 2)
    )
    assert same(one, again)
    assert not np.array_equal(one.v, other.v)
    assert not np.array_equal(one.channels["grid"].p, other.channels["grid"].p)


def test_grid_is_the_sum_of_its_channels() -> None:
    """With every load on a clamp of its own, P and Q at the grid are loads minus solar."""
    fittings = (
        Fitting(appliances.standby(300.0), "load1"),
        Fitting(appliances.fridge(), "load1"),
        Fitting(appliances.heat_pump(), "load2"),
    )
    spec = HomeSpec("sums", fittings, roof=family_house().roof)
    channels = Home(4, spec, since_ms=MIDNIGHT).windows(MIDNIGHT, 86_400).channels
    for field in ("p", "q"):
        loads = getattr(channels["load1"], field) + getattr(channels["load2"], field)
        total = loads - getattr(channels["solar"], field)
        assert np.allclose(getattr(channels["grid"], field), total, atol=1e-6)
    assert channels["grid"].out_mwh[-1] > 0
    assert (
        channels["grid"].i <= sum(channels[c].i for c in ("load1", "load2", "solar")) + 1e-9
    ).all()


def test_solar_is_zero_at_night_and_the_house_exports_at_noon() -> None:
    """Ten days: nothing between 22 and 4 o'clock, export around noon."""
    home = Home(5, family_house(), since_ms=MIDNIGHT)
    windows = home.windows(MIDNIGHT, 10 * 86_400)
    hour = (windows.end_ms - 1000) % DAY_MS / 3_600_000
    night = (hour < 4) | (hour >= 22)
    solar, grid = windows.channels["solar"], windows.channels["grid"]
    assert (solar.p[night] == 0).all()
    assert (solar.i[night] == 0).all()
    assert (solar.p >= 0).all()
    assert solar.p.max() > 2500
    assert (grid.p[(hour > 11) & (hour < 14)] < 0).mean() > 0.3
    assert (solar.in_mwh[-1] / 1e6) / 10 == pytest.approx(18, abs=9)  # kWh a day from 4 kW in April


def test_a_quiet_home_stays_inside_the_standard() -> None:
    """Without faults: EN 50160 bounds, a daily use people have, believable extremes."""
    for seed, spec in demo_homes(7):
        windows = Home(seed, spec, since_ms=MIDNIGHT).windows(MIDNIGHT, 3 * 86_400)
        ten_minutes = windows.v.reshape(-1, 600).mean(axis=1)
        assert ten_minutes.min() > 207
        assert ten_minutes.max() < 253
        assert windows.v.max() < 1.1 * 230
        assert windows.f.min() > 49.8
        assert windows.f.max() < 50.2
        used = windows.channels["grid"].in_mwh[-1] / 3e6
        assert 2 < used < 60


def test_load_pulls_the_voltage_down_by_the_slope_of_its_supply() -> None:
    """The regression of voltage steps on power steps finds the spec's V/kW."""
    windows = Home(8, workshop(), since_ms=MIDNIGHT).windows(MIDNIGHT, 86_400)
    dv, dp = np.diff(windows.v), np.diff(windows.channels["grid"].p) / 1000
    steps = np.abs(dp) > 0.5
    slope = (dv[steps] * dp[steps]).sum() / (dp[steps] ** 2).sum()
    assert slope == pytest.approx(-workshop().mains.sag_v_per_kw, rel=0.1)


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_frequency_wanders_round_its_nominal(hz: float) -> None:
    """Also on a 60 Hz, 120 V supply."""
    mains = dataclasses.replace(flat().mains, nominal_hz=hz, nominal_v=120.0, mean_v=120.0)
    spec = dataclasses.replace(flat(), mains=mains)
    windows = Home(1, spec, since_ms=MIDNIGHT).windows(MIDNIGHT, 20_000)
    assert windows.f.mean() == pytest.approx(hz, abs=0.02)
    assert windows.f.std() > 0.003
    assert windows.v.mean() == pytest.approx(120, abs=3)


def test_registers_reach_far_ahead() -> None:
    """Asking first for a later day gives what counting all along gives."""
    spec = flat()
    counted = Home(2, spec, since_ms=MIDNIGHT).windows(MIDNIGHT, 2 * 86_400)
    later = Home(2, spec, since_ms=MIDNIGHT).windows(MIDNIGHT + 2 * DAY_MS - 1000, 1)
    assert later.channels["grid"].in_mwh[0] == counted.channels["grid"].in_mwh[-1]


def test_two_second_windows_hold_the_same_energy_nearly() -> None:
    """Another window length draws other noise but the same appliances."""
    one = Home(2, flat(), since_ms=MIDNIGHT).windows(MIDNIGHT, 86_400)
    two = Home(2, flat(), since_ms=MIDNIGHT, dt_ms=2000).windows(MIDNIGHT, 43_200)
    assert two.channels["grid"].in_mwh[-1] == pytest.approx(
        one.channels["grid"].in_mwh[-1], rel=0.01
    )


@pytest.mark.parametrize(
    ("start", "count"), [(MIDNIGHT + 1, 5), (MIDNIGHT - 1000, 5), (MIDNIGHT, 0)]
)
def test_windows_that_are_not_there(start: int, count: int) -> None:
    with pytest.raises(ValueError, match="not aligned, too early or none"):
        Home(1, flat(), since_ms=MIDNIGHT).windows(start, count)


def test_a_home_needs_a_valid_name_and_start() -> None:
    with pytest.raises(ValueError, match="no meter id"):
        HomeSpec("Flat 1", ())
    with pytest.raises(ValueError, match="load1 to load9"):
        HomeSpec("flat", (Fitting(appliances.kettle(), "grid"),))
    with pytest.raises(ValueError, match="multiple of dt_ms"):
        Home(1, flat(), since_ms=MIDNIGHT + 1)


def test_a_batch_is_fast() -> None:
    """Over 100,000 windows a second when the machine is free; a busy one gets slack."""
    home = Home(1, family_house(), since_ms=MIDNIGHT)
    started = time.process_time()
    home.windows(MIDNIGHT, 100_000)
    assert time.process_time() - started < 3.0
