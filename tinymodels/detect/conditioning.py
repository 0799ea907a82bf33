"""What is usual at a time of day: mean and spread of features, fitted with shrinkage."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct

from tinymodels.detect.contract import ModelRefusedError
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Times

QUARTER_MS: Final = 900_000
HARMONICS: Final = (1, 2, 3)
CLOCK_COLUMNS: Final = 2 + 2 * len(HARMONICS)
EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0
SATURDAY: Final = 5

# Evidence that shrinks coefficients to zero, in days' worth of steps.
DAY_STEPS: Final = DAY_MS // STEP_MS
MEAN_SHRINK: Final = 0.02 * DAY_STEPS
WEEKEND_SHRINK: Final = DAY_STEPS  # two days say little of what weekends are like
SCALE_SHRINK: Final = 0.5 * DAY_STEPS
SCALE_BOUND: Final = math.log(4)  # the spread of an hour is within a factor 4 of the day's
WINSOR: Final = 4.0  # single wild steps must not widen what is called normal


def clock_basis(starts_ms: Times, zone: ZoneInfo) -> Floats:
    """Return what the middle of each step says: constant, weekend, 3 harmonics of local day."""
    middle = np.asarray(starts_ms, dtype=np.int64) + STEP_MS // 2
    local = middle + _offsets_ms(middle, zone)
    weekday = (local // DAY_MS + EPOCH_WEEKDAY) % 7
    angle = 2 * math.pi / DAY_MS * (local % DAY_MS)
    basis = np.empty((len(local), CLOCK_COLUMNS))
    basis[:, 0], basis[:, 1] = 1.0, weekday >= SATURDAY
    for harmonic in HARMONICS:
        basis[:, 2 * harmonic] = np.cos(harmonic * angle)
        basis[:, 2 * harmonic + 1] = np.sin(harmonic * angle)
    return basis


def _offsets_ms(at_ms: Times, zone: ZoneInfo) -> Times:
    """Return the zone's offset at each time; clocks change on quarter hours, once a day at most."""
    if len(at_ms) == 1:
        return np.array([_offset_ms(int(at_ms[0]) // QUARTER_MS, zone)])
    days, which = np.unique(at_ms // DAY_MS, return_inverse=True)
    edges = {day: _offset_ms(day * DAY_MS // QUARTER_MS, zone) for day in {*days, *(days + 1)}}
    found = np.array([edges[day] for day in days.tolist()], dtype=np.int64)[which]
    alike = [edges[day] == edges[day + 1] for day in days.tolist()]
    changing = ~np.array(alike, dtype=np.bool_)[which]
    quarters, which = np.unique(at_ms[changing] // QUARTER_MS, return_inverse=True)
    exact = [_offset_ms(quarter, zone) for quarter in quarters.tolist()]
    found[changing] = np.array(exact, dtype=np.int64)[which]
    return found


def _offset_ms(quarter: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(quarter * QUARTER_MS / 1000, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


class Usual(Struct, frozen=True, array_like=True):
    """Conditional mean and log spread of one value; coefficients over clock, then covariates."""

    mean: list[float]
    scale: list[float]  # over the clock alone


def check(usual: list[Usual], count: int, given: Sequence[int] | None = None) -> None:
    """Raise ModelRefusedError unless there are `count`, of `given` covariates each, all finite."""
    others = [0] * count if given is None else given
    fits = len(usual) == count and all(
        len(one.mean) == CLOCK_COLUMNS + more
        and len(one.scale) == CLOCK_COLUMNS
        and np.isfinite([*one.mean, *one.scale]).all()
        for one, more in zip(usual, others, strict=False)
    )
    if not fits:
        msg = f"a model that does not say what is usual of its {count} features: fit it anew"
        raise ModelRefusedError(msg)


class Table(NamedTuple):
    """What is usual of several values, laid out for quick use; see `tabulate`."""

    mean: Floats  # clock column by value
    scale: Floats
    given: list[tuple[int, Floats]]  # number of the value, coefficients of its covariates


def tabulate(usual: Sequence[Usual]) -> Table:
    """Lay out what is usual."""
    mean = np.array([one.mean[:CLOCK_COLUMNS] for one in usual]).reshape(-1, CLOCK_COLUMNS)
    scale = np.array([one.scale for one in usual]).reshape(-1, CLOCK_COLUMNS)
    given = [
        (number, np.array(one.mean[CLOCK_COLUMNS:]))
        for number, one in enumerate(usual)
        if len(one.mean) > CLOCK_COLUMNS
    ]
    return Table(mean.T, scale.T, given)


def standardise(table: Table, clock: Floats, values: Floats, given: Sequence[Floats]) -> Floats:
    """Return z of each column of `values`; NaN where unknown."""
    difference = values - clock @ table.mean
    for number, coefficients in table.given:
        difference[:, number] -= given[number] @ coefficients
    result: Floats = difference / np.exp(clock @ table.scale)
    return result


def expected(usual: Usual, clock: Floats, given: Floats) -> Floats:
    """Return the conditional mean."""
    mean = np.asarray(usual.mean)
    result: Floats = clock @ mean[:CLOCK_COLUMNS] + given @ mean[CLOCK_COLUMNS:]
    return result


def fit_usual(clock: Floats, given: Floats, column: Floats, floor: float) -> Usual:
    """Fit one column (no NaN): ridge, once more with wild steps drawn in, then the spread.

    `floor` is what the sensor resolves: no spread is called smaller.
    """
    basis = np.hstack([clock, given])
    normal = basis.T @ basis
    mean = _ridge(normal, basis.T @ column, MEAN_SHRINK)
    residual = column - basis @ mean
    bound = WINSOR * max(float(residual.std()), floor)
    drawn_in = basis @ mean + np.clip(residual, -bound, bound)
    mean = _ridge(normal, basis.T @ drawn_in, MEAN_SHRINK)
    residual = np.clip(column - basis @ mean, -bound, bound)
    spread = max(float(np.sqrt(np.mean(residual**2))), floor)
    shape = 0.5 * np.log(residual**2 + (0.1 * spread) ** 2 + floor**2)
    moment = clock.T @ (shape - float(shape.mean()))
    coefficients = _ridge(normal[:CLOCK_COLUMNS, :CLOCK_COLUMNS], moment, SCALE_SHRINK)
    coefficients[0] = 0.0
    swing = float(np.abs(clock @ coefficients).max())
    np.multiply(coefficients, min(1.0, SCALE_BOUND / max(swing, 1e-9)), out=coefficients)
    # The level by maximum likelihood: the mean of z² is 1.
    z = residual / np.exp(clock @ coefficients)
    level = math.log(max(float(np.sqrt(np.mean(z**2))), 1e-9))
    lowest = math.log(floor) - float((clock @ coefficients).min())
    coefficients[0] = max(level, lowest)
    return Usual(mean.tolist(), coefficients.tolist())


def _ridge(normal: Floats, moment: Floats, shrink: float) -> Floats:
    """Return least-squares coefficients, all but the constant drawn towards zero."""
    penalty = np.full(len(normal), shrink)
    penalty[0], penalty[1] = 1e-9, WEEKEND_SHRINK
    penalty[CLOCK_COLUMNS:] = 1e-3  # what physics ties together is no guess
    solved = np.linalg.solve(normal + np.diag(penalty), moment)
    return np.asarray(solved, dtype=np.float64)
