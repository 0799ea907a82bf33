"""A calibration in force: what codes mean in volts, amperes and radians."""

from array import array
from math import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_V_AWAY = 0.25
# Places in a point as it is kept: where it lies, what holds there.
_X = 0
_GAIN = 1
_PHASE = 2
_WIDE = 3


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
        # Point by point: where it lies on the axis that is measured (the logarithm of codes), gain,
        # phase. In one piece: as floats of their own they took 1 kB of a board's heap a clamp.
        self._curve = array("f")
        for i, gain, phase in points:
            self._curve.extend(array("f", (log(i / gain), gain, phase)))

    def at(self, rms_codes: float) -> "tuple[float, float]":
        """Return gain (A per code) and phase (rad) at a current.

        Linear in the logarithm of the current between points, constant beyond the ends.
        """
        curve = self._curve
        last = len(curve) - _WIDE
        x = log(rms_codes) if rms_codes > 0 else curve[_X]
        if x <= curve[_X]:
            return curve[_GAIN], curve[_PHASE]
        for high in range(_WIDE, last + 1, _WIDE):
            if x < curve[high + _X]:
                low = high - _WIDE
                share = (x - curve[low + _X]) / (curve[high + _X] - curve[low + _X])
                gain = curve[low + _GAIN] + share * (curve[high + _GAIN] - curve[low + _GAIN])
                lead = curve[low + _PHASE] + share * (curve[high + _PHASE] - curve[low + _PHASE])
                return gain, lead
        return curve[last + _GAIN], curve[last + _PHASE]

    def copy(self) -> "Channel":
        """Return the same in memory of its own."""
        # A sum is a float of its own.
        leaks = self.leak_p + 0.0, self.leak_q + 0.0
        made = Channel(self.name, self.sign, self.noise + 0.0, *leaks, ())
        made._curve.extend(self._curve)
        return made


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

    def copy(self) -> "Calibration":
        """Return the same in memory of its own, for the same reason as `gauss.Model.copy`."""
        made = [one.copy() for one in self.channels]
        return Calibration(self.version, self.v_gain, made, self.v_slope, self.v_at)

    def volts_per_code(self, rms_codes: float) -> float:
        """Return the voltage's gain at a level; the bend is not followed beyond a quarter."""
        away = max(-_V_AWAY, min(_V_AWAY, rms_codes / self.v_at - 1))
        return self.v_gain * (1 + self.v_slope * away)
