"""What a meter with a record shows for raw sums: the same sums as the firmware's power.py."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from calibration.record import CalibrationRecord, Point
from calibration.sums import RawSums

_V_AWAY = 0.25  # of the level to which the voltage's slope is followed (curves.py)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a record makes of raw sums: V, A, W, var."""

    v: float
    i: float
    p: float
    q: float


def applied(record: CalibrationRecord, channel: str, sums: RawSums) -> Applied:
    """Return what a meter with this record shows for raw sums."""
    own = next(one for one in record.channels if one.name == channel)
    row = sums.channels[channel]
    codes = math.sqrt(max(row.rms**2 - own.noise, 0.0))
    gain, phase = _curve(own.points, codes)
    away = max(-_V_AWAY, min(_V_AWAY, sums.v_rms / record.v_at - 1))
    v_gain = record.v_gain * (1 + record.v_slope * away)
    leak = complex(own.leak_p, own.leak_q) * sums.v_rms**2
    turn = complex(math.cos(phase), math.sin(phase))
    power = (complex(row.p, row.q) - leak) * turn * own.sign * gain * v_gain
    volts = sums.v_rms * v_gain
    return Applied(volts, max(codes * gain, abs(power.real) / volts), power.real, power.imag)


def _curve(points: Sequence[Point], codes: float) -> tuple[float, float]:
    """Return gain and phase at a current in codes, linear in the logarithm of the current."""
    at = [(point.i / point.gain, point) for point in points]
    if codes <= at[0][0]:
        return at[0][1].gain, at[0][1].phase
    for (low, lower), (high, upper) in pairwise(at):
        if codes <= high:
            share = math.log(codes / low) / math.log(high / low)
            gain = lower.gain + share * (upper.gain - lower.gain)
            return gain, lower.phase + share * (upper.phase - lower.phase)
    return at[-1][1].gain, at[-1][1].phase


def residual(record: CalibrationRecord, channel: str, sums: RawSums, true_w: float) -> float:
    """Return by how much, relatively, a record reads a load's power off."""
    return applied(record, channel, sums).p / true_w - 1
