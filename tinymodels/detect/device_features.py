"""Features that a meter makes of its windows: `firmware_esp32/traits.py`, in float64."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.features import LEAST_VA, REACTIVE_SCALE_VAR, compress

Floats = NDArray[np.float64]

NAMES = ("voltage", "frequency", "power", "reactive", "power_factor", "base", "step")
FAST_MS = 120_000
SLOW_MS = 1_800_000
RISE_MS = 14_400_000
SLOW_ENOUGH_MS = 1_800_000
BASE_ENOUGH_MS = 7_200_000
LONGEST_MS = 60_000
DARK_V = 50.0
MOST = 1e6  # W, var, VA


class Row(NamedTuple):
    """One window or short mean of a channel; V and Hz NaN where not measured."""

    dt_ms: int
    v: float
    f: float
    i: float
    p: float
    q: float


class Averages:
    """Exponential averages of one channel, as the meter keeps them."""

    def __init__(self) -> None:
        self.age_ms = 0
        self.power_w = self.slow_w = self.base_w = self.q_var = self.apparent_va = 0.0
        self.v = self.hz = 0.0

    def add(self, row: Row) -> list[float] | None:
        """Return the features after a row; None where the meter learns nothing (an outage)."""
        measured = not math.isnan(row.v)
        va = row.v * row.i if measured else 0.0
        plausible = abs(row.p) < MOST and abs(row.q) < MOST and abs(va) < MOST
        if row.dt_ms <= 0 or (measured and row.v < DARK_V) or not plausible:
            return None
        dt_ms = min(row.dt_ms, LONGEST_MS)
        self.age_ms += dt_ms
        fresh = dt_ms / self.age_ms
        fast = max(-math.expm1(-dt_ms / FAST_MS), fresh)
        slow = max(-math.expm1(-dt_ms / SLOW_MS), fresh)
        self.power_w += fast * (row.p - self.power_w)
        self.slow_w += slow * (row.p - self.slow_w)
        self.q_var += fast * (row.q - self.q_var)
        self.apparent_va += fast * (va - self.apparent_va)
        if self.power_w < self.base_w or fresh >= 1:
            self.base_w = self.power_w
        else:
            self.base_w += -math.expm1(-dt_ms / RISE_MS) * (self.power_w - self.base_w)
        self.v = _mean(self.v, row.v, fast) if measured else self.v
        known_hz = row.f > 0
        self.hz = _mean(self.hz, row.f, fast) if known_hz else self.hz
        return self._features(measured=measured, known_hz=known_hz)

    def _features(self, *, measured: bool, known_hz: bool) -> list[float]:
        power = compress(self.power_w)
        factor = math.nan
        if measured and self.apparent_va >= LEAST_VA:
            factor = min(abs(self.power_w) / self.apparent_va, 1.0)
        return [
            self.v if measured else math.nan,
            self.hz if known_hz else math.nan,
            power,
            math.asinh(self.q_var / REACTIVE_SCALE_VAR),
            factor,
            compress(self.base_w) if self.age_ms >= BASE_ENOUGH_MS else math.nan,
            power - compress(self.slow_w) if self.age_ms >= SLOW_ENOUGH_MS else math.nan,
        ]


def _mean(old: float, value: float, share: float) -> float:
    return old + share * (value - old) if old else value


def featurise(rows: Iterable[Row]) -> Floats:
    """Return the features after each row in time order (NAMES; NaN = unknown, all in the dark).

    Rows of up to a minute give the meter's features closely; longer ones count as a minute.
    """
    averages = Averages()
    unknown = [math.nan] * len(NAMES)
    values = [averages.add(row) or unknown for row in rows]
    return np.asarray(values, dtype=np.float64).reshape(len(values), len(NAMES))
