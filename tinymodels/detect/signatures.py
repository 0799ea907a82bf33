"""What known faults look like in the charts of one home: a linear discriminant for each.

The charts tell that something is unusual. How a known fault moves all of them together tells more:
`tinymodels.detect.signature_fit` learns it from examples put into the home's own history.
"""

import functools
import math
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct

from tinymodels.detect.bank import SCALES_MS
from tinymodels.detect.conditioning import Table, Usual, check, clock_basis, standardise, tabulate
from tinymodels.detect.contract import ModelRefusedError
from tinymodels.detect.families import POWER, REACTIVE, SPECIAL, VOLTAGE
from tinymodels.detect.injector import LAWS, FaultName
from tinymodels.detect.minutes import DAY_MS, Floats, Times

MOST_SPREADS: Final = 8.0  # no average counts as further away
# A day takes a held score to the part of a limit at which an alarm goes off (fitted.clear_part).
HOLD: Final = -math.log(0.7)
# A known fault raises the alarm of what it moves; what hides power does so with the supply's law.
FAMILY: Final = {
    FaultName.STUCK_HEATER: POWER,
    FaultName.PHANTOM_LOAD: POWER,
    FaultName.FRIDGE: POWER,
    FaultName.SWELL: VOLTAGE,
    FaultName.SENSOR_OFF: VOLTAGE,
    FaultName.POOR_PF: REACTIVE,
    FaultName.BYPASS: SPECIAL,
    FaultName.DRIFT: SPECIAL,
    FaultName.REVERSED: SPECIAL,
}


class Held(Struct, array_like=True):
    """What slow faults' scores were last."""

    at_ms: int = 0
    scores: list[float] = []


class Signatures(Struct, frozen=True, array_like=True, dict=True):
    """Fitted directions; a score of 1 is what usual weeks reach once or twice."""

    faults: tuple[FaultName, ...] = ()
    centre: list[float] = []  # of the averages, scales one after the other
    spread: list[float] = []
    weights: list[list[float]] = []  # fault by average
    usual: list[Usual] = []  # of each direction, by the time of day
    levels: list[float] = []  # how far from it, in sigmas, is a score of 1
    zone: str = "UTC"

    def check(self, charts: int, zone: str) -> None:
        """Raise ModelRefusedError unless all fits together, so many charts, and their zone."""
        count, width = len(self.faults), len(SCALES_MS) * charts
        if not count:
            return
        rows = [self.centre, self.spread, *self.weights]
        lengths = {len(row) for row in rows} == {width} and len(rows) == count + 2
        fits = lengths and len(self.levels) == count and self.zone == zone
        if not fits or not _sound(rows, [*self.spread, *self.levels]):
            msg = "signatures that do not fit their charts: they must be fitted anew"
            raise ModelRefusedError(msg)
        check(self.usual, count)

    def scores(self, starts: Times, after: Floats) -> Floats:
        """Return scores (step, fault), at least 0, of averages (step, scale, chart)."""
        if not self.faults:
            return np.zeros((len(starts), 0))
        weights, table, zone = self._tables
        z = standardise(table, clock_basis(starts, zone), self._away(after) @ weights, [])
        found: Floats = np.maximum(z / np.asarray(self.levels), 0.0)
        return found

    def hold(self, starts: Times, scores: Floats, held: Held) -> Floats:
        """Return scores (step, fault) that fade no faster than HOLD, and remember the last.

        What takes a day to tell is told by some hours of it: over is what a day says no more of.
        """
        slow = [at for at, fault in enumerate(self.faults) if LAWS[fault].limit_ms >= DAY_MS]
        if not slow or not len(starts):
            return scores
        out = scores.copy()
        known = held.scores if len(held.scores) == len(slow) else [0.0] * len(slow)
        times = np.concatenate(([held.at_ms if held.scores else starts[0]], starts))
        risen = ((times - times[0]) / DAY_MS * HOLD)[:, None]
        with np.errstate(divide="ignore"):  # of 0 nothing is held
            logs = np.log(np.concatenate(([known], scores[:, slow])))
        out[:, slow] = np.exp(np.maximum.accumulate(logs + risen, axis=0) - risen)[1:]
        # As it is where nothing is held: not what its logarithm makes of it.
        out = np.maximum(out, scores)
        held.at_ms, held.scores = int(starts[-1]), out[-1, slow].tolist()
        return out

    def loudest(self, after: Floats, fault: int) -> tuple[int, int]:
        """Return scale and chart of the average, of (scale, chart), that says most for a fault."""
        told = self._away(after[None])[0] * self._tables[0][:, fault]
        scale, chart = divmod(int(told.argmax()), after.shape[-1])
        return scale, chart

    def _away(self, after: Floats) -> Floats:
        return away(flat(after), np.asarray(self.centre), np.asarray(self.spread))

    @functools.cached_property
    def _tables(self) -> tuple[Floats, Table, ZoneInfo]:
        weights = np.ascontiguousarray(np.asarray(self.weights).T)
        return weights, tabulate(self.usual), ZoneInfo(self.zone)


NONE: Final = Signatures()


def _sound(rows: Sequence[Sequence[float]], positive: Sequence[float]) -> bool:
    """Return whether all are numbers, and those positive that must be."""
    finite = np.isfinite(np.asarray(rows)).all() and np.isfinite(np.asarray(positive)).all()
    return bool(finite) and min(positive) > 0


def flat(after: Floats) -> Floats:
    """Return averages (step, scale, chart) as (step, average)."""
    return after.reshape(len(after), after.shape[1] * after.shape[2])


def away(row: Floats, centre: Floats, spread: Floats) -> Floats:
    """Return averages (step, average) as spreads from what is usual, wild ones drawn in."""
    found: Floats = np.clip((row - centre) / spread, -MOST_SPREADS, MOST_SPREADS)
    return found
