"""The limit on a score that keeps false alarms within their budget."""

import math

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.features import DAY_MS, HOUR_MS, QUARTER_MS, Floats

# m of n quarters above the limit make an anomaly.
PERSIST_M, PERSIST_N = 3, 4
DAYS_PER_MONTH = 30.44
# Next month differs from the last two: only half of the budget is spent on the past
# (DETECTION: monthly refits gave up to twice the fitted rate).
SPEND = 0.5
# Exceedances closer than this are one event.
MERGE_MS = 6 * HOUR_MS
# d² of a Gaussian exceeds this once in a thousand quarters; no limit is set below.
LEAST_TAIL_Z = 3.09
ONE_EVENT_MARGIN = 1.2


def choose_limit(
    starts_ms: NDArray[np.int64], d2: Floats, alarms_per_month: float, dimension: int
) -> float:
    """Return the limit on d² whose events, m of n above it, stay within the budget."""
    months = (starts_ms[-1] + QUARTER_MS - starts_ms[0]) / DAY_MS / DAYS_PER_MONTH
    allowed = int(SPEND * alarms_per_month * months)
    windows = np.lib.stride_tricks.sliding_window_view(d2, PERSIST_N)
    lasting = np.sort(windows, axis=1)[:, PERSIST_N - PERSIST_M]
    times = starts_ms[PERSIST_N - 1 :]
    levels = np.sort(lasting)[::-1]
    limit = ONE_EVENT_MARGIN * float(levels[0])
    for level in levels:
        if _events(times[lasting > level]) > allowed:
            break
        limit = min(limit, float(level)) if allowed else limit
    return max(limit, _chi2_quantile(dimension))


def _events(times_ms: NDArray[np.int64]) -> int:
    """Count exceedances, near ones as one."""
    if not times_ms.size:
        return 0
    return 1 + int((np.diff(times_ms) > MERGE_MS).sum())


def _chi2_quantile(dimension: int) -> float:
    """Return the 99.9 % quantile of chi-square (Wilson and Hilferty's approximation, 1931)."""
    part = 2 / (9 * dimension)
    return float(dimension * (1 - part + LEAST_TAIL_Z * math.sqrt(part)) ** 3)
