"""Features of a channel's quarter hours, the same live and for fitting."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUARTER_MS = 900_000
DAY_MS = 96 * QUARTER_MS
HOUR_MS = 4 * QUARTER_MS

# Powers are compressed so that a kettle and a phone charger weigh alike: about linear below
# 50 W, logarithmic above, and defined for export too.
POWER_SCALE_W = 50.0
REACTIVE_SCALE_VAR = 100.0
# Below this apparent power a power factor is mostly noise.
LEAST_VA = 20.0
BASE_QUARTERS = 8  # base load: the least quarter of two hours
BASE_ENOUGH = 6
DAY_QUARTERS = 96
DAY_ENOUGH = 48  # a day's exponential mean means something after half a day
HOLE_QUARTERS = 24  # after six hours of nothing it starts anew

NAMES = ("power", "base", "day", "voltage", "reactive", "power_factor")


class Quarter(NamedTuple):
    """One 15-minute rollup of a channel; NaN where nothing was measured. `start_ms` is UTC."""

    start_ms: int
    p_mean_w: float
    p_min_w: float
    p_max_w: float
    v_mean_v: float
    q_mean_var: float
    i_mean_a: float


class Track(Struct, array_like=True):
    """What the features need of earlier quarters."""

    last_ms: int = 0
    recent: list[tuple[int, float]] = field(default_factory=list)
    day_w: float = 0.0
    day_count: int = 0

    def add(self, row: Quarter) -> list[float]:
        """Return the features of a quarter (in the order of NAMES, NaN = unknown)."""
        power_w = row.p_mean_w
        if row.start_ms - self.last_ms > HOLE_QUARTERS * QUARTER_MS:
            self.recent, self.day_w, self.day_count = [], 0.0, 0
        self.last_ms = row.start_ms
        if not math.isnan(power_w):
            self.recent.append((row.start_ms, power_w))
            self.day_count += 1
            # A plain mean first, exponential with a day's memory from then on.
            self.day_w += (power_w - self.day_w) / min(self.day_count, DAY_QUARTERS)
        oldest_ms = row.start_ms - (BASE_QUARTERS - 1) * QUARTER_MS
        self.recent = [item for item in self.recent if item[0] >= oldest_ms]
        base = [power for _, power in self.recent]
        return [
            compress(power_w),
            compress(min(base)) if len(base) >= BASE_ENOUGH else math.nan,
            compress(self.day_w) if self.day_count >= DAY_ENOUGH else math.nan,
            row.v_mean_v,
            math.asinh(row.q_mean_var / REACTIVE_SCALE_VAR),
            _factor(row),
        ]


def compress(power_w: float) -> float:
    """Return a power in W on the models' compressed scale."""
    return math.asinh(power_w / POWER_SCALE_W)


def natural(name: str, value: float) -> tuple[float, str]:
    """Return a feature's value in its natural unit, and that unit."""
    if name in ("power", "base", "day"):
        return math.sinh(value) * POWER_SCALE_W, "W"
    if name == "reactive":
        return math.sinh(value) * REACTIVE_SCALE_VAR, "var"
    return value, "V" if name == "voltage" else ""


def _factor(row: Quarter) -> float:
    """Return |P|/(V·I), at most 1, or NaN where it would be noise."""
    apparent_va = row.v_mean_v * row.i_mean_a
    if math.isnan(apparent_va) or apparent_va < LEAST_VA:
        return math.nan
    return min(abs(row.p_mean_w) / apparent_va, 1.0)


def featurise(rows: Iterable[Quarter]) -> tuple[list[int], Floats]:
    """Return the start times and the features of rows in time order."""
    track = Track()
    starts: list[int] = []
    values: list[list[float]] = []
    for row in rows:
        starts.append(row.start_ms)
        values.append(track.add(row))
    return starts, np.asarray(values, dtype=np.float64).reshape(len(starts), len(NAMES))


def clock_basis(starts_ms: Iterable[int], zone: ZoneInfo) -> Floats:
    """Return what the time of each quarter says: constant, weekend, 3 harmonics of local day."""
    rows = []
    for start_ms in starts_ms:
        local = datetime.fromtimestamp((start_ms + QUARTER_MS // 2) / 1000, zone)
        angle = 2 * math.pi * (local.hour * 60 + local.minute) / (24 * 60)
        row = [1.0, float(local.isoweekday() > 5)]  # noqa: PLR2004 - Saturday and Sunday
        for harmonic in (1, 2, 3):
            row += [math.cos(harmonic * angle), math.sin(harmonic * angle)]
        rows.append(row)
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), 8)
