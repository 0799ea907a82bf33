"""The Gaussian that a meter judges by: `firmware_esp32/gauss.py` in float64, and its fit."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.contract import FitRefusedError
from tinymodels.detect.device_features import NAMES, Floats
from tinymodels.detect.events import MERGE_MS
from tinymodels.detect.limits import DAYS_PER_MONTH, ONE_EVENT_MARGIN, SPEND
from tinymodels.detect.minutes import DAY_MS

Ints = NDArray[np.int64]

QUARTER_MS = 900_000
FORMAT = 1
MOST_FEATURES = 6
MOST_CLASSES = 8
LEAST_DAYS = 7
LEAST_PER_CLASS = 240  # rows; a rarer class is judged by the whole day's numbers
# d² at ε: what a meter accepts; it judges every second, so the least lies further out than
# the gateway's.
LEAST_LIMIT, MOST_LIMIT = 25.0, 10_000.0
# Windows of a second peak higher than the minutes of a fit, and next month differs from this.
MARGIN = 1.25
WINSOR = 4.0  # single wild rows must not widen what is called normal
TAIL_PART = 0.999
CORRELATION_SHRINK = 0.1
FOLDS = 7
# Least mean, greatest mean, least spread, greatest spread: what the firmware accepts.
RANGES = {
    "voltage": (80.0, 500.0, 0.3, 60.0),
    "frequency": (40.0, 70.0, 0.02, 5.0),
    "power": (-9.0, 9.0, 0.05, 8.0),
    "reactive": (-9.0, 9.0, 0.05, 8.0),
    "power_factor": (0.0, 1.0, 0.01, 2.0),
    "base": (-9.0, 9.0, 0.05, 8.0),
    "step": (-9.0, 9.0, 0.05, 8.0),
}
USUAL = ("voltage", "power", "reactive", "power_factor", "base", "step")


class DeviceGaussian(NamedTuple):
    """One channel's distribution: (class, feature) means and spreads, one correlation's factor.

    Class 0 is any time of day. P(x) < ε is compared as logarithms, ε per class.
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    factor: Floats
    log_eps: Floats

    def d2(self, x: Floats, classes: Ints) -> Floats:
        """Return squared Mahalanobis distances of rows of all features (NaN = unknown).

        An unknown feature is taken as those before it let expect it, so it adds nothing.
        """
        columns = [NAMES.index(name) for name in self.names]
        standard = (x[:, columns] - self.mean[classes]) / self.scale[classes]
        solved = np.zeros_like(standard)
        for row in range(len(self.names)):
            rest = standard[:, row] - solved[:, :row] @ self.factor[row, :row]
            solved[:, row] = np.nan_to_num(rest / self.factor[row, row], nan=0.0)
        result: Floats = (solved**2).sum(axis=1)
        return result

    def log_p(self, d2: Floats, classes: Ints) -> Floats:
        """Return the logarithm of the density at these distances."""
        return self.peak()[classes] - d2 / 2

    def peak(self) -> Floats:
        """Return the logarithm of each class's greatest density."""
        volume = np.log(self.scale).sum(axis=1) + np.log(np.diag(self.factor)).sum()
        result: Floats = -volume - 0.5 * len(self.names) * math.log(2 * math.pi)
        return result


class Wanted(NamedTuple):
    """What a fit needs to know besides the data.

    `alarms_per_month` is the channel's share of the house's budget; `names` at most six
    features, those most often known first (leave voltage out of all channels but one). Of
    these, features that are mostly unknown or never change are left out. `hours` gives the
    class of each of 24 local hours (48: weekdays, then weekends).
    """

    alarms_per_month: float
    names: Sequence[str] = USUAL
    hours: Sequence[int] = (0,) * 24


def hour_classes() -> tuple[int, ...]:
    """Return the usual classes: night, morning, day, evening of weekdays; day of weekends."""
    week = [1] * 6 + [2] * 4 + [3] * 7 + [4] * 6 + [1]
    rest = [1] * 7 + [5] * 16 + [1]
    return tuple(week + rest)


