"""A roof judged day by day: each month by a model fitted on the half year before it.

What the gateway does every morning and what the offline evaluation does are this same code, so
that both raise the same alerts. Nothing of a day's own month is in the model that judges it.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

import numpy as np

from tinymodels.detect.contract import FitRefusedError, Options
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.solar import (
    BRIGHT,
    LATELY_DAYS,
    LATELY_LEAST,
    SolarFitter,
    SolarModel,
    SolarState,
    Yields,
    daily,
    envelope,
    lately_yields,
)

# An envelope and its limits take more of the past than a household's habits.
TRAILING_DAYS: Final = 180
MEMORY_DAYS: Final = SolarModel(1.0, 1.0, 1.0, 0, 1).memory_ms // DAY_MS
EPOCH: Final = date(1970, 1, 1)


class DayJudged(NamedTuple):
    """What is known of a roof after one day.

    `known` False: too few days lately had a yield to say anything. `best` and `beside` are the
    best yield of the last week, its own and its neighbours' (None: they are not known), 1 being
    the envelope; `given_w` and `usual_w` are of the bright hours of that day, and of the envelope.
    """

    day: int
    score: float
    limit: float
    clear_limit: float
    known: bool
    best: float
    beside: float | None
    given_w: float
    usual_w: float
    since_day: int

    @property
    def end_ms(self) -> int:
        """Return when the day was over, in the roof's own time."""
        return (self.day + 1) * DAY_MS


def month_of(day: int) -> tuple[int, int]:
    """Return the first days of the month that holds a day, and of the next one."""
    first = (EPOCH + timedelta(days=day)).replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    return (first - EPOCH).days, (after - EPOCH).days


def judge_days(
    minutes: Minutes,
    span_days: tuple[int, int],
    options: Options,
    peers: Yields | None = None,
    left_out_ms: Sequence[tuple[int, int]] = (),
) -> Iterator[DayJudged]:
    """Yield what is known after each day with data in [from, to), oldest first.

    `minutes` (of any length each) reach back TRAILING_DAYS before the first day's month where
    there are as many; models are not fitted on `left_out_ms`. Days of a month before which there
    is too little history are left out.
    """
    from_day, to_day = span_days
    usual = minutes.without(left_out_ms)
    state, month = SolarState(), month_of(from_day)
    model = _fitted(usual, month[0], options, peers)
    for day, slots in daily(minutes):
        if day < from_day - MEMORY_DAYS:
            continue
        if day >= to_day:
            return
        if day >= month[1]:
            month = month_of(day)
            model = _fitted(usual, month[0], options, peers)
        state.day, state.today = day, slots
        score = (model or _BLIND).close_day(state).score
        if model is not None and day >= from_day:
            yield _told(model, state, score)


_BLIND: Final = SolarModel(1.0, 1.0, math.inf, 0, 1)  # remembers days, and finds nothing


def _fitted(
    usual: Minutes, first_day: int, options: Options, peers: Yields | None
) -> SolarModel | None:
    """Return the model for the month that begins with a day, None without enough history."""
    before = usual.between((first_day - TRAILING_DAYS) * DAY_MS, first_day * DAY_MS)
    try:
        return SolarFitter(peers).fit(before, options)
    except FitRefusedError:
        return None


def _told(model: SolarModel, state: SolarState, score: float) -> DayJudged:
    lately, week = lately_yields(state), range(state.day - LATELY_DAYS + 1, state.day + 1)
    beside = [model.peers[day] for day in week if day in model.peers]
    given_w, usual_w = _watts(state)
    return DayJudged(
        state.day,
        score,
        model.limit,
        model.clear_limit,
        len(lately) >= LATELY_LEAST,
        max(lately, default=math.nan),
        max(beside, default=None),
        given_w,
        usual_w,
        (state.since_ms or state.day * DAY_MS) // DAY_MS,
    )


def _watts(state: SolarState) -> tuple[float, float]:
    """Return the mean power of the bright hours on the best day lately, and of the envelope."""
    best = envelope(state)
    lately = {day: found for day, found in state.yields if day > state.day - LATELY_DAYS}
    if not lately or not np.isfinite(best).any():
        return math.nan, math.nan
    day = max(lately, key=lambda one: lately[one])
    bright = np.nan_to_num(best) >= BRIGHT * float(np.nanmax(best))
    slots = np.array(dict(state.days)[day])[bright]
    known = np.isfinite(slots)
    return float(slots[known].mean()), float(best[bright][known].mean())
