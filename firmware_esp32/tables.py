"""The calibration record: read, checked, made into a calibration in force."""

from curves import Calibration, Channel
from errors import BadBundleError
from wire import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FORMAT = 1
_FORMAT, _RANGE = "format", "range"  # reasons of refusal
# Nominal parts (METERING: ZMPT101B trimmed to 0.75 V at 230 V, SCT-013-030 with 1 V at 30 A,
# 4096 converter steps of a 3.1 V scale) and the bounds within which a record is believed. A
# gateway that was taken over can thus shift readings by some parts, but never make a meter
# that shows nothing, or a hundredfold.
_STEP_V = 3.1 / 4096
NOMINAL_V = 230.0 / 0.75 * _STEP_V  # V per code
NOMINAL_A = 30.0 * _STEP_V  # A per code
NOMINAL_NOISE = 11.0  # codes²: 2.5 mV
# Measured curve of the clamp less the adapter's 2 degrees: current A, lead in degrees, ratio.
_NOMINAL_CURVE = (
    (0.02, 3.42, -0.0176),
    (0.1, 3.0, -0.012),
    (1.0, 2.2, -0.006),
    (10.0, 1.4, -0.002),
    (25.0, 1.2, 0.0),
)
_ADAPTER_LEAD_DEG = 2.0
_DEGREE = 0.017453292519943295
_V_RANGE = (NOMINAL_V / 5, NOMINAL_V * 5)
_V_SLOPE_RANGE = (-0.05, 0.05)
_V_AT_RANGE = (50.0, 2000.0)
_A_RANGE = (NOMINAL_A / 20, NOMINAL_A * 20)
_PHASE_RANGE = (-0.35, 0.35)  # 20 degrees
_NOISE_RANGE = (0.0, 400.0)
_LEAK_RANGE = (-0.02, 0.02)
_I_RANGE = (0.001, 1000.0)
_POINTS_MAX = 8
_VERSION_MAX = 0xFFFFFFFF


def nominal(names: "Sequence[str]") -> Calibration:
    """Return what parts without errors would need: good to some percent."""
    points = [
        (i, NOMINAL_A / (1 + ratio), (lead - _ADAPTER_LEAD_DEG) * _DEGREE)
        for i, lead, ratio in _NOMINAL_CURVE
    ]
    channels = [Channel(name, 1, NOMINAL_NOISE, 0.0, 0.0, points) for name in names]
    return Calibration(0, NOMINAL_V, channels)


def loads(text: "str | bytes | memoryview", names: "Sequence[str]") -> Calibration:
    """Return the calibration a record describes, for a meter with these channels.

    BadBundleError("format") when it is no such record or for other channels, ("range")
    when a value is not credible; its text names the value.
    """
    try:
        record = parsed(text)
    except ValueError as error:
        raise BadBundleError(_FORMAT, "calibration is not JSON") from error
    return parse(record, names)


def parse(record: object, names: "Sequence[str]") -> Calibration:
    """Return the calibration a decoded record describes; errors as `loads`."""
    top = _mapping(record, "record")
    if top.get("format") != FORMAT:
        raise BadBundleError(_FORMAT, "calibration format is not 1")
    version = top.get("version")
    if not isinstance(version, int) or version is True or not 0 < version <= _VERSION_MAX:
        raise BadBundleError(_RANGE, "version")
    rows = top.get("ch")
    if not isinstance(rows, list):
        raise BadBundleError(_FORMAT, "ch is not a list")
    read = [_channel(_mapping(row, "ch")) for row in rows]
    # By name: the gateway knows the channels from `calibrate`, whose object has no order here.
    channels = [channel for name in names for channel in read if channel.name == name]
    if [channel.name for channel in channels] != list(names) or len(read) != len(names):
        raise BadBundleError(_FORMAT, "channels differ from this meter's")
    voltage = _mapping(top.get("v"), "v")
    gain = _number(voltage, "gain", "v", _V_RANGE)
    if "slope" not in voltage:
        return Calibration(version, gain, channels)
    slope = _number(voltage, "slope", "v", _V_SLOPE_RANGE)
    return Calibration(version, gain, channels, slope, _number(voltage, "at", "v", _V_AT_RANGE))


def _channel(row: "dict[str, Any]") -> Channel:
    name = row.get("name")
    if not isinstance(name, str):
        raise BadBundleError(_FORMAT, "a channel has no name")
    sign = row.get("sign", 1)
    if sign not in {1, -1}:
        raise BadBundleError(_RANGE, name + "." + "sign")
    noise = _number(row, "noise", name, _NOISE_RANGE)
    leak = row.get("leak", [0.0, 0.0])
    if not isinstance(leak, list) or len(leak) != 2:  # noqa: PLR2004 - in phase, in quadrature
        raise BadBundleError(_FORMAT, name + "." + "leak")
    leaks = [_checked(value, name + "." + "leak", _LEAK_RANGE) for value in leak]
    return Channel(name, int(sign), noise, leaks[0], leaks[1], _points(row.get("points"), name))


def _points(rows: object, name: str) -> "list[tuple[float, float, float]]":
    where = name + "." + "points"
    if not isinstance(rows, list) or not 1 <= len(rows) <= _POINTS_MAX:
        raise BadBundleError(_FORMAT, where)
    points: list[tuple[float, float, float]] = []
    for raw in rows:
        row = _mapping(raw, where)
        point = (
            _number(row, "i", where, _I_RANGE),
            _number(row, "gain", where, _A_RANGE),
            _number(row, "phase", where, _PHASE_RANGE),
        )
        # Codes must rise from point to point, or there is nothing to interpolate on.
        if points and point[0] / point[1] <= points[-1][0] / points[-1][1]:
            raise BadBundleError(_RANGE, where + ".i does not rise")
        points.append(point)
    return points


def _mapping(value: object, name: str) -> "dict[str, Any]":
    if not isinstance(value, dict):
        raise BadBundleError(_FORMAT, name + " is not an object")
    return value


def _number(row: "dict[str, Any]", key: str, name: str, bounds: "tuple[float, float]") -> float:
    return _checked(row.get(key), name + "." + key, bounds)


def _checked(value: object, name: str, bounds: "tuple[float, float]") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadBundleError(_FORMAT, name + " is not a number")
    if not bounds[0] <= value <= bounds[1]:  # also refuses NaN
        raise BadBundleError(_RANGE, name)
    return float(value)
