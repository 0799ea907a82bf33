"""The supply: voltage and frequency that wander, distortion, source impedance."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from simulation import noise
from simulation.noise import Floats, Ints
from simulation.shapes import HIGHEST_ORDER, Phasors

_DRIFT, _SWAY, _FLICKER, _SLOW_HZ, _FAST_HZ = range(5)
_STREAM = 1000


def _distortion() -> Mapping[int, tuple[float, float]]:
    """Return typical residential harmonics (chosen), far under EN 50160's limits.

    EN 50160 allows 5 % third, 6 % fifth, 5 % seventh, 3.5 % eleventh.
    """
    return {
        3: (0.008, 20.0),
        5: (0.016, 185.0),
        7: (0.009, 10.0),
        9: (0.003, 170.0),
        11: (0.004, 200.0),
        13: (0.003, 30.0),
    }


@dataclass(frozen=True, slots=True)
class Mains:
    """What the street gives; every value is typical and chosen unless said.

    `sag_v_per_kw`: the voltage lost per kilowatt drawn, 1 to 4 measured in homes.
    `daily_v`: midday is that much above and the evening peak below the mean.
    """

    nominal_v: float = 230.0
    nominal_hz: float = 50.0
    mean_v: float = 233.0
    sag_v_per_kw: float = 1.6
    daily_v: float = 1.8
    drift_v: float = 0.9
    flicker_v: float = 0.12
    harmonics: Mapping[int, tuple[float, float]] = field(default_factory=_distortion)

    def phasors(self) -> Phasors:
        """Return the voltage's phasors relative to its fundamental."""
        out = np.zeros(HIGHEST_ORDER, dtype=np.complex128)
        out[0] = 1.0
        for order, (ratio, degrees) in self.harmonics.items():
            out[order - 1] = ratio * np.exp(1j * np.deg2rad(degrees))
        return out


def source_v(seed: int, mains: Mains, at_ms: Ints, local_h: Floats) -> Floats:
    """Return the RMS voltage before the home's own load pulls it down."""
    key = _STREAM + seed
    daily = np.cos((local_h - 12.5) * (2 * np.pi / 24))
    daily = daily - 0.8 * np.exp(-(((local_h - 19.5) / 1.8) ** 2))
    drift = noise.smooth((key, _DRIFT), at_ms, 900_000)
    sway = noise.smooth((key, _SWAY), at_ms, 45_000)
    flicker = noise.normal_at((key, _FLICKER), at_ms)
    out = mains.mean_v + mains.daily_v * daily + mains.drift_v * drift
    return np.asarray(out + 0.3 * mains.drift_v * sway + mains.flicker_v * flicker)


def frequency_hz(seed: int, mains: Mains, at_ms: Ints) -> Floats:
    """Return the frequency; 20 mHz of wandering is usual on a large grid."""
    key = _STREAM + seed
    slow = noise.smooth((key, _SLOW_HZ), at_ms, 240_000)
    fast = noise.smooth((key, _FAST_HZ), at_ms, 12_000)
    deviation = np.clip(0.018 * slow + 0.007 * fast, -0.15, 0.15)
    return np.asarray(mains.nominal_hz * (1 + deviation / 50))
