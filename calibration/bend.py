"""The converter's bend, from what a resistive load's current tells of the voltage's shape.

A resistance draws a current of the voltage's own shape, whatever that is. Small in the same
converter it keeps to a short piece of its scale, while the voltage takes all of it: where i
over v differs between small and large voltages the converter is bent, and by so much the
voltage's gain changes with its level. The mains need not move for it, and no instrument is
asked. It takes the clamp to be straight within a cycle.

Only odd powers count: even ones move the bias, and fold out in sums with the voltage's sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from calibration.sums import RawSums

# One standard deviation of the slope of gain over level: among converters with an integral
# non-linearity of 8 mV; and of what the shape leaves of it, since beyond the crests that were
# seen the bend goes on as it likes (`python -m bench.calibration`, other levels).
BEND, SHAPE_LEFT = 0.006, 0.0015
# The curve is c3 (v/SCALE)³ + c5 (v/SCALE)⁵ codes; both are within the 8 mV beforehand.
_SCALE, _BEFORE = 1600.0, 10.0
_POWERS = (3, 5)
# Of a sine of amplitude A, <x x^n> / <x²> is _MEAN[n] A^(n-1): by so much x^n adds to its RMS.
_MEAN = {3: 3 / 4, 5: 5 / 8}
_LOW, _HIGH = 0.85, 1.045  # levels between which the slope is taken: not beyond the crests seen
_LEAST_COUNT = 100  # samples in a row
_LEAST_NOISE = 1.0  # codes
_LEAST_RMS = 100.0  # codes of current: 2.3 A; below, the bends within a few codes decide
_BELIEVABLE = 3.0  # of BEND: a load that shows more has electronics in it, or is no resistance


@dataclass(frozen=True, slots=True)
class Bend:
    """The relative change of the voltage's gain per relative change of level, and its doubt."""

    slope: float = 0.0
    doubt: float = BEND


@dataclass(frozen=True, slots=True)
class Shape:
    """One load: its channel and sums; `noise` is its clamp's, in codes RMS without load."""

    channel: str
    sums: RawSums
    noise: float


def bend_of(loads: Sequence[Shape]) -> Bend:
    """Return what resistive loads tell of the bend: nothing known but BEND without rows."""
    seen = [load for load in loads if load.sums.bend and _is_large(load)]
    if not seen:
        return Bend()
    level = sum(load.sums.v_rms for load in seen) / len(seen)
    # Per code of each power, by how much the gain's slope changes.
    slopes = [_slope_of(power, level * sqrt(2)) for power in _POWERS]
    matrix, right = _equations(seen)
    at = len(seen)
    try:
        found = np.linalg.solve(matrix, [0.0] * at + slopes).tolist()
    except np.linalg.LinAlgError:  # a load without one row that counts
        return Bend()
    # The slope is s·c, c = M⁻¹ r and M symmetric: so it is (M⁻¹ s)·r, its variance s·M⁻¹ s.
    slope = sum(a * b for a, b in zip(found, right, strict=True))
    variance = sum(a * b for a, b in zip(found[at:], slopes, strict=True))
    if abs(slope) > _BELIEVABLE * BEND:
        return Bend()
    return Bend(slope, min(sqrt(max(variance, 0.0) + SHAPE_LEFT**2), BEND))


def _is_large(load: Shape) -> bool:
    row = load.sums.channels.get(load.channel)
    return row is not None and row.rms >= _LEAST_RMS


def _slope_of(power: int, amplitude: float) -> float:
    """Return what one code of a power at _SCALE does to the slope of gain over level."""

    def gain(share: float) -> float:
        return -_MEAN[power] * (share * amplitude / _SCALE) ** (power - 1) / _SCALE

    return (gain(_HIGH) - gain(_LOW)) / (_HIGH - _LOW)


def _equations(loads: Sequence[Shape]) -> tuple[list[list[float]], list[float]]:
    """Return the normal equations of i - o(i) = k (v - o(v)): a k for each load, then o.

    o, the converter's curve, is the same for both, as they share it; its k o(v) is taken
    with the k of a straight one, which is near enough.
    """
    size = len(loads) + len(_POWERS)
    matrix = [[0.0] * size for _ in range(size)]
    right = [0.0] * size
    for n in range(len(loads), size):
        matrix[n][n] = 1 / _BEFORE**2
    for n, load in enumerate(loads):
        rows = [row for row in load.sums.bend if row.count >= _LEAST_COUNT]
        straight = sum(row.count * row.v * row.i[load.channel] for row in rows)
        straight /= sum(row.count * row.v**2 for row in rows) or 1.0
        for row in rows:
            i = row.i[load.channel]
            line = [0.0] * size
            line[n] = row.v
            for place, power in enumerate(_POWERS, len(loads)):
                line[place] = (i / _SCALE) ** power - straight * (row.v / _SCALE) ** power
            weight = row.count / max(load.noise, _LEAST_NOISE) ** 2
            for a in range(size):
                right[a] += weight * line[a] * i
                for b in range(size):
                    matrix[a][b] += weight * line[a] * line[b]
    return matrix, right
