"""Whether a history is enough to fit on, and how it is parted to test what was fitted."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.contract import FitRefusedError
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Times
from tinymodels.detect.signals import INDEX

LEAST_DAYS: Final = 7
LEAST_PART: Final = 0.6  # of the blocks of those days
NEW_NORMAL_MS: Final = 7 * DAY_MS  # an anomaly that lasts longer is how people live now
FOLDS: Final = 7  # days of the shortest fit
LEAST_CHANGE_W: Final = 1.0
# A day's mean has one independent value a day: fewer than this give no spread of it.
LEAST_DAYS_OF_DAY: Final = 21
# What a sensor resolves, in each feature's own units: no spread is called smaller. That of
# export is 25 W: by night it never varies, and at dawn it begins a little earlier every day.
FLOORS: Final = {
    "power": 0.05, "base": 0.05, "floor": 0.05, "day": 0.03, "voltage": 0.3, "voltage_max": 0.3,
    "jump": 0.3, "reactive": 0.05, "reactive_base": 0.05, "steps": 0.1, "cycling": 0.5,
    "export": 0.5, "power_factor": 0.02, "slope_2h": 0.1, "slope_day": 0.1, "slope_week": 0.1,
}  # fmt: skip


def first_weeks(anomalies: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what no fit takes as usual of one channel's anomalies, (from, to) in ms.

    Those that follow each other without a break are one, however often it was raised anew: else
    what never ends could never become usual.
    """
    found: list[tuple[int, int]] = []
    begin_ms = until_ms = -1
    for from_ms, to_ms in sorted(anomalies):
        if from_ms > until_ms:
            begin_ms = from_ms
        until_ms = max(until_ms, to_ms)
        end_ms = min(to_ms, begin_ms + NEW_NORMAL_MS)
        if end_ms > from_ms:
            found.append((from_ms, end_ms))
    return found


def check_enough(starts: Times) -> None:
    """Raise FitRefusedError unless there are 7 days, mostly covered."""
    least_hours = int(LEAST_PART * LEAST_DAYS * 24)
    days = (int(starts[-1]) + STEP_MS - int(starts[0])) / DAY_MS if len(starts) else 0.0
    hours = len(np.unique(starts // 3_600_000))
    if days < LEAST_DAYS or hours < least_hours:
        msg = (
            f"{hours} hours with power over {days:.1f} days; a fit takes at least "
            f"{least_hours} over {LEAST_DAYS} days"
        )
        raise FitRefusedError(msg)


def check_power(values: Floats) -> None:
    """Raise FitRefusedError where power never changes: there is nothing to learn."""
    power = values[:, INDEX["kilowatts"]] * 1000
    if not len(power) or float(power.max() - power.min()) < LEAST_CHANGE_W:
        msg = "power does not change: there is nothing to learn"
        raise FitRefusedError(msg)


def known_enough(column: Floats) -> bool:
    """Return whether a feature is known for at least half of the blocks."""
    return bool(np.isfinite(column).sum() >= len(column) / 2)


def folds(starts: Times) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of FOLDS parts, each of neighbouring blocks: what a fit must not have seen."""
    number = np.arange(len(starts)) * FOLDS // len(starts)
    for fold in range(FOLDS):
        yield number == fold
