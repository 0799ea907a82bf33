"""The meter's Gaussian equals numpy's, and refuses every bundle it could not judge by."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model
import numpy as np
import pytest
from errors import BadBundleError, ConfigError
from hypothesis import given, settings
from hypothesis import strategies as st
from traits import Track

from tests.support.firmware import needs_vm, vm
from tinymodels.detect.device_features import NAMES, Floats, Row, featurise
from tinymodels.detect.device_file import pack
from tinymodels.detect.device_model import DeviceGaussian, classify, hour_classes

CENTRES = {"voltage": 230.0, "frequency": 50.0, "power_factor": 0.8}
HOURS = hour_classes()
SUNDAY_NOON_MS = 1_749_384_000_000


def unit_rows(rows: np.ndarray) -> Floats:
    """Return rows of length 1: the factor of a correlation."""
    scaled: Floats = np.asarray(rows, dtype=np.float64) / np.sqrt(
        (rows**2).sum(axis=1, keepdims=True)
    )
    return scaled


def random_gaussian(seed: int, count: int = 6, classes: int = 6) -> DeviceGaussian:
    """Return a distribution within the meter's ranges, correlated as strongly as it takes."""
    wild = np.random.default_rng(seed)
    names = tuple(wild.permutation(NAMES)[:count].tolist())
    mean = np.array([[CENTRES.get(n, 1.0) + 0.1 * wild.random() for n in names]] * classes)
    scale = 0.4 + wild.random((classes, count))
    spread = wild.standard_normal((count, count)) + wild.uniform(0.7, 3) * np.eye(count)
    factor = np.linalg.cholesky(spread @ spread.T + 0.05 * np.eye(count))
    factor = unit_rows(factor)
    made = DeviceGaussian(names, mean, scale, factor, np.zeros(classes))
    return made._replace(log_eps=made.peak() - wild.uniform(13, 200))


def acceptable(gaussian: DeviceGaussian) -> bool:
    return bool(np.diag(gaussian.factor).min() > 0.06)


def written(data: bytes) -> DeviceGaussian:
    """Return the distribution of the numbers in a file."""
    part = json.loads(data)["ch"]["grid"]
    count = len(part["features"])
    factor = np.array([row + [0.0] * (count - len(row)) for row in part["chol"]])
    mean, scale, log_eps = (np.array(part[key]) for key in ("mean", "scale", "log_eps"))
    return DeviceGaussian(tuple(part["features"]), mean, scale, factor, log_eps)


def body(**changes: object) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(pack(7, {"grid": random_gaussian(4)}, hours=HOURS))
    made.update(changes)
    return made


def as_bytes(made: object) -> bytes:
    return json.dumps(made).encode()


@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(0, 30))
@settings(max_examples=150, deadline=None)
def test_equals_numpy_within_float32(seed: int, count: int, far: float) -> None:
    wide = random_gaussian(seed, count)
    if not acceptable(wide):
        return
    data = pack(1, {"grid": wide}, hours=HOURS)
    loaded, wide = model.load(data).gaussian("grid", first=True), written(data)
    assert loaded is not None
    wild = np.random.default_rng(seed + 1)
    x = np.full((1, len(NAMES)), np.nan)
    columns = [NAMES.index(name) for name in wide.names]
    x[0, columns] = wide.mean[3] + far * wide.scale[3] * wild.standard_normal(count)
    if wild.random() < 0.3:
        x[0, columns[-1]] = np.nan
    group = np.array([3])
    expected = float(wide.d2(x, group)[0])
    d2 = loaded.d2(x[0].tolist(), 3)
    # float32 keeps seven digits of 230 V; errors grow with the factor's condition.
    slack = 3e-4 * (1 + expected) / float(np.diag(wide.factor).min())
    assert abs(d2 - expected) <= slack
    assert abs(loaded.log_p(d2, 3) - float(wide.log_p(np.array([expected]), group)[0])) <= slack
    below = loaded.log_p(d2, 3) < loaded.log_eps[3]
    limit = loaded.limit(3)
    assert below == (d2 > limit) or abs(d2 - limit) < 1e-3 * limit


