"""Features: live equals batch whatever comes; what each of them means."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tinymodels.detect.homes import MIDNIGHT_MS, SLOPE_V_PER_KW, home
from tinymodels.detect.blocks import block_table, blocks
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS, Floats, Minutes
from tinymodels.detect.signals import INDEX, NAMES, Signals, compress, natural
from tinymodels.detect.supply_law import SupplyLaw
from tinymodels.detect.sweep import featurise, featurise_marked, sweep

HOUR_MS = 60 * MINUTE_MS
NUMBER = st.one_of(st.just(math.nan), st.floats(-9000, 9000))


@st.composite
def series(draw: st.DrawFn) -> Minutes:
    """Return minutes with holes of any length and values of any kind, known or not."""
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 7, 40, 361, 500]), max_size=120))
    starts = MIDNIGHT_MS + MINUTE_MS * np.cumsum([0, *gaps])
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (len(starts), 7)) * [800, 800, 900, 2, 2, 90, 4]
    values += [500, 400, 700, 230, 231, 60, 3]
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.1, 0.9]))] = math.nan
    for column in range(7):
        values[draw(st.integers(0, len(starts) - 1)), column] = draw(NUMBER)
    return Minutes(starts, values)


def live(minutes: Minutes) -> tuple[list[int], Floats]:
    signals = Signals()
    done = [found for row in minutes.rows() if (found := signals.add(row)) is not None]
    return [start for start, _ in done], np.array([v for _, v in done]).reshape(-1, len(NAMES))


@settings(max_examples=60, deadline=None)
@given(series())
def test_live_equals_batch(minutes: Minutes) -> None:
    starts, values = featurise(minutes)
    live_starts, live_values = live(minutes)
    assert live_starts == starts.tolist()
    np.testing.assert_allclose(live_values, values, rtol=1e-12, atol=1e-12, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(series(), st.integers(0, 60))
def test_single_blocks_and_sweeps_follow_each_other(minutes: Minutes, cut: int) -> None:
    one, table = Signals(), block_table(minutes)
    expected = [one.close(block) for block in blocks(minutes)]
    mixed = Signals()
    values = [mixed.close(block) for block in blocks(minutes)[:cut]]
    values += sweep(mixed, table[cut:]).tolist()
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert_alike(mixed, one)
    first, rest = Signals(), blocks(minutes)[cut:]
    sweep(first, table[:cut])
    after = [first.close(block) for block in rest]
    np.testing.assert_allclose(after, expected[cut:], rtol=1e-12, atol=1e-12, equal_nan=True)
    assert_alike(first, one)


def assert_alike(one: Signals, other: Signals) -> None:
    """Fail unless two states remember the same, to rounding."""
    for name in Signals.__struct_fields__:
        assert flat(getattr(one, name)) == pytest.approx(
            flat(getattr(other, name)), rel=1e-12, abs=1e-9, nan_ok=True
        ), name


def flat(value: object) -> list[float]:
    """Return all numbers of nested rows in order."""
    if isinstance(value, SupplyLaw):
        value = msgspec.structs.astuple(value)
    if isinstance(value, list | tuple):
        return [number for part in value for number in flat(part)]
    assert isinstance(value, int | float)
    return [float(value)]


def test_a_mark_gives_the_state_before_its_block() -> None:
    minutes = home(2)
    starts, values, states = featurise_marked(minutes, {MIDNIGHT_MS + DAY_MS, 0}, ended=True)
    assert len(starts) == len(values) == 2 * 288
    signals = msgspec.msgpack.decode(states[MIDNIGHT_MS + DAY_MS], type=Signals)
    np.testing.assert_array_equal(sweep(signals, block_table(minutes)[288:]), values[288:])
    assert states[0] == msgspec.msgpack.encode(Signals())


@settings(max_examples=30, deadline=None)
@given(series(), st.integers(1, 119))
def test_features_know_nothing_of_what_comes_after(minutes: Minutes, cut: int) -> None:
    starts, values = featurise(minutes)
    early_starts, early = featurise(Minutes(minutes.start_ms[:cut], minutes.values[:cut]))
    count = len(early_starts)
    assert early_starts.tolist() == starts[:count].tolist()
    np.testing.assert_array_equal(early, values[:count])


def column(minutes: Minutes, name: str) -> Floats:
    result: Floats = featurise(minutes)[1][:, INDEX[name]]
    return result


def in_units(name: str, value: float, unit: str) -> float:
    found, its_unit = natural(name, value)
    assert its_unit == unit
    return found


def even(days: float, power_w: float = 200.0, **other: float) -> Minutes:
    """Return minutes that are all alike."""
    row = {"v": 230.0, "q": 50.0, "i": 1.0, **other}
    count = round(days * 1440)
    one = [power_w, power_w, power_w, row["v"], row["v"], row["q"], row["i"]]
    return Minutes(MIDNIGHT_MS + MINUTE_MS * np.arange(count), np.tile(one, (count, 1)))


def test_an_even_home_has_its_values_for_features() -> None:
    starts, values = featurise(even(1))
    assert starts.tolist() == [MIDNIGHT_MS + k * STEP_MS for k in range(287)]
    last = dict(zip(NAMES, values[-1].tolist(), strict=True))
    for name in ("power", "base", "floor", "day"):
        assert in_units(name, last[name], "W") == pytest.approx(200.0)
    for name in ("reactive", "reactive_base"):
        assert in_units(name, last[name], "var") == pytest.approx(50.0)
    assert last["power_factor"] == pytest.approx(200 / 230)
    assert (last["voltage"], last["voltage_max"], last["volts"]) == (230.0, 230.0, 230.0)
    zero = ("jump", "steps", "cycling", "export", "kilowatt_jump")
    assert [last[name] for name in zero] == pytest.approx([0.0] * 5)
    assert last["slope_day"] == -2.0  # no step was seen: the usual supply


def test_the_supply_shows_in_the_slopes() -> None:
    for name in ("slope_day", "slope_week"):
        assert column(home(3), name)[-1] == pytest.approx(SLOPE_V_PER_KW, abs=0.2)


def test_base_floor_and_day_wait_until_they_mean_something() -> None:
    minutes = even(1)
    assert np.isnan(column(minutes, "base")).sum() == 1.5 * 12 - 1
    assert np.isnan(column(minutes, "floor")).sum() == 18 * 12 - 1
    assert np.isnan(column(minutes, "day")).sum() == 18 * 12 - 1


def test_a_hole_of_six_hours_forgets_everything() -> None:
    first, second = even(1), even(1, 900.0)
    starts = np.concatenate([first.start_ms, second.start_ms + DAY_MS + 6 * HOUR_MS + STEP_MS])
    values = np.concatenate([first.values, second.values])
    fresh = featurise(Minutes(starts, values))[1][-287:]
    np.testing.assert_array_equal(fresh, featurise(even(1, 900.0))[1])


def test_export_is_negative_power_and_compresses_alike() -> None:
    assert natural("export", column(even(0.1, -800.0), "export")[-1])[0] == pytest.approx(-800)
    assert compress(-70.0) == -compress(70.0)


def test_a_thermostat_is_counted_by_the_hour() -> None:
    minutes = even(1)
    values = minutes.values.copy()
    values[(np.arange(1440) // 10) % 2 == 1, :3] += 100.0  # on and off in turn, six times an hour
    counted = column(Minutes(minutes.start_ms, values), "cycling")[-1]
    assert in_units("cycling", counted, "/h") == pytest.approx(6.0, rel=0.05)
