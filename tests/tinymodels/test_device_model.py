"""The meter's Gaussian, as fitted here: what it finds, what it refuses, what it writes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from tinymodels.detect.contract import FitRefusedError
from tinymodels.detect.device_features import (
    NAMES,
    Averages,
    Floats,
    Row,
    featurise,
    featurise_table,
)
from tinymodels.detect.device_file import MOST_BYTES, pack
from tinymodels.detect.device_model import (
    LEAST_LIMIT,
    USUAL,
    DeviceGaussian,
    Wanted,
    classify,
    fit,
    hour_classes,
)
from tinymodels.detect.minutes import DAY_MS

MONDAY_MS = 1_748_822_400_000  # 2025-06-02 00:00 UTC
STEP_MS = 300_000


def home(days: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return instants and features with a daily rhythm, voltage that sags, some unknown PF."""
    wild = np.random.default_rng(seed)
    at_ms = MONDAY_MS + STEP_MS * np.arange(int(days * DAY_MS / STEP_MS))
    hour = at_ms / 3_600_000 % 24
    x = np.full((len(at_ms), len(NAMES)), np.nan)
    power = 2.0 + np.exp(-(((hour - 20) / 2) ** 2)) + 0.4 * wild.standard_normal(len(at_ms))
    x[:, 0] = 234 - 1.5 * power + 0.5 * wild.standard_normal(len(at_ms))
    x[:, 1] = 50 + 0.01 * wild.standard_normal(len(at_ms))
    x[:, 2] = power
    x[:, 3] = 0.3 * power + 0.1 * wild.standard_normal(len(at_ms))
    x[:, 4] = np.where(power > 1.5, 0.9 + 0.03 * wild.standard_normal(len(at_ms)), np.nan)
    x[:, 5] = 1.2 + 0.1 * wild.standard_normal(len(at_ms))
    x[:, 6] = 0.5 * wild.standard_normal(len(at_ms))
    return at_ms, x


@st.composite
def tables(draw: st.DrawFn) -> Floats:
    """Return windows of any length, some dark, unknown, or beyond belief."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    count = draw(st.integers(0, 300))
    dt_ms = rng.choice(
        [999, 1000, 60_000, 900_000, 0, -5], count, p=[0.2, 0.3, 0.3, 0.1, 0.05, 0.05]
    )
    values = rng.normal(0, 1, (count, 5)) * [3, 0.05, 3, 900, 100] + [231, 50, 4, 500, 40]
    wild = rng.random(values.shape) < draw(st.sampled_from([0.0, 0.05, 0.5]))
    values[wild] = rng.choice([math.nan, 0.0, 2e6, -2e6], int(wild.sum()))
    return np.column_stack((dt_ms, values))


@settings(max_examples=80, deadline=None)
@given(tables())
def test_features_of_many_windows_are_those_of_one_after_the_other(table: Floats) -> None:
    averages, unknown = Averages(), [math.nan] * len(NAMES)
    rows = [Row(int(one[0]), *one[1:]) for one in table.tolist()]
    live = [averages.add(row) or unknown for row in rows]
    expected = np.array(live).reshape(len(live), len(NAMES))
    np.testing.assert_array_equal(featurise_table(table), expected)
    np.testing.assert_array_equal(featurise(rows), expected)


def test_fit_knows_the_hour_and_keeps_its_budget() -> None:
    at_ms, x = home(28)
    hours = hour_classes()
    model = fit(at_ms, x, Wanted(4.0, USUAL, hours), 0)
    power = model.names.index("power")
    assert model.mean[4, power] > model.mean[1, power] + 0.5  # evening over night
    later_ms, later = home(28, seed=2)
    classes = classify(later_ms, hours, 0)
    d2 = model.d2(later, classes)
    above = model.log_p(d2, classes) < model.log_eps[classes]
    assert above.sum() <= 4
    # P(x) < ε and d² beyond the limit are the same.
    limit = 2 * (model.peak() - model.log_eps)
    np.testing.assert_array_equal(above, d2 > limit[classes])
    assert limit.min() >= LEAST_LIMIT - 1e-9


def test_swell_and_poor_power_factor_lie_beyond_the_limit() -> None:
    at_ms, x = home(28)
    model = fit(at_ms, x, Wanted(4.0), 0)
    zero = np.zeros(len(at_ms), dtype=np.int64)
    limit = 2 * (model.peak() - model.log_eps)[0]
    for column, shift in ((0, 20.0), (3, 1.5), (5, 1.0)):
        moved = x.copy()
        moved[:, column] += shift
        assert np.median(model.d2(moved, zero)) > limit, NAMES[column]


@given(st.integers(0, 2**32), st.sets(st.integers(0, 6)))
@settings(max_examples=60)
def test_unknown_features_never_add_distance(seed: int, unknown: set[int]) -> None:
    """Leaving a feature out, from the last one on, can only bring a point nearer."""
    wild = np.random.default_rng(seed)
    model = some_gaussian(wild, len(NAMES) - 1)
    x = np.full((1, len(NAMES)), np.nan)
    for name, mean in zip(model.names, model.mean[0], strict=True):
        x[0, NAMES.index(name)] = mean + 3 * wild.standard_normal()
    whole = model.d2(x, np.zeros(1, dtype=np.int64))[0]
    count = len(model.names)
    for name in model.names[count - len(unknown) :] if unknown else ():
        x[0, NAMES.index(name)] = np.nan
    part = model.d2(x, np.zeros(1, dtype=np.int64))[0]
    assert part <= whole * (1 + 1e-9)
    assert math.isfinite(part)


def unit_rows(rows: np.ndarray) -> Floats:
    """Return rows of length 1: the factor of a correlation."""
    scaled: Floats = np.asarray(rows, dtype=np.float64) / np.sqrt(
        (rows**2).sum(axis=1, keepdims=True)
    )
    return scaled


def some_gaussian(wild: np.random.Generator, count: int, classes: int = 1) -> DeviceGaussian:
    """Return a random distribution within a meter's ranges."""
    names = tuple(wild.permutation(NAMES)[:count].tolist())
    middle = {"voltage": 230.0, "frequency": 50.0, "power_factor": 0.8}
    mean = np.array([[middle.get(n, 1.0) + 0.1 * wild.random() for n in names]] * classes)
    scale = 0.35 + wild.random((classes, count))
    rows = wild.standard_normal((count, count)) + 2 * np.eye(count)
    factor = np.linalg.cholesky(rows @ rows.T)
    factor = unit_rows(factor)
    model = DeviceGaussian(names, mean, scale, factor, np.zeros(classes))
    return model._replace(log_eps=model.peak() - wild.uniform(10, 40))