@given(
    st.lists(
        st.tuples(
            st.integers(100, 60_000),
            st.floats(0, 300),
            st.sampled_from([0.0, 49.9, 60.0]),
            st.floats(0, 60),
            st.floats(-15_000, 15_000),
            st.floats(-5000, 5000),
        ),
        min_size=1,
        max_size=150,
    )
)
@settings(max_examples=80, deadline=None)
def test_features_equal_those_of_the_fit(rows: list[tuple[float, ...]]) -> None:
    track = Track()
    lit = [row for row in rows if row[1] >= 50]
    for dt_ms, v, hz, i, p, q in rows:
        track.add(int(dt_ms), v, hz, (i, p, q))
    if not lit:
        assert all(math.isnan(value) for value in track.x)
        return
    expected = featurise([Row(int(r[0]), *r[1:]) for r in lit])[-1]
    np.testing.assert_allclose(track.x, expected, rtol=1e-6, atol=1e-6)


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_no_number_makes_the_score_less_than_finite(v: float, i: float, p: float, q: float) -> None:
    gaussian = model.default(230.0, 50.0).gaussian("grid", first=True)
    assert gaussian is not None
    track = Track()
    track.add(1000, 230.0, 50.0, (1.0, 200.0, 5.0))
    track.add(1000, v, 50.0, (i, p, q))
    track.add(1000, 231.0, 50.0, (1.0, 200.0, 5.0))
    d2 = gaussian.d2(track.x, 0)
    assert 0 <= d2 < 1e30


def test_a_copy_judges_the_same() -> None:
    first = model.load(memoryview(pack(7, {"grid": random_gaussian(4)}, hours=HOURS)))
    again = first.copy()
    x = [0.3 * k for k in range(len(NAMES))]
    for group in range(len(first.channels["grid"].mean)):
        judged = [one.channels["grid"].d2(x, group) for one in (first, again)]
        assert judged[0] == judged[1]
        limits = [one.channels["grid"].limit(group) for one in (first, again)]
        assert limits[0] == limits[1]
    assert again.version == first.version == 7
    assert [again.group(h * 3_600_000) for h in range(24)] == [
        first.group(h * 3_600_000) for h in range(24)
    ]


def test_hour_classes_are_those_of_the_fit() -> None:
    loaded = model.load(pack(1, {"grid": random_gaussian(4)}, hours=HOURS, utc_offset_min=-210))
    times = [SUNDAY_NOON_MS + k * 3_511_000 for k in range(500)]
    expected = classify(np.array(times), HOURS, -210).tolist()
    assert [loaded.group(at_ms) for at_ms in times] == expected
    assert loaded.group(None) == 0


def test_default_is_for_any_grid() -> None:
    for volts, hertz in ((100.0, 50.0), (100.0, 60.0), (120.0, 60.0), (230.0, 50.0), (240.0, 50.0)):
        gaussian = model.default(volts, hertz).gaussian("grid", first=True)
        assert gaussian is not None
        for part in (0.9, 1.0, 1.1):
            for power in (-6.0, 0.0, 6.0):  # -10 to 10 kW
                x = [volts * part, hertz * 1.01, power, power / 2, math.nan, math.nan, power / 2]
                assert gaussian.d2(x, 0) < 0.7 * gaussian.limit(0)
        swollen = [volts * 1.3, hertz, 1.0, 0.0, math.nan, math.nan, 0.0]
        assert gaussian.d2(swollen, 0) > gaussian.limit(0)
    with pytest.raises(ConfigError, match="24"):
        model.default(24.0, 50.0)


