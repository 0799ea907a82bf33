"""What a meter's `calibrate` command returns: means in converter steps, checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.errors import BadInputError


@dataclass(frozen=True, slots=True)
class ChannelSums:
    """One clamp: RMS with noise and bias in codes, P and Q in codes² (+ inductive)."""

    rms: float
    mean: float
    p: float
    q: float
    clipped: int


@dataclass(frozen=True, slots=True)
class RawSums:
    """Means over `windows` windows of about a second with the mains on.

    `v_rms` and `v_mean` in codes, `f_hz` the mains frequency.
    """

    windows: int
    f_hz: float
    v_rms: float
    v_mean: float
    channels: Mapping[str, ChannelSums]


def parse(data: object) -> RawSums:
    """Return a `calibrate` result's data. BadInputError names what is missing or impossible."""
    top = _mapping(data, "data")
    voltage = _mapping(top.get("v"), "v")
    windows = _number(top, "windows", "windows")
    if windows < 1:
        msg = "the meter measured no window with mains: is the voltage adapter connected?"
        raise BadInputError(msg)
    channels = {
        str(name): _channel(_mapping(row, f"ch.{name}"), f"ch.{name}")
        for name, row in _mapping(top.get("ch"), "ch").items()
    }
    return RawSums(
        windows=int(windows),
        f_hz=_number(top, "f", "f"),
        v_rms=_number(voltage, "rms", "v.rms"),
        v_mean=_number(voltage, "mean", "v.mean"),
        channels=channels,
    )


def _channel(row: Mapping[str, object], where: str) -> ChannelSums:
    return ChannelSums(
        rms=_number(row, "rms", f"{where}.rms"),
        mean=_number(row, "mean", f"{where}.mean"),
        p=_number(row, "p", f"{where}.p"),
        q=_number(row, "q", f"{where}.q"),
        clipped=int(_number(row, "clipped", f"{where}.clipped")),
    )


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        msg = f"calibration sums: {where} is not an object"
        raise BadInputError(msg)
    return value


def _number(row: Mapping[str, object], key: str, where: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"calibration sums: {where} is not a number"
        raise BadInputError(msg)
    return float(value)