def test_density_is_the_multivariate_normal() -> None:
    wild = np.random.default_rng(5)
    model = some_gaussian(wild, 4)
    x = np.full((20, len(NAMES)), np.nan)
    columns = [NAMES.index(name) for name in model.names]
    x[:, columns] = model.mean[0] + wild.standard_normal((20, 4))
    zero = np.zeros(20, dtype=np.int64)
    root = model.scale[0][:, None] * model.factor
    covariance = root @ root.T
    shift = x[:, columns] - model.mean[0]
    expected = np.einsum("ij,jk,ik->i", shift, np.linalg.inv(covariance), shift)
    np.testing.assert_allclose(model.d2(x, zero), expected, rtol=1e-9)
    density = -0.5 * (expected + np.linalg.slogdet(2 * np.pi * covariance)[1])
    np.testing.assert_allclose(model.log_p(model.d2(x, zero), zero), density, rtol=1e-9)


@pytest.mark.parametrize(
    ("days", "wanted", "said"),
    [
        (5, Wanted(4.0), "at least 7 days"),
        (8, Wanted(4.0, NAMES), "1 to 6 different"),
        (8, Wanted(4.0, ("power", "power")), "1 to 6 different"),
        (8, Wanted(4.0, USUAL, (0,) * 23), "24 or 48"),
        (8, Wanted(4.0, USUAL, (9,) * 24), "below 8"),
    ],
)
def test_what_cannot_be_fitted_is_refused(days: int, wanted: Wanted, said: str) -> None:
    at_ms, x = home(days)
    with pytest.raises(FitRefusedError, match=said):
        fit(at_ms, x, wanted, 0)


def test_features_that_never_change_or_are_unknown_are_left_out() -> None:
    at_ms, x = home(8)
    x[:, 3], x[:, 4] = 0.0, np.nan
    assert fit(at_ms, x, Wanted(4.0), 0).names == ("voltage", "power", "base", "step")
    x[:] = np.nan
    with pytest.raises(FitRefusedError, match="nothing to learn"):
        fit(at_ms, x, Wanted(4.0), 0)


def test_classes_follow_the_meters_clock() -> None:
    hours = hour_classes()
    sunday_noon, friday_night = MONDAY_MS + 6.5 * DAY_MS, MONDAY_MS + 4.98 * DAY_MS
    at_ms = np.array([sunday_noon, friday_night], dtype=np.int64)
    assert classify(at_ms, hours, 0).tolist() == [5, 1]
    assert classify(at_ms, hours, 60).tolist() == [5, 1]
    assert classify(at_ms, hours, 8 * 60).tolist() == [5, 5]  # there it is Saturday morning


def test_file_is_canonical_and_bounded() -> None:
    at_ms, x = home(8)
    model = fit(at_ms, x, Wanted(4.0, USUAL, hour_classes()), 0)
    names = ("grid", "solar", "load1", "load2", "load3", "load4")
    data = pack(3, dict.fromkeys(names, model), hours=hour_classes(), utc_offset_min=60)
    assert len(data) <= MOST_BYTES
    body = json.loads(data)
    assert json.dumps(body, sort_keys=True, separators=(",", ":")).encode() == data
    assert {v["ch"] for v in body["vectors"]} == set(names)
    wide = some_gaussian(np.random.default_rng(1), 6, classes=8)
    with pytest.raises(BadInputError, match="fewer hour classes"):
        pack(3, dict.fromkeys(names, wide))


def test_features_of_minutes_are_those_of_seconds() -> None:
    """A model fitted on 1-minute means judges 1-second windows."""
    wild = np.random.default_rng(3)
    seconds, minutes = [], []
    for k in range(180):
        power_w = 300.0 + 1500.0 * (k % 45 < 5) + wild.uniform(0, 50)
        row = (231.0 + wild.standard_normal(), 50.0, power_w / 220, power_w, 40.0)
        minutes.append(Row(60_000, *row))
        seconds += [Row(1000, *row)] * 60
    coarse, fine = featurise(minutes), featurise(seconds)[59::60]
    # But for the base load of the first minutes, whose averages are young.
    np.testing.assert_allclose(coarse[30:, :5], fine[30:, :5], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(coarse[30:, 6], fine[30:, 6], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(coarse[120:, 5], fine[120:, 5], atol=0.1)
