"""A model fitted anew has to be as good as the one it replaces, in a week it has not seen."""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tinymodels.detect.blocks import block_table
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import FitRefusedError, Options
from tinymodels.detect.events import events, merged
from tinymodels.detect.examples import begins, examples, planned, span_of
from tinymodels.detect.injector import measured_slope
from tinymodels.detect.limits import DAYS_PER_MONTH
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS, Floats, Minutes, Times, block_of
from tinymodels.detect.signals import Signals
from tinymodels.detect.sweep import featurise_marked, sweep

# The challenger is fitted on the weeks before these days and judged in them, as the champion is.
PROOF_MS: Final = 7 * DAY_MS
LEAST_BEFORE_MS: Final = 14 * DAY_MS
WARM_UP_MS: Final = 2 * DAY_MS
HOUR_MS: Final = 60 * MINUTE_MS
TRIES: Final = 3  # of each fault, spread over the days
# Chance decides a handful of tries: so many fewer found are no proof of being worse.
SLACK: Final = 1
MOST_ALARMED_MS: Final = 2 * DAY_MS  # of those days
TOO_LITTLE: Final = "too little history to compare"


class Refit(NamedTuple):
    """What came of a refit: the model to use from now on (None: keep the old), and why."""

    model: CombinedModel | None
    why: str


class _Fault(NamedTuple):
    """A change of the columns power, voltage, reactive, and how soon it should be found."""

    change: Callable[[Floats], Floats]
    within_ms: int


def _heater(values: Floats) -> Floats:
    values[:, :3] += 1500.0
    return values


def _bypass(values: Floats) -> Floats:
    values[:, :3] *= 0.4
    return values


def _reversed(values: Floats) -> Floats:
    values[:, :3] *= -1.0
    return values


def _swell(values: Floats) -> Floats:
    values[:, 3:5] *= 1.09
    return values


def _var(values: Floats) -> Floats:
    values[:, 5] += 300.0
    return values


