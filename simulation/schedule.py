"""Which part runs at which level when: the day plans of a home's appliances."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulation import noise, solar
from simulation.appliances import Appliance
from simulation.habits import Day, mean_c
from simulation.noise import Floats, Ints
from simulation.solar import DAY_MS, Place

_PLAN, _WEATHER = 100, 9
_DAYS_KEPT = 8
_HOUR_MS = 3_600_000


class Runs(NamedTuple):
    """One part's runs in order: from, to (absolute ms) and level."""

    starts: Floats
    ends: Floats
    levels: Floats

    def mean(self, edges_ms: Ints) -> tuple[Floats, Floats]:
        """Return mean level and mean squared level between each two edges."""
        return self._mean(self.levels, edges_ms), self._mean(self.levels**2, edges_ms)

    def at(self, at_ms: Floats) -> Floats:
        """Return the level at each instant, 0 between runs."""
        if not len(self.starts):
            return np.zeros(len(at_ms))
        run = np.searchsorted(self.starts, at_ms, side="right") - 1
        inside = (run >= 0) & (at_ms < self.ends[run])
        return np.where(inside, self.levels[run], 0.0)

    def _mean(self, levels: Floats, edges_ms: Ints) -> Floats:
        if not len(self.starts):
            return np.zeros(len(edges_ms) - 1)
        # Relative to the first edge, so that a float keeps far below a millisecond.
        corners = np.column_stack((self.starts, self.ends)).ravel() - edges_ms[0]
        steps = levels * (self.ends - self.starts)
        total = np.repeat(np.concatenate(([0.0], np.cumsum(steps))), 2)[1:-1]
        integral = np.interp(edges_ms - edges_ms[0], corners, total)
        return np.asarray(np.diff(integral) / np.diff(edges_ms))


class Schedule:
    """The plans of all appliances, by local day, drawn when first needed."""

    def __init__(self, seed: int, appliances: Sequence[Appliance], place: Place) -> None:
        self._seed = seed
        self._appliances = appliances
        self._place = place
        self._offset_ms = int(place.utc_offset_h * _HOUR_MS)
        self._plans: OrderedDict[int, list[list[Runs]]] = OrderedDict()

    def runs(self, start_ms: int, end_ms: int) -> list[list[Runs]]:
        """Return the runs of each appliance's parts that touch a span of time."""
        first = (start_ms + self._offset_ms) // DAY_MS
        last = (end_ms + self._offset_ms) // DAY_MS
        days = [self._day(number) for number in range(first, last + 1)]
        if len(days) == 1:
            return days[0]
        return [
            [
                Runs(*map(np.concatenate, zip(*parts, strict=True)))
                for parts in zip(*plans, strict=True)
            ]
            for plans in zip(*days, strict=True)
        ]

    def _day(self, number: int) -> list[list[Runs]]:
        """Return one local day's plan of every appliance."""
        if number not in self._plans:
            day = self._context(number)
            self._plans[number] = [
                self._plan(index, appliance, day)
                for index, appliance in enumerate(self._appliances)
            ]
            if len(self._plans) > _DAYS_KEPT:
                self._plans.popitem(last=False)
        return self._plans[number]

    def _plan(self, index: int, appliance: Appliance, day: Day) -> list[Runs]:
        segments = appliance.habit.plan(noise.stream(self._seed, _PLAN + index, day.number), day)
        midnight = day.number * DAY_MS - self._offset_ms
        out: list[Runs] = []
        for part in range(len(appliance.parts)):
            own = sorted(s for s in segments if s.part == part)
            table = np.array([s[1:] for s in own], dtype=float).reshape(-1, 3)
            starts, ends = np.rint(table[:, :2].T * 1000) + midnight
            out.append(Runs(starts, ends, table[:, 2]))
        return out

    def _context(self, number: int) -> Day:
        shock = float(noise.normal_at((self._seed, _WEATHER), np.array([number]))[0])
        hours = number * DAY_MS - self._offset_ms + np.arange(24) * _HOUR_MS + _HOUR_MS // 2
        elevation, _ = solar.sun(self._place, hours)
        return Day(number, mean_c(number, shock), (elevation < 0).tolist())
