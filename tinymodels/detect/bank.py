"""Which charts there are, on which time scales, and their exponential averages."""

import functools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from tinymodels.detect.conditioning import Usual, fit_usual
from tinymodels.detect.history import FLOORS, LEAST_DAYS_OF_DAY, known_enough
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Times
from tinymodels.detect.signals import HOLE_MS, HOUR_MS, INDEX

# A feature as it is covers 15 minutes or what its name says; the others are exponential
# averages on top of it.
ITSELF, HOUR, FOUR, DAY = 0, HOUR_MS, 4 * HOUR_MS, 24 * HOUR_MS
SCALES_MS: Final = (ITSELF, HOUR, FOUR, DAY)

# How far one block can pull each scale's average: what lasts minutes must not be remembered for
# days.
MOST_SIGMAS: Final = (30.0, 8.0, 6.0, 4.0)
# Averages of hours count only while the next faster one still shows this part of them: what is
# over is over, however slowly its memory fades.
STILL: Final = 0.5

MOST: Final = np.array(MOST_SIGMAS)[:, None]
GAIN: Final = np.array([1 - math.exp(-STEP_MS / one) if one else 1.0 for one in SCALES_MS])[:, None]


class Chart(NamedTuple):
    """What a chart watches, what it is judged given besides the time of day, and its scales."""

    feature: str
    given: tuple[str, ...] = ()
    scales: tuple[int, ...] = SCALES_MS


# Fast scales of what people switch on and off, and averages of what is an average already, only
# add chances of a false alarm.
CHARTS: Final[dict[str, Chart]] = {
    "power": Chart("power", (), (HOUR, FOUR, DAY)),
    "base": Chart("base", (), (ITSELF, FOUR, DAY)),
    "floor": Chart("floor", (), (ITSELF, DAY)),
    "day": Chart("day", (), (ITSELF,)),
    "voltage": Chart("voltage", (), (ITSELF, FOUR, DAY)),
    "voltage_max": Chart("voltage_max", (), (ITSELF,)),
    "voltage_given_power": Chart("voltage", ("kilowatts",), (ITSELF, HOUR, DAY)),
    "jump": Chart("jump", ("kilowatt_jump",), (ITSELF,)),
    "reactive": Chart("reactive", (), (HOUR, DAY)),
    "reactive_given_power": Chart("reactive", ("power", "kilowatts"), (HOUR, FOUR)),
    "reactive_base": Chart("reactive_base", (), (ITSELF, FOUR)),
    "steps": Chart("steps", (), (FOUR, DAY)),
    "cycling": Chart("cycling", (), (FOUR, DAY)),
    "export": Chart("export", (), (ITSELF, HOUR)),
    "power_factor": Chart("power_factor", (), (HOUR, FOUR)),
    "slope_2h": Chart("slope_2h", (), (ITSELF,)),
    "slope_day": Chart("slope_day", (), (ITSELF,)),
    "slope_week": Chart("slope_week", (), (ITSELF,)),
}
OF_VOLTAGE: Final = frozenset({"voltage", "voltage_max", "jump"})  # common to a meter's channels
OF_DAYS: Final = frozenset({"day", "floor", "slope_day", "slope_week"})


def usable(starts: Times, values: Floats, *, voltage: bool) -> list[str]:
    """Return the charts whose features are known for half of the time, and long enough."""
    short = starts[-1] - starts[0] < LEAST_DAYS_OF_DAY * DAY_MS
    names = []
    for name, chart in CHARTS.items():
        if (chart.feature in OF_VOLTAGE and not voltage) or (short and chart.feature in OF_DAYS):
            continue
        features = (chart.feature, *chart.given)
        if chart.feature.startswith("slope") and not known_enough(values[:, INDEX["voltage"]]):
            continue
        if all(known_enough(values[:, INDEX[one]]) for one in features):
            names.append(name)
    return names


def inputs(charts: Sequence[str], values: Floats) -> tuple[Floats, list[Floats]]:
    """Return the charts' features and what each is judged given."""
    columns, given = _places(tuple(charts))
    return values[:, columns], [values[:, others] for others in given]


@functools.cache
def _places(charts: tuple[str, ...]) -> tuple[list[int], list[list[int]]]:
    """Return the columns of the charts' features and of what each is judged given."""
    found = [CHARTS[name] for name in charts]
    return [INDEX[one.feature] for one in found], [[INDEX[n] for n in one.given] for one in found]


def fit_usual_of(charts: Sequence[str], clock: Floats, values: Floats) -> list[Usual]:
    """Return what is usual of each chart's feature."""
    columns, given = inputs(charts, values)
    found = []
    for number, name in enumerate(charts):
        known = np.isfinite(columns[:, number]) & np.isfinite(given[number]).all(axis=1)
        floor = FLOORS[CHARTS[name].feature]
        found.append(fit_usual(clock[known], given[number][known], columns[known, number], floor))
    return found


def averages(z: Floats, starts: Times, before: Floats, last_ms: int) -> Floats:
    """Return the exponential averages of z (step, chart) after each step: (step, scale, chart).

    An unknown z changes nothing; after a hole of six hours all averages start at 0.
    """
    finite = np.isfinite(z)[:, None, :]
    known = np.where(finite, z[:, None, :], 0.0)
    out = np.clip(known, -MOST, MOST)
    out *= GAIN * finite
    kept = 1 - GAIN * finite
    kept[np.diff(starts, prepend=last_ms) > HOLE_MS] = 0.0
    now = before
    for part, after in zip(kept, out, strict=True):
        np.add(after, part * now, out=after)
        now = after
    return out


def lasting(after: Floats) -> Floats:
    """Return averages (…, scale, chart), 0 where what a slow one remembers is over."""
    faster, slower = after[..., 1:-1, :], after[..., 2:, :]
    still = np.sign(slower) * faster >= STILL * np.abs(slower)
    return np.concatenate([after[..., :2, :], np.where(still, slower, 0.0)], axis=-2)
