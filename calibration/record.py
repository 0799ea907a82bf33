"""The calibration record a meter obeys, as docs/firmware/calibration.md describes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.domain.errors import BadInputError

FORMAT = 1
POINTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Point:
    """Gain (A per code) and phase (rad the clamp leads the adapter) at a current in A."""

    i: float
    gain: float
    phase: float


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One clamp: noise in codes², leaks per codes² of voltage, points by rising current."""

    name: str
    noise: float
    points: Sequence[Point]
    sign: int = 1
    leak_p: float = 0.0
    leak_q: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """One meter's constants; `made` is an ISO date for people.

    `v_gain` in V per code at `v_at` codes RMS; it changes by `v_slope` times the relative
    distance from there.
    """

    version: int
    v_gain: float
    v_slope: float
    v_at: float
    channels: Sequence[ChannelRecord]
    made: str = ""

    def as_json(self) -> str:
        """Return the record's canonical text: sorted keys, no spaces, seven digits."""
        whole = {
            "format": FORMAT,
            "version": self.version,
            "made": self.made,
            "v": {
                "gain": _short(self.v_gain),
                "slope": _short(self.v_slope),
                "at": _short(self.v_at),
            },
            "ch": [_channel(channel) for channel in self.channels],
        }
        return json.dumps(whole, sort_keys=True, separators=(",", ":"))


def parse(text: str) -> CalibrationRecord:
    """Return a record that `as_json` wrote. BadInputError for anything else."""
    try:
        whole = json.loads(text)
        if whole["format"] != FORMAT:
            msg = "a calibration record of another format"
            raise BadInputError(msg)
        return CalibrationRecord(
            version=int(whole["version"]),
            v_gain=float(whole["v"]["gain"]),
            v_slope=float(whole["v"]["slope"]),
            v_at=float(whole["v"]["at"]),
            channels=[_parsed(row) for row in whole["ch"]],
            made=str(whole["made"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        msg = f"no calibration record: {error!r}"
        raise BadInputError(msg) from error


def _parsed(row: dict[str, Any]) -> ChannelRecord:
    return ChannelRecord(
        name=str(row["name"]),
        sign=int(row["sign"]),
        noise=float(row["noise"]),
        leak_p=float(row["leak"][0]),
        leak_q=float(row["leak"][1]),
        points=[
            Point(float(one["i"]), float(one["gain"]), float(one["phase"])) for one in row["points"]
        ],
    )


def _channel(channel: ChannelRecord) -> dict[str, object]:
    return {
        "name": channel.name,
        "sign": channel.sign,
        "noise": _short(channel.noise),
        "leak": [_short(channel.leak_p), _short(channel.leak_q)],
        "points": [
            {"i": _short(point.i), "gain": _short(point.gain), "phase": _short(point.phase)}
            for point in channel.points
        ],
    }


def _short(value: float) -> float:
    """Return a value with the digits a meter's 32-bit floats can hold."""
    return float(f"{value:.7g}")
