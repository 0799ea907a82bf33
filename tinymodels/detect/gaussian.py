"""Gaussian P(x) of a channel's quarter hours, given the time of day."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from gateway.domain.errors import BadInputError
from tinymodels.detect.features import (
    DAY_MS,
    NAMES,
    QUARTER_MS,
    Floats,
    Quarter,
    clock_basis,
    featurise,
)
from tinymodels.detect.limit import choose_limit

VERSION = 1
LEAST_DAYS = 7
LEAST_PART = 0.7  # of the quarters of those days
FOLDS = 7  # days of the shortest fit
MEAN_SHRINK = 2.0  # ridge on the time-of-day terms, in quarters' worth of evidence
# Two days say little of what weekends are like: their term counts as one more ordinary day.
WEEKEND_SHRINK = 96.0
# A day's mean has one independent value a day: fewer than this give no spread of it.
LEAST_DAYS_OF_DAY = 21
SCALE_SHRINK = 50.0
SCALE_BOUND = math.log(4)  # the spread of an hour is within a factor 4 of the day's
CORRELATION_SHRINK = 0.1
WINSOR = 4.0  # single wild quarters must not widen what is called normal
# What a sensor resolves, in each feature's own units: no spread is called smaller.
FLOORS = {
    "power": 0.05,
    "base": 0.05,
    "day": 0.03,
    "voltage": 0.3,
    "reactive": 0.05,
    "power_factor": 0.01,
}
# A quarter is usual again below this part of the limit.
CLEAR_PART = 0.7


class FitRefusedError(BadInputError):
    """There is not enough, or not enough varied, history: wait for more data."""


class Options(NamedTuple):
    """What a fit needs to know besides the data.

    `alarms_per_month` is this channel's share of the house's budget. `voltage` False leaves
    voltage out: it is common to a meter's channels, so one channel should answer for it.
    """

    zone: ZoneInfo
    alarms_per_month: float
    voltage: bool = True


class Explanation(NamedTuple):
    """Which feature moved most; values on the model's scale (features.natural gives units)."""

    feature: str
    value: float
    expected: float
    sigmas: float


