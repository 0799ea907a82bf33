"""A calibration in force: what codes mean in volts, amperes and radians."""

from math import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_V_AWAY = 0.25


class Channel:
    """One clamp's constants; `points` are (A, A per code, rad), current rising.

    `phase` is by how much the clamp's output leads the adapter's for a resistive load.
    `leak_p`, `leak_q` are the products that the voltage alone brings about, per codes² of
    voltage: what leaks from one converter input into the next.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one argument per key of the record
        self,
        name: str,
        sign: int,
        noise: float,
        leak_p: float,
        leak_q: float,
        points: "Sequence[tuple[float, float, float]]",
    ) -> None:
        self.name = name
        self.sign = sign
        self.noise = noise
        self.leak_p = leak_p
        self.leak_q = leak_q
        self.points = list(points)
        # Where the points lie on the axis that is measured: the logarithm of codes.
        self._x = [log(i / gain) for i, gain, _ in self.points]

    def at(self, rms_codes: float) -> "tuple[float, float]":
        """Return gain (A per code) and phase (rad) at a current.

        Linear in the logarithm of the current between points, constant beyond the ends.
        """
        points, axis = self.points, self._x
        x = log(rms_codes) if rms_codes > 0 else axis[0]
        if x <= axis[0]:
            return points[0][1], points[0][2]
        for n in range(1, len(points)):
            if x < axis[n]:
                share = (x - axis[n - 1]) / (axis[n] - axis[n - 1])
                low, high = points[n - 1], points[n]
                return low[1] + share * (high[1] - low[1]), low[2] + share * (high[2] - low[2])
        return points[-1][1], points[-1][2]


class Calibration:
    """A whole record; version 0 are nominal parts, not this board's.

    `v_gain` (V per code) holds at `v_at` codes RMS; the converter's bend changes it by
    `v_slope` times the relative distance from there.
    """

    def __init__(
        self,
        version: int,
        v_gain: float,
        channels: "Sequence[Channel]",
        v_slope: float = 0.0,
        v_at: float = 1000.0,
    ) -> None:
        self.version = version
        self.v_gain = v_gain
        self.v_slope = v_slope
        self.v_at = v_at
        self.channels = list(channels)

    def volts_per_code(self, rms_codes: float) -> float:
        """Return the voltage's gain at a level; the bend is not followed beyond a quarter."""
        away = max(-_V_AWAY, min(_V_AWAY, rms_codes / self.v_at - 1))
        return self.v_gain * (1 + self.v_slope * away)