def test_channels_without_a_gaussian_of_their_own_have_none() -> None:
    loaded = model.load(as_bytes(body()))
    assert loaded.version == 7
    assert loaded.gaussian("grid", first=True) is not None
    assert loaded.gaussian("load1", first=False) is None


BAD: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("format", "format 1", lambda b: b.update(format=2)),
    ("format", "version", lambda b: b.update(version=0)),
    ("format", "version", lambda b: b.update({"version": True})),
    ("format", "hours", lambda b: b.update(hours=[0] * 23)),
    ("format", "hours", lambda b: b.update(hours=[6] * 24)),
    ("format", "utc_offset_min", lambda b: b.update(utc_offset_min=1.5)),
    ("format", "1 to 6 channels", lambda b: b.update(ch={})),
    ("format", "1 to 6 channels", lambda b: b.update(ch=[1])),
    ("format", "unknown or repeated", lambda b: b["ch"]["grid"].update(features=["power"] * 6)),
    ("format", "unknown or repeated", lambda b: b["ch"]["grid"].update(features=[[]] * 6)),
    ("format", "1 to 6 features", lambda b: b["ch"]["grid"].update(features=list(NAMES))),
    ("format", "mean", lambda b: b["ch"]["grid"].update(mean=None)),
    ("format", "8 classes", lambda b: b["ch"]["grid"].update(mean=[])),
    ("format", "finite", lambda b: b["ch"]["grid"]["scale"][0].__setitem__(0, 1e300)),
    ("format", "finite", lambda b: b["ch"]["grid"]["scale"][0].__setitem__(0, "1")),
    ("format", "finite", lambda b: b["ch"]["grid"]["mean"].__setitem__(0, [True] * 6)),
    ("format", "6 numbers", lambda b: b["ch"]["grid"]["mean"][0].pop()),
    ("range", "mean", lambda b: b["ch"]["grid"]["mean"][1].__setitem__(0, -100.0)),
    ("range", "scale", lambda b: b["ch"]["grid"]["scale"][1].__setitem__(0, 1e-4)),
    ("range", "factor", lambda b: b["ch"]["grid"]["chol"][0].__setitem__(0, -1.0)),
    ("range", "factor", lambda b: b["ch"]["grid"]["chol"][2].__setitem__(0, 0.99999)),
    ("range", "log_eps", lambda b: b["ch"]["grid"]["log_eps"].__setitem__(0, 5.0)),
    ("range", "log_eps", lambda b: b["ch"]["grid"]["log_eps"].__setitem__(0, -1e6)),
    ("format", "vectors", lambda b: b.update(vectors=[])),
    ("format", "no self-test vector", lambda b: b["ch"].update(solar=b["ch"]["grid"])),
    ("format", "no such channel", lambda b: b["vectors"][0].update(ch={})),
    ("self-test", "vector 1 differs", lambda b: b["vectors"][1].update(d2=3.0)),
    ("self-test", "vector 0 differs", lambda b: b["vectors"][0].update(log_p=0.0)),
    ("format", "traces", lambda b: b.update(traces=None)),
    ("format", "trace row", lambda b: b["traces"][0]["rows"].__setitem__(0, [1])),
    ("self-test", "trace 0", lambda b: b["traces"][0]["x"].__setitem__(2, 1.0)),
    ("self-test", "trace 1", lambda b: b["traces"][1]["x"].__setitem__(0, 230.0)),
]


@pytest.mark.parametrize(("reason", "said", "damage"), BAD)
def test_bad_models_are_refused_with_a_reason(
    reason: str, said: str, damage: Callable[[dict[str, Any]], object]
) -> None:
    made = body()
    damage(made)
    with pytest.raises(BadBundleError, match=said) as raised:
        model.load(as_bytes(made))
    assert raised.value.reason == reason


