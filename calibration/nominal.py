"""What parts without errors would show: live figures, what is nonsense, an uncalibrated meter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.record import CalibrationRecord, ChannelRecord, Point
from calibration.sums import ChannelSums, RawSums

# As the firmware's tables.py: ZMPT101B trimmed to 0.75 V at 230 V, SCT-013-030 with 1 V at
# 30 A, 4096 converter steps of a 3.1 V scale.
STEP_V = 3.1 / 4096
V_PER_CODE = 230.0 / 0.75 * STEP_V
A_PER_CODE = 30.0 * STEP_V
FRAMES_PER_WINDOW = 3000  # about, of whole cycles
_NOISE = 11.0  # codes²: 2.5 mV
_LEVEL_V = 230.0  # of the voltage's gain, which has no slope here
# The clamp's measured curve: current A, lead in degrees, ratio; less the adapter's lead.
_CURVE = (
    (0.02, 3.42, -0.0176),
    (0.1, 3.0, -0.012),
    (1.0, 2.2, -0.006),
    (10.0, 1.4, -0.002),
    (25.0, 1.2, 0.0),
)
_ADAPTER_LEAD_DEG = 2.0
_WHITE_WINDOWS = 10  # beyond it a little crosstalk shows, and averages out no more


@dataclass(frozen=True, slots=True)
class Live:
    """A channel in round figures: V, A, W, and by how many degrees its current lags."""

    v: float
    i: float
    p: float
    lag_deg: float
    clipped: int


def live(sums: RawSums, channel: str, noise: float = 0.0) -> Live:
    """Return a channel's figures by nominal parts; `noise` in codes² is taken off."""
    row = sums.channels[channel]
    amps = math.sqrt(max(row.rms**2 - noise, 0.0)) * A_PER_CODE
    return Live(
        v=sums.v_rms * V_PER_CODE,
        i=amps,
        p=row.p * V_PER_CODE * A_PER_CODE,
        lag_deg=math.degrees(math.atan2(row.q, row.p)),
        clipped=row.clipped,
    )


def chance(idle: ChannelSums, sums: RawSums) -> float:
    """Return one standard deviation, codes², that noise alone gives p and q of such sums."""
    windows = min(max(sums.windows, 1), _WHITE_WINDOWS)
    return idle.rms * sums.v_rms / math.sqrt(windows * FRAMES_PER_WINDOW)


def nominal_channel(name: str) -> ChannelRecord:
    """Return the constants that a meter without a record has for a clamp."""
    points = [
        Point(i, A_PER_CODE / (1 + ratio), math.radians(lead - _ADAPTER_LEAD_DEG))
        for i, lead, ratio in _CURVE
    ]
    return ChannelRecord(name, _NOISE, points)


def nominal_record(names: Sequence[str], version: int, made: str = "") -> CalibrationRecord:
    """Return the record with which a meter reads as one without any."""
    return CalibrationRecord(
        version=version,
        v_gain=V_PER_CODE,
        v_slope=0.0,
        v_at=_LEVEL_V / V_PER_CODE,
        channels=[nominal_channel(name) for name in names],
        made=made,
    )
