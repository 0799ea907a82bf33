"""Features that a meter makes of its windows: `firmware_esp32/traits.py`, in float64."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.signals import (
    LEAST_VA,
    POWER_SCALE_W,
    REACTIVE_SCALE_VAR,
    compress,
)

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
    return featurise_table(np.array(list(rows), dtype=np.float64).reshape(-1, len(Row._fields)))


def featurise_table(table: Floats) -> Floats:
    """Return what `Averages` gives for one row after the other; columns are those of Row."""
    out = np.full((len(table), len(NAMES)), math.nan)
    dt_ms, v, _, i, p, q = table.T
    va = np.where(np.isnan(v), 0.0, v * i)
    plausible = (np.abs(p) < MOST) & (np.abs(q) < MOST) & (np.abs(va) < MOST)
    used = (dt_ms > 0) & ~(v < DARK_V) & plausible
    if used.any():
        out[used] = _averaged(table[used], va[used])
    return out


def _averaged(table: Floats, va: Floats) -> Floats:
    """Return the features after rows of which the meter learns something."""
    dt_ms = np.minimum(table[:, 0], LONGEST_MS)
    v, hz, p, q = table[:, 1], table[:, 2], table[:, 4], table[:, 5]
    age_ms = np.cumsum(dt_ms)
    fast, slow = (
        np.maximum(_gain(dt_ms, ms), dt_ms / age_ms).tolist() for ms in (FAST_MS, SLOW_MS)
    )
    power_w, slow_w = _followed(p, fast), _followed(p, slow)
    apparent_va = _followed(va, fast)
    base_w = _base(power_w, _gain(dt_ms, RISE_MS))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = np.minimum(np.abs(power_w) / apparent_va, 1.0)
    told = ~np.isnan(v) & (apparent_va >= LEAST_VA)
    power, base = _asinh(power_w / POWER_SCALE_W), _asinh(base_w / POWER_SCALE_W)
    return np.column_stack((
        np.where(np.isnan(v), math.nan, _known_mean(v, ~np.isnan(v), fast)),
        np.where(hz > 0, _known_mean(hz, hz > 0, fast), math.nan),
        power,
        _asinh(_followed(q, fast) / REACTIVE_SCALE_VAR),
        np.where(told, factor, math.nan),
        np.where(age_ms >= BASE_ENOUGH_MS, base, math.nan),
        np.where(age_ms >= SLOW_ENOUGH_MS, power - _asinh(slow_w / POWER_SCALE_W), math.nan),
    ))  # fmt: skip


def _gain(dt_ms: Floats, length_ms: int) -> Floats:
    spans, which = np.unique(dt_ms, return_inverse=True)
    gains = np.array([-math.expm1(-span / length_ms) for span in spans.tolist()])
    result: Floats = gains[which]
    return result


def _followed(values: Floats, gains: list[float]) -> Floats:
    """Return an exponential average after each value, from 0."""
    out, now = [], 0.0
    for value, gain in zip(values.tolist(), gains, strict=True):
        now += gain * (value - now)
        out.append(now)
    return np.array(out)


def _base(power_w: Floats, rise: Floats) -> Floats:
    """Return what falls with the power at once and rises slowly, after each value."""
    values = power_w.tolist()
    out, now = [], values[0]
    for power, gain in zip(values, rise.tolist(), strict=True):
        now = power if power < now else now + gain * (power - now)
        out.append(now)
    return np.array(out)


def _known_mean(values: Floats, known: NDArray[np.bool_], gains: list[float]) -> Floats:
    """Return the average of the known values after each value; 0 before the first."""
    out, now = [], 0.0
    for value, knows, gain in zip(values.tolist(), known.tolist(), gains, strict=True):
        if knows:
            now = _mean(now, value, gain)
        out.append(now)
    return np.array(out)


def _asinh(values: Floats) -> Floats:
    return np.array(list(map(math.asinh, values.tolist())))