LEAVES = st.none() | st.booleans() | st.floats() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.binary(max_size=200) | JSON.map(as_bytes))
@settings(max_examples=50)
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadBundleError):
        model.load(data)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_value_replaced_loads_or_is_refused(data: st.DataObject) -> None:
    """No damage that survives JSON makes `load` raise anything else, or accept no numbers."""
    made = body()
    place: Any = made
    key: Any = None
    while True:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.just([])
        | st.just({})
    )
    try:
        loaded = model.load(as_bytes(made))
    except BadBundleError:
        return
    gaussian = loaded.gaussian("grid", first=True)
    assert gaussian is None or math.isfinite(gaussian.d2([230.0] * len(NAMES), 0))


def test_too_large_and_truncated_are_refused() -> None:
    whole = as_bytes(body())
    with pytest.raises(BadBundleError, match="at most"):
        model.load(whole + b" " * 9000)
    for end in range(0, len(whole) - 1, 97):
        with pytest.raises(BadBundleError):
            model.load(whole[:end])


JUDGE = """
import json, sys
import model
data = open(sys.argv[1], "rb").read()
loaded = model.load(data)
for vector in json.load(open(sys.argv[2])):
    gaussian = loaded.gaussian("grid", True)
    x = [float("nan") if value is None else value for value in vector]
    d2 = gaussian.d2(x, 2)
    print(d2, gaussian.log_p(d2, 2), gaussian.names[gaussian.explain(x, 2)])
try:
    model.load(data[:-3])
except model.BadBundleError as error:
    print(error)
"""


@needs_vm
def test_the_vm_finds_the_same(tmp_path: Path) -> None:
    wide = random_gaussian(11)
    wild = np.random.default_rng(12)
    x = np.full((20, len(NAMES)), np.nan)
    columns = [NAMES.index(name) for name in wide.names]
    x[:, columns] = wide.mean[2] + 4 * wide.scale[2] * wild.standard_normal((20, 6))
    x[::4, columns[-1]] = np.nan
    data = pack(1, {"grid": wide}, hours=HOURS)
    wide = written(data)
    (tmp_path / "model.json").write_bytes(data)
    vectors = [[None if math.isnan(v) else v for v in row] for row in x.tolist()]
    (tmp_path / "x.json").write_text(json.dumps(vectors))
    said = vm(JUDGE, str(tmp_path / "model.json"), str(tmp_path / "x.json")).splitlines()
    groups = np.full(20, 2)
    expected = wide.d2(x, groups)
    rows = [line.split() for line in said[:20]]
    slack = 1e-3 / float(np.diag(wide.factor).min())
    np.testing.assert_allclose([float(r[0]) for r in rows], expected, rtol=slack, atol=slack)
    found = [float(r[1]) for r in rows]
    np.testing.assert_allclose(found, wide.log_p(expected, groups), rtol=slack, atol=slack * 100)
    assert {r[2] for r in rows} <= set(wide.names)
    assert "format" in said[20]


@given(st.integers(0, 2**32), st.floats(0, 40))
@settings(max_examples=100, deadline=None)
def test_float32_stays_within_the_self_tests_slack(seed: int, far: float) -> None:
    """An ESP32 computes with float32 throughout: no good bundle may fail its self-test there."""
    wide = random_gaussian(seed)
    if not acceptable(wide):
        return
    parts: list[Any] = [part.astype(np.float32) for part in wide[1:]]
    narrow = DeviceGaussian(wide.names, *parts)
    wild = np.random.default_rng(seed)
    x = np.full((1, len(NAMES)), np.nan)
    columns = [NAMES.index(name) for name in wide.names]
    x[0, columns] = wide.mean[1] + far * wide.scale[1] * wild.standard_normal(6)
    group = np.array([1])
    exact = float(wide.d2(x, group)[0])
    x32: Any = x.astype(np.float32)
    rounded: np.ndarray = narrow.d2(x32, group)
    assert rounded.dtype == np.float32
    assert abs(float(rounded[0]) - exact) <= model.TEST_SLACK * (1 + exact)
