"""The models P(x) < ε in a bundle: format, ranges they must keep, self-test; the default."""

from array import array
from math import isnan

import micropython
from errors import BadBundleError, ConfigError
from gauss import Gaussian, Model
from micropython import const
from traits import COUNT, NAMES, Track
from wire import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from micropython import ptr8

FORMAT = const(1)
MOST_BYTES = const(8_192)
MOST_FEATURES = const(6)
MOST_CHANNELS = const(6)
MOST_CLASSES = const(8)
MOST_TESTS = const(24)
MOST_VERSION = const(1_000_000_000)
MOST_ROWS = const(16)
_SPACE = b" \t\r\n"
ROW = const(6)  # numbers in a trace's row
MOST_NUMBER = 1e9  # float32 keeps its square
DAY_H = const(24)
NOMINAL_V, NOMINAL_HZ = (90.0, 480.0), (45.0, 65.0)
# d² at ε: below the first a healthy meter would be told of daily, above the second never.
LIMITS = (12.0, 10_000.0)
LEAST_DIAGONAL = 0.05  # of the Cholesky factor: float32 still solves it to 4 digits
UNIT_SLACK = 1e-3  # a row of a correlation's factor has length 1
TEST_SLACK = 2e-3  # float32, a solve through LEAST_DIAGONAL
TRACE_SLACK = 2e-3

# Least and greatest mean, least and greatest spread (what a sensor resolves; what still says
# something). Powers are compressed: ±9 is ±200 kW.
RANGES = {
    "voltage": (80.0, 500.0, 0.3, 60.0),
    "frequency": (40.0, 70.0, 0.02, 5.0),
    "power": (-9.0, 9.0, 0.05, 8.0),
    "reactive": (-9.0, 9.0, 0.05, 8.0),
    "power_factor": (0.0, 1.0, 0.01, 2.0),
    "base": (-9.0, 9.0, 0.05, 8.0),
    "step": (-9.0, 9.0, 0.05, 8.0),
}


def default(nominal_v: float, nominal_hz: float) -> Model:
    """Return the model in force before any bundle: it fires on what no healthy home shows.

    Spreads put EN 50160's ±10 % at 2.5 sigmas and a connection's whole range of power (±20 kW
    and more) at 2; ε lies at 6 sigmas. ConfigError for nominal values no grid has.
    """
    if not NOMINAL_V[0] <= nominal_v <= NOMINAL_V[1] or (
        not NOMINAL_HZ[0] <= nominal_hz <= NOMINAL_HZ[1]
    ):
        msg = f"nominal: {nominal_v} V and {nominal_hz} Hz are no grid's; correct config.json"
        raise ConfigError(msg)
    supply = [("voltage", nominal_v, 0.04 * nominal_v), ("frequency", nominal_hz, 0.6)]
    load = [("power", 0.0, 3.5), ("reactive", 0.0, 2.5), ("step", 0.0, 4.0)]
    return Model(0, {"*first": _independent(supply + load), "*": _independent(load)})