def classify(at_ms: Ints, hours: Sequence[int], utc_offset_min: int) -> Ints:
    """Return each instant's class as the meter does: no time-zone rules, one offset."""
    hour = (at_ms // 60_000 + utc_offset_min) // 60
    weekend = (hour // 24 + 3) % 7 > 4  # noqa: PLR2004 - 1970-01-01 was a Thursday
    late = 24 * (weekend & (len(hours) > 24))  # noqa: PLR2004
    result: Ints = np.asarray(hours, dtype=np.int64)[hour % 24 + late]
    return result


def fit(at_ms: Ints, x: Floats, wanted: Wanted, utc_offset_min: int) -> DeviceGaussian:
    """Fit usual rows (all of NAMES, NaN = unknown) by maximum likelihood; ε from the budget.

    ε is chosen on days that the fit has not seen. FitRefusedError with fewer than 7 days, no
    usable feature, or more than a meter takes.
    """
    _check(at_ms, wanted)
    wanted = wanted._replace(names=_usable(x, wanted.names))
    classes = classify(at_ms, wanted.hours, utc_offset_min)
    whole = _moments(x, classes, wanted)
    held_out = np.zeros(len(at_ms))
    folds = (at_ms // DAY_MS) % FOLDS
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and not out.all():
            part = _moments(x[~out], classes[~out], wanted)
            held_out[out] = part.d2(x[out], classes[out])
    limit = min(_limit(at_ms, held_out, wanted.alarms_per_month), MOST_LIMIT * 0.99)
    return whole._replace(log_eps=whole.peak() - limit / 2)


def _check(at_ms: Ints, wanted: Wanted) -> None:
    """Raise FitRefusedError for what no model can be made of."""
    names = tuple(wanted.names)
    if not 0 < len(names) <= MOST_FEATURES or len(set(names)) < len(names):
        msg = f"a meter takes 1 to {MOST_FEATURES} different features, not {names}"
        raise FitRefusedError(msg)
    if len(wanted.hours) not in {24, 48} or not 0 <= max(wanted.hours) < MOST_CLASSES:
        msg = f"hours: 24 or 48 classes below {MOST_CLASSES}"
        raise FitRefusedError(msg)
    if len(at_ms) < 2 or at_ms[-1] - at_ms[0] < LEAST_DAYS * DAY_MS * 0.99:  # noqa: PLR2004
        msg = f"a fit takes at least {LEAST_DAYS} days of usual readings"
        raise FitRefusedError(msg)


def _usable(x: Floats, names: Sequence[str]) -> list[str]:
    """Return the features that are mostly known and vary."""
    kept = []
    for name in names:
        column = x[:, NAMES.index(name)]
        known = column[np.isfinite(column)]
        if known.size >= len(column) / 2 and known.std() > RANGES[name][2] / 10:
            kept.append(name)
    if not kept:
        msg = "nothing that was measured changes: there is nothing to learn"
        raise FitRefusedError(msg)
    return kept


def _moments(x: Floats, classes: Ints, wanted: Wanted) -> DeviceGaussian:
    """Return means and spreads per class and the correlation of what is left."""
    columns = [NAMES.index(name) for name in wanted.names]
    groups = max(wanted.hours) + 1
    mean = np.zeros((groups, len(columns)))
    scale = np.zeros_like(mean)
    z = np.full((len(x), len(columns)), np.nan)
    for number, column in enumerate(columns):
        values, law = x[:, column], RANGES[NAMES[column]]
        for group in range(groups):
            mine = classes == group if group else np.ones(len(x), dtype=np.bool_)
            mine = mine & np.isfinite(values)
            if group and mine.sum() < LEAST_PER_CLASS:
                mean[group, number], scale[group, number] = mean[0, number], scale[0, number]
                continue
            mean[group, number], scale[group, number] = _spread(values[mine], law)
        z[:, number] = (values - mean[classes, number]) / scale[classes, number]
    return DeviceGaussian(tuple(wanted.names), mean, scale, _correlate(z), np.zeros(groups))


def _spread(values: Floats, law: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return mean and standard deviation, wild values drawn in, within the accepted ranges."""
    low, high, narrow, wide = law
    middle, width = float(values.mean()), max(float(values.std()), narrow)
    drawn = np.clip(values, middle - WINSOR * width, middle + WINSOR * width)
    mean = min(max(float(drawn.mean()), low), high)
    # Maximum likelihood, but no narrower than its tail: else the feature with the longest one
    # sets ε for all, and a swell of the voltage hides below a cooker's rare evenings.
    tail = float(np.quantile(np.abs(values - mean), TAIL_PART)) / WINSOR
    return mean, min(max(float(drawn.std()), tail, narrow), wide)


def _correlate(z: Floats) -> Floats:
    """Return the Cholesky factor of the shrunk correlation of standardised rows."""
    known = np.isfinite(z)
    filled = np.clip(np.nan_to_num(z), -WINSOR, WINSOR)
    count = np.maximum(known.T.astype(np.float64) @ known, 1.0)
    covariance = filled.T @ filled / count
    sigma = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
    correlation = covariance / np.outer(sigma, sigma)
    eye = np.eye(len(sigma))
    shrunk = (1 - CORRELATION_SHRINK) * correlation + CORRELATION_SHRINK * eye
    # Pairs may be known in different rows: take the nearest positive definite matrix.
    values, vectors = np.linalg.eigh(shrunk)
    near = (vectors * np.maximum(values, CORRELATION_SHRINK / 2)) @ vectors.T
    unit = np.sqrt(np.diag(near))
    result: Floats = np.linalg.cholesky(near / np.outer(unit, unit))
    return result


def _limit(at_ms: Ints, d2: Floats, alarms_per_month: float) -> float:
    """Return the d² whose exceedances, near ones as one, stay within half of the budget.

    The meter tells what lasts half a minute; a single row is taken to do so, which errs
    towards fewer alarms.
    """
    quarters, place = np.unique(at_ms // QUARTER_MS, return_inverse=True)
    worst = np.zeros(len(quarters))
    np.maximum.at(worst, place, d2)
    allowed = int(SPEND * alarms_per_month * (at_ms[-1] - at_ms[0]) / DAY_MS / DAYS_PER_MONTH)
    levels = np.sort(worst)[::-1]
    limit = ONE_EVENT_MARGIN * float(levels[0])
    for level in levels:
        above = quarters[worst > level] * QUARTER_MS
        if above.size and 1 + int((np.diff(above) > MERGE_MS).sum()) > allowed:
            break
        limit = min(limit, float(level)) if allowed else limit
    return max(MARGIN * limit, LEAST_LIMIT)
