"""When things run: one day's plan of an appliance, drawn from its own random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

DAY_S = 86_400.0
HOUR_S = 3600.0
_COLDEST_DAY = 20  # of the year, north of the tropics
_WEEKEND = (5, 6)  # Monday is 0
_LEAST_START = 0.02  # of full power: no compressor starts for less (chosen)
_BREATH_S = 60.0  # between two uses of the same thing


class Segment(NamedTuple):
    """One part of an appliance runs at a level from `start_s` of the day to `end_s`."""

    part: int
    start_s: float
    end_s: float
    level: float = 1.0


@dataclass(frozen=True, slots=True)
class Day:
    """What people and thermostats know about a day."""

    number: int  # days since 1970-01-01, a Thursday, on the local clock
    mean_c: float  # outside temperature
    dark: Sequence[bool]  # for each of the 24 local hours

    @property
    def weekend(self) -> bool:
        """Return whether it is Saturday or Sunday."""
        return (self.number + 3) % 7 in _WEEKEND

    def outside_c(self, hour: float) -> float:
        """Return the temperature: coolest about five, warmest about five in the afternoon."""
        return self.mean_c - 4.0 * float(np.cos((hour - 5.0) * np.pi / 12))


def mean_c(number: int, shock: float) -> float:
    """Return a temperate day's mean temperature; `shock` is a standard normal number."""
    season = np.cos(2 * np.pi * (number % 365.2425 - _COLDEST_DAY) / 365.2425)
    return float(13.0 - 8.0 * season + 2.5 * shock)


class Habit(Protocol):
    """Plans one day; the segments of one part never overlap and stay inside the day."""

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return the day's segments in order of start for each part."""


@dataclass(frozen=True, slots=True)
class Always:
    """Part 0 never stops."""

    level: float = 1.0

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return one segment."""
        del random, day
        return [Segment(0, 0.0, DAY_S, self.level)]


@dataclass(frozen=True, slots=True)
class Cycle:
    """A thermostat: part 0 runs `on_s` in every `on_s + off_s`; part 1 is its start."""

    on_s: float
    off_s: float
    spread: float = 0.12
    start_s: float = 0.0  # length of part 1, the inrush; 0 = none

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return runs all day long; they lengthen by 3 % per degree above 13."""
        warmth = float(np.clip(1 + 0.03 * (day.mean_c - 13.0), 0.6, 1.8))
        out: list[Segment] = []
        now = float(random.uniform(1.0, self.off_s))
        while now < DAY_S - HOUR_S / 60:
            end = now + self.on_s * warmth * float(np.exp(self.spread * random.standard_normal()))
            out += running(now, min(end, DAY_S), self.start_s)
            now = end + self.off_s * float(np.exp(self.spread * random.standard_normal()))
        return out


@dataclass(frozen=True, slots=True)
class Step:
    """Part `part` runs `seconds` from `at_s` of a use, `repeat` times with pauses."""

    part: int
    at_s: float
    seconds: float
    repeat: int = 1
    pause_s: float = 0.0
    level: float = 1.0


@dataclass(frozen=True, slots=True)
class Uses:
    """Somebody switches it on: a script of steps, stretched a little each time.

    `hours` weighs the 24 local hours; `per_day` is the mean number of uses, and
    `day_starts_h` is the hour a plan begins at, for things that run over midnight.
    """

    per_day: float
    hours: Sequence[float]
    script: Sequence[Step]
    stretch: tuple[float, float] = (0.8, 1.25)
    weekend: float = 1.0

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return the uses one after the other; one that finds it busy does not happen."""
        many = int(random.poisson(self.per_day * (self.weekend if day.weekend else 1.0)))
        weights = np.asarray(self.hours, dtype=float)
        picked = random.choice(24, size=many, p=weights / weights.sum())
        starts = np.sort((picked + random.uniform(size=many)) * HOUR_S)
        stretches = random.uniform(*self.stretch, size=many)
        out: list[Segment] = []
        free = 0.0
        for start, stretch in zip(starts.tolist(), stretches.tolist(), strict=True):
            if start < free:
                continue
            use = scripted(self.script, start, stretch)
            out += use
            free = max((segment.end_s for segment in use), default=start) + _BREATH_S
        return out


@dataclass(frozen=True, slots=True)
class Curve:
    """Part 0 follows a level per local hour, uneven in steps of `step_s`."""

    levels: Sequence[float]
    step_s: float = 600.0
    spread: float = 0.3
    only_dark: bool = False

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return steps of changing level; 0 levels are left out."""
        starts = np.arange(0.0, DAY_S, self.step_s)
        uneven = np.exp(self.spread * random.standard_normal(len(starts)))
        out: list[Segment] = []
        for start, factor in zip(starts.tolist(), uneven.tolist(), strict=True):
            hour = int(start // HOUR_S)
            level = self.levels[hour] * factor
            if level > 0 and (day.dark[hour] or not self.only_dark):
                out.append(Segment(0, start, start + self.step_s, level))
        return out


@dataclass(frozen=True, slots=True)
class Heating:
    """A modulating heat pump: full at `full_c` outside, off above `off_c`.

    Below `least` of its power it can only run part of each step.
    """

    off_c: float = 16.0
    full_c: float = -5.0
    least: float = 0.3
    step_s: float = 900.0

    def plan(self, random: np.random.Generator, day: Day) -> list[Segment]:
        """Return one run per step, at a level or for a share of it."""
        starts = np.arange(0.0, DAY_S, self.step_s)
        wobble = random.normal(1.0, 0.08, size=len(starts))
        out: list[Segment] = []
        for start, factor in zip(starts.tolist(), wobble.tolist(), strict=True):
            outside = day.outside_c(start / HOUR_S)
            asked = factor * (self.off_c - outside) / (self.off_c - self.full_c)
            level = float(np.clip(asked, 0.0, 1.0))
            share = min(level / self.least, 1.0)
            if level > _LEAST_START:
                end = start + share * self.step_s
                out.append(Segment(0, start, end, max(level, self.least)))
        return out


def running(start_s: float, end_s: float, inrush_s: float) -> list[Segment]:
    """Return a motor's run: part 1 while it starts, then part 0."""
    if inrush_s <= 0:
        return [Segment(0, start_s, end_s)]
    turned = min(start_s + inrush_s, end_s)
    return [Segment(1, start_s, turned), Segment(0, turned, end_s)]


def scripted(script: Sequence[Step], start_s: float, stretch: float) -> list[Segment]:
    """Return a script's segments, cut at the day's end."""
    out: list[Segment] = []
    for step in script:
        every = (step.seconds + step.pause_s) * stretch
        for turn in range(step.repeat):
            begin = start_s + step.at_s * stretch + turn * every
            end = min(begin + step.seconds * stretch, DAY_S)
            if begin < end:
                out.append(Segment(step.part, begin, end, step.level))
    return out


def weights(base: float = 0.0, **hours: float) -> tuple[float, ...]:
    """Return 24 hourly weights from names like h07_09=3.0 (from 07:00 to 09:59)."""
    out = [base] * 24
    for name, weight in hours.items():
        first, _, last = name.removeprefix("h").partition("_")
        for hour in range(int(first), int(last) + 1):
            out[hour] = base + weight
    return tuple(out)
