"""What a meter's `calibrate` command returns: means in converter steps, checked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.errors import BadInputError

BEND_ROWS = 8  # of 256 codes of |v| each: what twelve bits have on either side of the middle


@dataclass(frozen=True, slots=True)
class ChannelSums:
    """One clamp: RMS with noise and bias in codes, P and Q in codes² (+ inductive)."""

    rms: float
    mean: float
    p: float
    q: float
    clipped: int


@dataclass(frozen=True, slots=True)
class BendRow:
    """Samples whose voltage lay within one row of 256 codes, on either side of zero.

    `v` is the mean of |v|, `i` each channel's mean current with the voltage's sign, codes.
    """

    count: int
    v: float
    i: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RawSums:
    """Means over `windows` windows of about a second with the mains on.

    `v_rms` and `v_mean` in codes, `f_hz` the mains frequency. `bend` has a row for each 256
    codes of |v| from 0 up; none of a firmware that does not tell it.
    """

    windows: int
    f_hz: float
    v_rms: float
    v_mean: float
    channels: Mapping[str, ChannelSums]
    bend: tuple[BendRow, ...] = ()


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
        bend=_bend(voltage, _mapping(top.get("ch"), "ch")),
    )


def combined(parts: Sequence[RawSums]) -> RawSums:
    """Return the means over all parts' windows; channels that not all parts have are left out.

    ValueError without parts.
    """
    if not parts:
        msg = "no sums to combine"
        raise ValueError(msg)
    n = sum(part.windows for part in parts)

    def mean(pick: Callable[[RawSums], float]) -> float:
        return sum(part.windows * pick(part) for part in parts) / n

    def channel(name: str) -> ChannelSums:
        return ChannelSums(
            rms=math.sqrt(mean(lambda part: part.channels[name].rms ** 2)),
            mean=mean(lambda part: part.channels[name].mean),
            p=mean(lambda part: part.channels[name].p),
            q=mean(lambda part: part.channels[name].q),
            clipped=sum(part.channels[name].clipped for part in parts),
        )

    names = [name for name in parts[0].channels if all(name in part.channels for part in parts)]
    return RawSums(
        windows=n,
        f_hz=mean(lambda part: part.f_hz),
        v_rms=math.sqrt(mean(lambda part: part.v_rms**2)),
        v_mean=mean(lambda part: part.v_mean),
        channels={name: channel(name) for name in names},
        bend=_combined_bend([part.bend for part in parts], names),
    )


def _combined_bend(parts: Sequence[Sequence[BendRow]], names: Sequence[str]) -> tuple[BendRow, ...]:
    """Return the rows of all parts, samples counting alike; none when a part has none."""
    out = []
    for place in range(max(map(len, parts)) if all(parts) else 0):
        rows = [part[place] for part in parts if place < len(part)]
        count = sum(row.count for row in rows)
        out.append(
            BendRow(
                count,
                sum(row.count * row.v for row in rows) / count,
                {name: sum(row.count * row.i[name] for row in rows) / count for name in names},
            )
        )
    return tuple(out)


def as_data(sums: RawSums) -> dict[str, object]:
    """Return sums as `parse` reads them."""
    return {
        "windows": sums.windows,
        "f": sums.f_hz,
        "v": {
            "rms": sums.v_rms, "mean": sums.v_mean,
            "bend": [[row.count, row.v] for row in sums.bend],
        },
        "ch": {
            name: {
                "rms": row.rms, "mean": row.mean, "p": row.p, "q": row.q, "clipped": row.clipped,
                "bend": [one.i[name] for one in sums.bend],
            }
            for name, row in sums.channels.items()
        },
    }  # fmt: skip


def _bend(voltage: Mapping[str, object], channels: Mapping[str, object]) -> tuple[BendRow, ...]:
    rows = _rows(voltage.get("bend", []), "v.bend")
    currents = {
        str(name): _rows(_mapping(row, f"ch.{name}").get("bend", []), f"ch.{name}.bend")
        for name, row in channels.items()
    }
    for name, own in currents.items():
        if len(own) != len(rows):
            msg = f"calibration sums: ch.{name}.bend has {len(own)} rows, v.bend {len(rows)}"
            raise BadInputError(msg)
    out = []
    for place, row in enumerate(rows):
        where = f"v.bend.{place}"
        if not isinstance(row, Sequence) or len(row) != len(("count", "mean")):
            msg = f"calibration sums: {where} is not a count and a mean"
            raise BadInputError(msg)
        count, mean = (_finite(value, where) for value in row)
        if count < 1:
            msg = f"calibration sums: {where} counts nothing"
            raise BadInputError(msg)
        i = {name: _finite(own[place], f"ch.{name}.bend.{place}") for name, own in currents.items()}
        out.append(BendRow(int(count), mean, i))
    return tuple(out)


def _rows(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list | tuple) or len(value) > BEND_ROWS:
        msg = f"calibration sums: {where} is not a list of at most {BEND_ROWS}"
        raise BadInputError(msg)
    return value


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
    return _finite(row.get(key), where)


def _finite(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"calibration sums: {where} is not a number"
        raise BadInputError(msg)
    return float(value)
