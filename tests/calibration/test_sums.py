"""A `calibrate` result is read, or refused by name."""

from typing import Any

import pytest

from calibration.sums import BendRow, as_data, combined, parse
from gateway.domain.errors import BadInputError


def good() -> dict[str, Any]:
    row = {"rms": 3.2, "mean": 2050.1, "p": 10.0, "q": -2.0, "clipped": 0}
    return {
        "windows": 30,
        "f": 50.01,
        "v": {"rms": 990.0, "mean": 2047.0},
        "ch": {"grid": row},
        "cal": 0,
    }


def test_a_result_is_read() -> None:
    sums = parse(good())
    assert (sums.windows, sums.f_hz, sums.v_rms, sums.v_mean) == (30, 50.01, 990.0, 2047.0)
    assert sums.channels["grid"].q == -2.0


def bent() -> dict[str, Any]:
    data = good()
    data["v"]["bend"] = [[100, 120.5], [50, 380.0]]
    data["ch"]["grid"]["bend"] = [12.0, 37.9]
    return data


def test_rows_of_the_bend_are_read_and_told_again() -> None:
    sums = parse(bent())
    assert sums.bend == (BendRow(100, 120.5, {"grid": 12.0}), BendRow(50, 380.0, {"grid": 37.9}))
    assert parse(as_data(sums)) == sums
    assert parse(good()).bend == ()


def test_rows_of_several_stretches_count_by_their_samples() -> None:
    first, longer = bent(), bent()
    longer["v"]["bend"] = [[300, 124.5], [50, 380.0], [10, 600.0]]
    longer["ch"]["grid"]["bend"] = [16.0, 37.9, 60.0]
    whole = combined([parse(first), parse(longer)]).bend
    assert [row.count for row in whole] == [400, 100, 10]
    assert (whole[0].v, whole[0].i["grid"]) == (123.5, 15.0)
    assert combined([parse(first), parse(good())]).bend == ()


def put(data: Any, path: tuple[str, ...], value: object) -> None:  # noqa: ANN401 - any JSON
    """Put a value at a place in nested objects."""
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("v", "bend"), "100", "v.bend is not a list"),
        (("v", "bend"), [[1, 2.0]] * 9, "at most 8"),
        (("v", "bend"), [[100, 120.5]], "2 rows, v.bend 1"),
        (("v", "bend"), [[100], [50, 380.0]], "v.bend.0 is not a count"),
        (("v", "bend"), [[0, 120.5], [50, 380.0]], "counts nothing"),
        (("ch", "grid", "bend"), [12.0, "x"], "ch.grid.bend.1 is not a number"),
        (("ch", "grid", "bend"), None, "ch.grid.bend is not a list"),
    ],
)
def test_rows_that_cannot_be_are_named(path: tuple[str, ...], value: object, said: str) -> None:
    data = bent()
    put(data, path, value)
    with pytest.raises(BadInputError, match=said):
        parse(data)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("windows",), 0, "voltage adapter"),
        (("windows",), "3", "windows"),
        (("f",), None, "f is not"),
        (("v",), 3, "v is not an object"),
        (("v", "rms"), float("inf"), "v.rms"),
        (("ch",), [], "ch is not an object"),
        (("ch", "grid"), None, "ch.grid is not"),
        (("ch", "grid", "p"), True, "ch.grid.p"),
        (("ch", "grid", "clipped"), None, "ch.grid.clipped"),
    ],
)
def test_what_is_missing_is_named(path: tuple[str, ...], value: object, said: str) -> None:
    data = good()
    put(data, path, value)
    with pytest.raises(BadInputError, match=said):
        parse(data)
    with pytest.raises(BadInputError, match="data is not"):
        parse([])