def _independent(rows: "list[tuple[str, float, float]]") -> Gaussian:
    """Return a Gaussian without correlation whose ε lies at d² = 36."""
    count = len(rows)
    factor = array("f", [0.0] * (count * (count + 1) // 2))
    for row in range(count):
        factor[row * (row + 3) // 2] = 1.0
    mean, scale = array("f", [r[1] for r in rows]), array("f", [r[2] for r in rows])
    made = Gaussian([r[0] for r in rows], [mean], [scale], factor, array("f", [0.0]))
    made.log_eps[0] = made.log_p(36.0, 0)
    return made


def load(data: "bytes | bytearray | memoryview") -> Model:
    """Return the model in a bundle's body (docs/firmware/model.md), tested on its vectors.

    BadBundleError, with a short reason, for anything a meter could not judge by.
    """
    if len(data) > MOST_BYTES:
        _refuse(f"{len(data)} bytes, at most {MOST_BYTES}")
    text = memoryview(data)  # it may lie in memory that was lent
    body = _object(text, 0, len(text))
    if _value(text, body, "format") != FORMAT:
        _refuse("not of format 1")
    version = _whole(_value(text, body, "version"), "version", 1, MOST_VERSION)
    offset = _whole(_value(text, body, "utc_offset_min"), "utc_offset_min", -840, 840)
    channels = _object(text, *body.get("ch", (0, 0)))
    if not 0 < len(channels) <= MOST_CHANNELS:
        _refuse("ch: 1 to 6 channels")
    made = {name: _gaussian(name, _value(text, channels, name)) for name in channels}
    hours = _hours(_value(text, body, "hours"), min(len(g.mean) for g in made.values()))
    _test(made, text, _list(text, *body.get("vectors", (0, 0))))
    _trace(text, _list(text, *body.get("traces", (0, 0))))
    return Model(version, made, hours, offset)


# A model's text is taken apart value by value: all of it as objects is ten times its size.


def _object(text: memoryview, at: int, end: int) -> "dict[str, tuple[int, int]]":
    """Return where each member's value begins and ends; empty for what is no object."""
    places = _list(text, at, end, "{")
    found = {}
    for number in range(0, len(places) - 1, 2):
        name = _parsed(text, places[number])
        if not isinstance(name, str):
            _refuse("no JSON")
        found[name] = places[number + 1]
    if len(places) % 2:
        _refuse("no JSON")
    return found


def _list(text: memoryview, at: int, end: int, kind: str = "[") -> "list[tuple[int, int]]":
    """Return where each item (of an object: name or value) begins and ends."""
    while at < end and text[at] in _SPACE:
        at += 1
    while end > at and text[end - 1] in _SPACE:
        end -= 1
    places: list[tuple[int, int]] = []
    if at >= end or text[at] != ord(kind):
        return places
    last = end - 1  # where the bracket must be that closes it
    while True:
        at += 1
        stop = _end(text, at, end)
        if stop >= end or (text[stop] in b"]}" and stop != last):
            _refuse("no JSON")
        places.append((at, stop))
        if stop == last:
            break
        at = stop
    if len(places) == 1 and all(text[k] in _SPACE for k in range(places[0][0], last)):
        places.clear()
    return places


@micropython.viper
def _end(text: ptr8, at: int, end: int) -> int:
    """Return where the value ends that begins at a place: at a comma, colon or bracket."""
    depth = 0
    inside = 0
    while at < end:
        char = int(text[at])
        if inside:
            if char == 92:  # noqa: PLR2004 - a backslash
                at += 1
            elif char == 34:  # noqa: PLR2004 - a quotation mark
                inside = 0
        elif char == 34:  # noqa: PLR2004
            inside = 1
        elif char == 91 or char == 123:  # noqa: PLR1714, PLR2004 - brackets open
            depth += 1
        elif char == 93 or char == 125:  # noqa: PLR1714, PLR2004 - and close
            if depth == 0:
                return at
            depth -= 1
        elif depth == 0 and (char == 44 or char == 58):  # noqa: PLR1714, PLR2004 - comma, colon
            return at
        at += 1
    return end


def _parsed(text: memoryview, place: "tuple[int, int]") -> object:
    """Return the value at a place."""
    try:
        return parsed(text[place[0] : place[1]])
    except (ValueError, RuntimeError) as error:
        reason = "format"
        raise BadBundleError(reason, "no JSON") from error


def _value(text: memoryview, members: "dict[str, tuple[int, int]]", name: str) -> object:
    """Return a member's value, None when there is none."""
    place = members.get(name)
    return None if place is None else _parsed(text, place)


def _refuse(detail: str, reason: str = "format") -> "NoReturn":
    raise BadBundleError(reason, detail)


def _whole(value: object, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        _refuse(f"{what}: whole number from {least} to {most}")
    return int(value)


def _numbers(value: object, what: str, count: int) -> "array[float]":
    """Return a list of finite numbers as float32."""
    if not isinstance(value, list) or len(value) != count:
        _refuse(f"{what}: {count} numbers")
    for number in value:
        plain = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not plain or not abs(number) < MOST_NUMBER:
            _refuse(f"{what}: finite numbers")
    return array("f", value)


def _gaussian(name: str, part: object) -> Gaussian:
    """Return one channel's Gaussian within the ranges."""
    if name[:1] == "*" or not isinstance(part, dict):
        _refuse("ch: no channel name")
    names = part.get("features")
    if not isinstance(names, list) or not 0 < len(names) <= MOST_FEATURES:
        _refuse(f"{name}: 1 to 6 features")
    known = all(isinstance(n, str) and n in RANGES for n in names)
    if not known or len(set(names)) != len(names):
        _refuse(f"{name}: unknown or repeated feature")
    means, scales = part.get("mean"), part.get("scale")
    if not isinstance(means, list) or not isinstance(scales, list):
        _refuse(f"{name}: mean and scale per class")
    groups = len(means)
    if not 0 < groups <= MOST_CLASSES or len(scales) != groups:
        _refuse(f"{name}: mean and scale for 1 to 8 classes")
    count = len(names)
    mean = [_numbers(row, name + "." + "mean", count) for row in means]
    scale = [_numbers(row, name + "." + "scale", count) for row in scales]
    for row in range(count):
        low, high, narrow, wide = RANGES[names[row]]
        if not all(low <= m[row] <= high for m in mean):
            _refuse(f"{name}.mean: {names[row]} not in {low} to {high}", "range")
        # float32 rounds a spread that is just on the edge
        if not all(narrow * 0.999 <= s[row] <= wide * 1.001 for s in scale):
            _refuse(f"{name}.scale: {names[row]} not in {narrow} to {wide}", "range")
    factor = _factor(name, part.get("chol"), count)
    log_eps = _numbers(part.get("log_eps"), name + "." + "log_eps", groups)
    made = Gaussian(names, mean, scale, factor, log_eps)
    if not all(LIMITS[0] <= made.limit(g) <= LIMITS[1] for g in range(groups)):
        _refuse(f"{name}.log_eps: d² at ε not in 12 to 10000", "range")
    return made


def _factor(name: str, rows: object, count: int) -> "array[float]":
    """Return the Cholesky factor of a correlation: positive diagonal, rows of length 1."""
    if not isinstance(rows, list) or len(rows) != count:
        _refuse(f"{name}.chol: {count} rows")
    factor = array("f", [0.0] * (count * (count + 1) // 2))
    place = 0
    for number, row in enumerate(rows):
        values = _numbers(row, name + "." + "chol", number + 1)
        length = sum(value * value for value in values)
        if not values[number] >= LEAST_DIAGONAL or not abs(length - 1.0) <= UNIT_SLACK:
            _refuse(f"{name}.chol: no factor of a correlation", "range")
        for value in values:
            factor[place] = value
            place += 1
    return factor


def _hours(value: object, groups: int) -> bytes:
    """Return the class of each hour."""
    if not isinstance(value, list) or len(value) not in (DAY_H, 2 * DAY_H):
        _refuse("hours: 24 or 48 classes")
    return bytes([_whole(group, "hours", 0, groups - 1) for group in value])


def _test(made: "dict[str, Gaussian]", text: memoryview, vectors: "list[tuple[int, int]]") -> None:
    """Judge the bundle's vectors; every channel must have one, and none may differ."""
    if not 0 < len(vectors) <= MOST_TESTS:
        _refuse("vectors: 1 to 24")
    missing = list(made)
    for number, place in enumerate(vectors):
        vector = _parsed(text, place)
        if not isinstance(vector, dict):
            _refuse(f"vector {number}: no such channel")
        name = vector.get("ch")
        if not isinstance(name, str) or name not in made:
            _refuse(f"vector {number}: no such channel")
        gaussian = made[name]
        group = _whole(vector.get("class"), "vector class", 0, len(gaussian.mean) - 1)
        given = _numbers(vector.get("x"), "vector x", len(gaussian.names))
        expected = _numbers([vector.get("d2"), vector.get("log_p")], "vector d2, log_p", 2)
        x = [0.0] * COUNT
        for row, feature in enumerate(gaussian.names):
            x[NAMES.index(feature)] = given[row]
        d2 = gaussian.d2(x, group)
        slack = TEST_SLACK * (1.0 + expected[0])
        close = abs(d2 - expected[0]) <= slack
        if not close or not abs(gaussian.log_p(d2, group) - expected[1]) <= slack:
            _refuse(f"vector {number} differs", "self-test")
        if name in missing:
            missing.remove(name)
    if missing:
        _refuse(f"{missing[0]}: no self-test vector")


def _trace(text: memoryview, traces: "list[tuple[int, int]]") -> None:
    """Check that this firmware makes the features that the model was fitted on."""
    if not 0 < len(traces) <= MOST_CHANNELS:
        _refuse("traces: 1 to 6")
    for number, place in enumerate(traces):
        trace = _parsed(text, place)
        if not isinstance(trace, dict):
            _refuse(f"trace {number}: 1 to 16 rows")
        rows = trace.get("rows")
        if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
            _refuse(f"trace {number}: 1 to 16 rows")
        track = Track()
        for given in rows:
            _replay(track, given)
        _compare(number, track.x, trace.get("x"))


def _compare(number: int, features: "Sequence[float]", expected: object) -> None:
    """Refuse the model when a trace's features differ from those that this firmware makes."""
    if not isinstance(expected, list) or len(expected) != COUNT:
        _refuse(f"trace {number}: 7 features")
    for got, wanted in zip(features, expected):  # noqa: B905 - MicroPython's zip has no strict
        if isnan(got) != (wanted is None):
            _refuse(f"trace {number}: features differ", "self-test")
        if wanted is None:
            continue
        value = _numbers([wanted], "trace x", 1)[0]
        if not abs(got - value) <= TRACE_SLACK * (1.0 + abs(value)):
            _refuse(f"trace {number}: features differ", "self-test")


def _replay(track: Track, given: object) -> None:
    """Feed one row of a trace: dt in ms, V and Hz (null = not measured), A, W, var."""
    if not isinstance(given, list) or len(given) != ROW:
        _refuse("trace row: 6 numbers")
    row = _numbers([0.0 if value is None else value for value in given], "trace row", ROW)
    v = None if given[1] is None else row[1]
    hz = None if given[2] is None else row[2]
    track.add(int(row[0]), v, hz, (row[3], row[4], row[5]))