class GaussianModel(msgspec.Struct, frozen=True):
    """A fitted model: conditional mean and scale per feature, correlation, limit on d².

    P(x) < ε is the same as d² > `limit`: given the time of day, density falls with d² alone.
    """

    names: tuple[str, ...]
    mean: list[list[float]]  # per feature, coefficients over the clock basis
    scale: list[list[float]]  # per feature, coefficients of log spread
    precision: list[list[float]]  # inverse correlation
    limit: float
    zone: str
    from_ms: int
    to_ms: int
    quarters: int
    alarms_per_month: float
    version: int = VERSION

    def to_bytes(self) -> bytes:
        """Return the model as msgpack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, body: bytes) -> "GaussianModel":
        """Return the model, or raise BadInputError: refit it."""
        try:
            model = msgspec.msgpack.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"not a Gaussian model: {error}; it must be fitted anew"
            raise BadInputError(msg) from error
        if model.version != VERSION or not set(model.names) <= set(NAMES):
            msg = f"Gaussian model of version {model.version}, not {VERSION}: fit it anew"
            raise BadInputError(msg)
        return model

    def score(self, start_ms: int, features: Sequence[float]) -> float:
        """Return d² of one quarter; unknown features count as usual ones."""
        z = self._standard(start_ms, features)
        return float(z @ np.asarray(self.precision) @ z)

    def explain(self, start_ms: int, features: Sequence[float]) -> Explanation:
        """Return the feature that contributes most to d²."""
        z = self._standard(start_ms, features)
        most = int(np.argmax(z * (np.asarray(self.precision) @ z)))
        name = self.names[most]
        mean, spread = self._expected(start_ms)
        value = features[NAMES.index(name)]
        return Explanation(
            name, value, float(mean[most]), float((value - mean[most]) / spread[most])
        )

    @property
    def clear_limit(self) -> float:
        """Return the d² below which a quarter is usual again."""
        return CLEAR_PART * self.limit

    def _expected(self, start_ms: int) -> tuple[Floats, Floats]:
        basis = clock_basis([start_ms], ZoneInfo(self.zone))[0]
        return np.asarray(self.mean) @ basis, np.exp(np.asarray(self.scale) @ basis)

    def _standard(self, start_ms: int, features: Sequence[float]) -> Floats:
        mean, spread = self._expected(start_ms)
        values = np.asarray([features[NAMES.index(name)] for name in self.names])
        return np.nan_to_num((values - mean) / spread, nan=0.0, posinf=0.0, neginf=0.0)


class _Fitted(NamedTuple):
    mean: Floats
    scale: Floats
    precision: Floats

    def d2(self, basis: Floats, values: Floats) -> Floats:
        """Return d² of many quarters."""
        z = np.nan_to_num((values - basis @ self.mean) / np.exp(basis @ self.scale))
        result: Floats = np.einsum("ij,jk,ik->i", z, self.precision, z)
        return result


def fit(rows: Sequence[Quarter], options: Options) -> GaussianModel:
    """Fit by maximum likelihood with shrinkage; choose ε from the budget of false alarms.

    `rows` are the usual quarters of one channel in time order (alert periods left out).
    Raise FitRefusedError with fewer than 7 days, or where the channel shows no change.
    """
    starts, values = featurise(rows)
    _check_enough(starts)
    names = _usable(values, options, starts[-1] - starts[0])
    values = values[:, [NAMES.index(name) for name in names]]
    basis = clock_basis(starts, options.zone)
    floors = np.array([FLOORS[name] for name in names])
    whole = _fit(basis, values, floors)
    held_out = _held_out_d2(basis, values, floors)
    limit = choose_limit(np.asarray(starts), held_out, options.alarms_per_month, len(names))
    return GaussianModel(
        names=tuple(names),
        mean=whole.mean.T.tolist(),
        scale=whole.scale.T.tolist(),
        precision=whole.precision.tolist(),
        limit=limit,
        zone=options.zone.key or "UTC",
        from_ms=starts[0],
        to_ms=starts[-1] + QUARTER_MS,
        quarters=len(starts),
        alarms_per_month=options.alarms_per_month,
    )


def _check_enough(starts: Sequence[int]) -> None:
    """Raise FitRefusedError unless there are 7 days, mostly covered, in time order."""
    least = int(LEAST_PART * LEAST_DAYS * DAY_MS / QUARTER_MS)
    days = (starts[-1] + QUARTER_MS - starts[0]) / DAY_MS if starts else 0.0
    if days < LEAST_DAYS or len(starts) < least:
        msg = (
            f"{len(starts)} quarter hours over {days:.1f} days; a fit takes at least "
            f"{least} over {LEAST_DAYS} days"
        )
        raise FitRefusedError(msg)
    if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
        msg = "quarter hours must be in time order, each once"
        raise FitRefusedError(msg)


def _usable(values: Floats, options: Options, length_ms: int) -> list[str]:
    """Return the features that are mostly known and vary; power must be among them."""
    names = []
    for column, name in zip(values.T, NAMES, strict=True):
        known = column[np.isfinite(column)]
        if name == "voltage" and not options.voltage:
            continue
        if name == "day" and length_ms < LEAST_DAYS_OF_DAY * DAY_MS:
            continue
        if known.size >= values.shape[0] / 2 and known.std() > FLOORS[name] / 10:
            names.append(name)
    if "power" not in names:
        msg = "power is unknown or does not change: there is nothing to learn"
        raise FitRefusedError(msg)
    return names


def _fit(basis: Floats, values: Floats, floors: Floats) -> _Fitted:
    """Fit mean, spread and correlation; NaN cells are left out."""
    known = np.isfinite(values)
    means, scales = [], []
    z = np.zeros_like(values)
    for column in range(values.shape[1]):
        use = known[:, column]
        mean, scale = _fit_one(basis[use], values[use, column], float(floors[column]))
        means.append(mean)
        scales.append(scale)
        spread = np.exp(basis[use] @ scale)
        z[use, column] = (values[use, column] - basis[use] @ mean) / spread
    z = np.clip(z, -WINSOR, WINSOR)
    count = np.maximum(known.T.astype(np.float64) @ known, 1.0)
    covariance = z.T @ z / count
    sigma = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
    correlation = covariance / np.outer(sigma, sigma)
    eye = np.eye(len(sigma))
    shrunk = (1 - CORRELATION_SHRINK) * correlation + CORRELATION_SHRINK * eye
    return _Fitted(np.stack(means, axis=1), np.stack(scales, axis=1), _inverse(shrunk))


def _inverse(correlation: Floats) -> Floats:
    """Return the inverse of the nearest positive definite matrix (pairs may differ in rows)."""
    values, vectors = np.linalg.eigh(correlation)
    result: Floats = (vectors / np.maximum(values, CORRELATION_SHRINK / 2)) @ vectors.T
    return result


def _fit_one(basis: Floats, column: Floats, floor: float) -> tuple[Floats, Floats]:
    """Return coefficients of the mean and of the log spread of one feature."""
    mean = _ridge(basis, column, MEAN_SHRINK)
    residual = column - basis @ mean
    bound = WINSOR * max(float(residual.std()), floor)
    # Once more with wild quarters drawn in.
    mean = _ridge(basis, basis @ mean + np.clip(residual, -bound, bound), MEAN_SHRINK)
    residual = np.clip(column - basis @ mean, -bound, bound)
    spread = max(float(np.sqrt(np.mean(residual**2))), floor)
    shape = 0.5 * np.log(residual**2 + (0.1 * spread) ** 2 + floor**2)
    target: Floats = shape - float(shape.mean())
    coefficients = _ridge(basis, target, SCALE_SHRINK)
    coefficients[0] = 0.0
    swing = float(np.abs(basis @ coefficients).max())
    np.multiply(coefficients, min(1.0, SCALE_BOUND / max(swing, 1e-9)), out=coefficients)
    # The scale's level by maximum likelihood: mean of z² is 1.
    z = residual / np.exp(basis @ coefficients)
    level = math.log(max(float(np.sqrt(np.mean(z**2))), 1e-9))
    lowest = math.log(floor) - float((basis @ coefficients).min())
    coefficients[0] = max(level, lowest)
    return mean, coefficients


def _ridge(basis: Floats, target: Floats, shrink: float) -> Floats:
    """Return least-squares coefficients, all but the constant drawn towards zero."""
    penalty = shrink * np.eye(basis.shape[1])
    penalty[0, 0] = 1e-9
    penalty[1, 1] = WEEKEND_SHRINK
    normal: Floats = basis.T @ basis + penalty
    moment: Floats = basis.T @ target
    result: Floats = np.asarray(np.linalg.solve(normal, moment), dtype=np.float64)
    return result


def _held_out_d2(basis: Floats, values: Floats, floors: Floats) -> Floats:
    """Return each quarter's d² by a model that has not seen its part of the history."""
    fold = np.arange(len(values)) * FOLDS // len(values)
    result = np.zeros(len(values))
    for number in range(FOLDS):
        out = fold == number
        result[out] = _fit(basis[~out], values[~out], floors).d2(basis[out], values[out])
    return result
