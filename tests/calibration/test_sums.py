"""A `calibrate` result is read, or refused by name."""

from typing import Any

import pytest

from calibration.sums import parse
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
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BadInputError, match=said):
        parse(data)
    with pytest.raises(BadInputError, match="data is not"):
        parse([])
