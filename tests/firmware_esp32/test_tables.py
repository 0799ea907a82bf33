"""The calibration record: what is accepted, refused by name, and how it is interpolated."""

import json
from typing import Any

import pytest
import tables
from errors import BadBundleError

NAMES = ["grid"]


def good() -> dict[str, Any]:
    points = [
        {"i": 0.1, "gain": 0.0230, "phase": 0.018},
        {"i": 1.0, "gain": 0.0229, "phase": 0.004},
        {"i": 10.0, "gain": 0.0227, "phase": -0.010},
    ]
    channel = {"name": "grid", "sign": -1, "noise": 10.5, "leak": [0.001, -0.002], "points": points}
    return {
        "format": 1,
        "version": 4,
        "made": "",
        "v": {"gain": 0.232, "slope": 0.01, "at": 1000.0},
        "ch": [channel],
    }


def test_a_record_is_read() -> None:
    calibration = tables.loads(json.dumps(good()), NAMES)
    row = calibration.channels[0]
    assert (calibration.version, calibration.v_gain) == (4, 0.232)
    assert (row.sign, row.noise, row.leak_p, row.leak_q) == (-1, 10.5, 0.001, -0.002)


@pytest.mark.parametrize(
    ("told", "names", "known"),
    [
        ("grid load1", "load1 grid", True),
        ("grid load1", "grid load1", True),
        ("grid load1", "grid", False),
        ("grid", "grid load1", False),
        ("grid grid", "grid load1", False),
        ("grid grid", "grid", False),
    ],
)
def test_channels_are_known_by_name_in_any_order(told: str, names: str, known: bool) -> None:  # noqa: FBT001 - of the table
    record = good()
    row = record["ch"][0]
    record["ch"] = [{**row, "name": name, "noise": float(len(name))} for name in told.split()]
    if not known:
        with pytest.raises(BadBundleError, match="channels differ"):
            tables.parse(record, names.split())
        return
    made = tables.parse(record, names.split())
    assert [(c.name, c.noise) for c in made.channels] == [(n, len(n)) for n in names.split()]


def test_a_copy_says_the_same() -> None:
    first = tables.loads(memoryview(json.dumps(good()).encode()), NAMES)
    again = first.copy()
    assert (again.version, again.v_slope, again.v_at) == (4, first.v_slope, first.v_at)
    assert again.volts_per_code(1100.0) == first.volts_per_code(1100.0)
    for one, other in zip(first.channels, again.channels, strict=True):
        assert vars(one) == vars(other)


def test_the_voltage_gain_follows_the_level_for_a_quarter_of_it() -> None:
    calibration = tables.parse(good(), NAMES)
    assert calibration.volts_per_code(1000.0) == pytest.approx(0.232)
    assert calibration.volts_per_code(1100.0) == pytest.approx(0.232 * 1.001)
    assert calibration.volts_per_code(9000.0) == pytest.approx(0.232 * 1.0025)
    record = good()
    record["v"] = {"gain": 0.232}
    assert tables.parse(record, NAMES).volts_per_code(1500.0) == pytest.approx(0.232)


def test_between_points_the_logarithm_of_the_current_decides() -> None:
    row = tables.parse(good(), NAMES).channels[0]
    low, high = 0.1 / 0.0230, 1.0 / 0.0229
    gain, phase = row.at((low * high) ** 0.5)
    assert gain == pytest.approx(0.02295)
    assert phase == pytest.approx(0.011)
    assert row.at(1e-9) == row.at(0.0) == pytest.approx((0.0230, 0.018))
    assert row.at(1e6) == pytest.approx((0.0227, -0.010))
    assert row.at(1.0 / 0.0229)[0] == pytest.approx(0.0229)


def test_nominal_parts_are_version_0_and_would_pass_as_a_record() -> None:
    calibration = tables.nominal(["grid", "solar"])
    assert calibration.version == 0
    assert [row.name for row in calibration.channels] == ["grid", "solar"]
    gain, phase = calibration.channels[1].at(1.0 / tables.NOMINAL_A)
    assert gain == pytest.approx(tables.NOMINAL_A, rel=0.01)
    assert 0 < phase < 0.03


def _put(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    record = good()
    place: Any = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return record


POINT = ("ch", 0, "points", 1)


@pytest.mark.parametrize(
    ("path", "value", "reason", "said"),
    [
        (("format",), 2, "format", "format"),
        (("version",), 0, "range", "version"),
        (("version",), 1.5, "range", "version"),
        (("version",), True, "range", "version"),
        (("v", "gain"), 23.0, "range", "v.gain"),
        (("v", "gain"), float("nan"), "range", "v.gain"),
        (("v", "gain"), "0.2", "format", "v.gain"),
        (("v", "slope"), 0.2, "range", "v.slope"),
        (("v", "at"), 0.0, "range", "v.at"),
        (("v",), None, "format", "v is"),
        (("ch",), {}, "format", "ch"),
        (("ch", 0), 7, "format", "ch"),
        (("ch", 0, "name"), "solar", "format", "channels differ"),
        (("ch", 0, "name"), None, "format", "name"),
        (("ch", 0, "sign"), 0, "range", "grid.sign"),
        (("ch", 0, "noise"), -1.0, "range", "grid.noise"),
        (("ch", 0, "noise"), 1e4, "range", "grid.noise"),
        (("ch", 0, "leak"), [0.1, 0.0], "range", "grid.leak"),
        (("ch", 0, "leak"), [0.0], "format", "grid.leak"),
        (("ch", 0, "points"), [], "format", "grid.points"),
        (("ch", 0, "points"), [good()["ch"][0]["points"][0]] * 9, "format", "grid.points"),
        ((*POINT, "gain"), 3.0, "range", "grid.points.gain"),
        ((*POINT, "gain"), True, "format", "grid.points.gain"),
        ((*POINT, "phase"), 1.0, "range", "grid.points.phase"),
        ((*POINT, "i"), 0.05, "range", "does not rise"),
        ((*POINT, "i"), 1e5, "range", "grid.points.i"),
    ],
)
def test_what_is_not_credible_is_refused_by_name(
    path: tuple[Any, ...], value: object, reason: str, said: str
) -> None:
    with pytest.raises(BadBundleError, match=said) as caught:
        tables.parse(_put(path, value), NAMES)
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(BadBundleError):
        tables.loads(text, NAMES)