FAULTS: Final = (
    _Fault(_heater, 5 * HOUR_MS),
    _Fault(_bypass, 24 * HOUR_MS),
    _Fault(_reversed, 2 * HOUR_MS),
    _Fault(_swell, HOUR_MS // 2),
    _Fault(_var, 6 * HOUR_MS),
)


class _Week(NamedTuple):
    """What is judged: all minutes, their features, and the features' state before each try."""

    minutes: Minutes
    starts: Times
    values: Floats
    states: dict[int, bytes]

    @property
    def span_ms(self) -> tuple[int, int]:
        """The days that the challenger has not seen."""
        end_ms = int(self.minutes.start_ms[-1])
        return end_ms - PROOF_MS, end_ms

    def before(self, at_ms: int) -> tuple[Times, Floats]:
        """Return the features of the days before a time, for the averages to be warm."""
        low, high = np.searchsorted(self.starts, [at_ms - WARM_UP_MS, at_ms])
        return self.starts[low:high], self.values[low:high]

    def faulty(self, fault: _Fault, at_ms: int) -> tuple[Times, Floats]:
        """Return the features of a fault from `at_ms` to its deadline, and of the days before.

        They go on from the state that the clean week had there.
        """
        begin_ms, until_ms = block_of(at_ms), at_ms + fault.within_ms + 2 * STEP_MS
        if begin_ms not in self.states:
            return self.before(begin_ms)  # nothing was measured any more
        part = self.minutes.between(begin_ms - STEP_MS, until_ms)
        values, since = part.values.copy(), part.start_ms >= at_ms
        values[since] = fault.change(values[since])
        first = int(np.searchsorted(part.start_ms, begin_ms))
        found = block_table(Minutes(part.start_ms, values), first)
        signals = msgspec.msgpack.decode(self.states[begin_ms], type=Signals)
        changed = sweep(signals, found)
        starts, known = self.before(begin_ms)
        after = found[:, 0].astype(np.int64)
        return np.append(starts, after), np.concatenate((known, changed))


def refit(minutes: Minutes, options: Options, champion: CombinedModel | None) -> Refit:
    """Fit on all minutes; keep the champion where such a fit, a week ago, was worse than it.

    Raise FitRefusedError with too little history.
    """
    marks = {block_of(at_ms) for at_ms in _tries(minutes)} if champion is not None else set()
    tried = planned(span_of(minutes))
    week = _Week(minutes, *featurise_marked(minutes, marks | begins(tried)))
    starts, values = week.starts, week.values
    found = examples(minutes, tried, week.states, measured_slope(minutes))
    model = FITTER.fit_examples(starts, values, options, found)
    if champion is None:
        return Refit(model, "first fit")
    # Features know nothing of what comes after them: those of the weeks before are a part.
    early = int(np.searchsorted(starts, starts[-1] - PROOF_MS))
    try:
        if starts[-1] - PROOF_MS - starts[0] < LEAST_BEFORE_MS:
            return Refit(model, TOO_LITTLE)
        known = [one for one in found if one.starts[-1] < starts[early]]
        challenger = FITTER.fit_examples(starts[:early], values[:early], options, known)
    except FitRefusedError:
        return Refit(model, TOO_LITTLE)
    return _judged(model, (challenger, champion), week, options)


def _judged(
    model: CombinedModel, pair: tuple[CombinedModel, CombinedModel], week: _Week, options: Options
) -> Refit:
    """Return the model, unless its like raised more false alarms or found fewer faults."""
    new, old = _figures(pair, week)
    alarmed_ms = [_alarmed_ms(model, week) for model in pair]
    allowed = max(old[0], options.alarms_per_month * PROOF_MS / DAY_MS / DAYS_PER_MONTH + SLACK)
    why = (
        f"in the last week {new[0]} false alarms and {new[1]} faults found of"
        f" {TRIES * len(FAULTS)}; the old one {old[0]} and {old[1]}; alarmed for"
        f" {alarmed_ms[0] / HOUR_MS:.0f} and {alarmed_ms[1] / HOUR_MS:.0f} h"
    )
    # One that cries all the time finds everything: it is no measure for the new one.
    worse = new[0] > allowed or (new[1] < old[1] - SLACK and old[0] <= allowed)
    # Nor is one whose single alarm never ends.
    worse |= alarmed_ms[0] > max(alarmed_ms[1], MOST_ALARMED_MS)
    return Refit(None if worse else model, why)


def _tries(minutes: Minutes) -> list[int]:
    """Return when faults are put into the last week."""
    if not len(minutes):
        return []
    from_ms = int(minutes.start_ms[-1]) - PROOF_MS
    return [from_ms + (2 * number + 1) * PROOF_MS // (2 * TRIES) for number in range(TRIES)]


def _figures(pair: tuple[CombinedModel, CombinedModel], week: _Week) -> list[list[int]]:
    """Return of each: false alarms in the last week, and how many of the tried faults it found."""
    from_ms, end_ms = week.span_ms
    low = int(np.searchsorted(week.starts, from_ms - WARM_UP_MS))
    calm = (week.starts[low:], week.values[low:])
    figures = [[alarms, 0] for alarms in _alarms(pair, calm, from_ms, end_ms)]
    for fault in FAULTS:
        for at_ms in _tries(week.minutes):
            found = _alarms(pair, week.faulty(fault, at_ms), at_ms, at_ms + fault.within_ms)
            for count, alarms in zip(figures, found, strict=True):
                count[1] += bool(alarms)
    return figures


def _alarmed_ms(model: CombinedModel, week: _Week) -> int:
    """Return for how long of the last week a model is alarmed."""
    from_ms, end_ms = week.span_ms
    low = int(np.searchsorted(week.starts, from_ms - WARM_UP_MS))
    found = events(model, *model.judge_sources(week.starts[low:], week.values[low:]))
    spans = [(max(one.from_ms, from_ms), min(one.to_ms, end_ms)) for one in found]
    return sum(max(0, to_ms - begin_ms) for begin_ms, to_ms in spans)


def _alarms(
    pair: tuple[CombinedModel, CombinedModel], features: tuple[Times, Floats], from_ms: int,
    to_ms: int,
) -> list[int]:  # fmt: skip
    """Return how many alarms of each begin in (from, to], those within hours being one."""
    found = []
    for model in pair:
        raised = merged(events(model, *model.judge_sources(*features)))
        found.append(sum(from_ms < event.from_ms <= to_ms for event in raised))
    return found
