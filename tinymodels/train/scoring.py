"""Scores of a series with and without a fault; what detectors share is computed once.

Detectors that judge five-minute features get those of the clean series up to the fault, and from
the state remembered there go on with the faulty minutes: the same numbers as scoring the whole
faulty series, at a hundredth of the cost. Any other detector scores the stretch's minutes.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tinymodels.detect.contract import Fitter, HasSources, Model, Options, scored
from tinymodels.detect.examples import (
    Example,
    around,
    begins,
    examples,
    faulty_features,
    planned,
    span_of,
)
from tinymodels.detect.injector import Event, inject, measured_slope
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Minutes, Times, block_of
from tinymodels.detect.signals import NAMES
from tinymodels.detect.sweep import featurise_marked

# What a model's own averages remember has to be there when a fault begins.
WARM_UP_MS: Final = 6 * DAY_MS


@runtime_checkable
class JudgesFeatures(Protocol):
    """A model that takes features made before (tinymodels.detect.signals)."""

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks."""


@runtime_checkable
class FitsFeatures(Protocol):
    """A fitter that takes features made before."""

    def fit_features(self, starts: Times, values: Floats, options: Options) -> Model:
        """Fit on them; FitRefusedError as `fit`."""


@runtime_checkable
class LearnsFaults(Protocol):
    """A fitter that wants examples of faults besides."""

    def fit_examples(
        self, starts: Times, values: Floats, options: Options, found: Sequence[Example]
    ) -> Model:
        """Fit on features and examples; FitRefusedError as `fit`."""


@runtime_checkable
class Remembers(Protocol):
    """A model whose scores look further back than WARM_UP_MS."""

    @property
    def memory_ms(self) -> int:
        """How far back."""


class Stretch(NamedTuple):
    """One event in its surroundings: the minutes clean and faulty, and the features across it."""

    event: Event
    clean: Minutes
    faulty: Minutes
    starts: Times
    values: Floats


class Series:
    """One channel's minutes and their features, for fitting, scoring and putting faults in."""

    def __init__(
        self,
        minutes: Minutes,
        slope_v_per_kw: float,
        events: Collection[Event],
        *,
        left_out_ms: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Keep what faults will be put in. Nothing is fitted on the spans `left_out_ms`.

        Features are made once, where anybody first wants them.
        """
        self.minutes = minutes
        self._left_out_ms = left_out_ms
        self.slope = slope_v_per_kw
        self._tried = planned(span_of(minutes), left_out_ms)
        self._begins = begins(events) | begins(self._tried)
        self._starts, self._values = np.empty(0, np.int64), np.empty((0, len(NAMES)))
        self._states: dict[int, bytes] = {}

    def _make_features(self) -> None:
        """Make the features, remembering the state at each event's start."""
        self._starts, self._values, self._states = featurise_marked(
            self.minutes, self._begins, ended=True
        )

    def fit(self, fitter: Fitter, span_ms: tuple[int, int], options: Options) -> Model:
        """Fit on the minutes of a span. FitRefusedError as the fitter says."""
        if isinstance(fitter, FitsFeatures):
            starts, values = self._features(*span_ms)
            usual = np.ones(len(starts), dtype=bool)
            for from_ms, to_ms in self._left_out_ms:
                usual &= (starts + STEP_MS <= from_ms) | (starts >= to_ms)
            if isinstance(fitter, LearnsFaults):
                found = self._examples(span_ms)
                return fitter.fit_examples(starts[usual], values[usual], options, found)
            return fitter.fit_features(starts[usual], values[usual], options)
        return fitter.fit(self.minutes.between(*span_ms).without(self._left_out_ms), options)

    def _examples(self, span_ms: tuple[int, int]) -> list[Example]:
        """Return the examples that lie in a span."""
        tried = [
            event
            for event in self._tried
            if span_ms[0] <= event.start_ms and event.deadline_ms <= span_ms[1]
        ]
        minutes = self.minutes.between(*span_ms)
        return examples(minutes, tried, self._states, measured_slope(minutes))

    def clean(self, model: Model, span_ms: tuple[int, int]) -> tuple[Times, Floats]:
        """Return the scores of a span as it was, a week before it for the model to warm up.

        As `followed` takes them.
        """
        from_ms = span_ms[0] - _memory(model)
        if isinstance(model, JudgesFeatures):
            return _judged(model, *self._features(from_ms, span_ms[1]))
        return scored(model, self.minutes.between(from_ms, span_ms[1]))

    def stretch(self, event: Event) -> Stretch:
        """Put one event in: features from a week before it to its deadline."""
        clean = around(self.minutes, event)
        if not len(self._starts):
            faulty = inject(clean, event, self.slope)
            return Stretch(event, clean, faulty, self._starts, self._values)
        begin_ms = block_of(event.start_ms)
        faulty, after, changed = faulty_features(
            self.minutes, event, self._states[begin_ms], self.slope
        )
        starts, values = self._features(begin_ms - WARM_UP_MS, begin_ms)
        return Stretch(
            event, clean, faulty, np.append(starts, after), np.concatenate((values, changed))
        )

    def faulty(self, model: Model, stretch: Stretch) -> tuple[Times, Floats]:
        """Return the scores across an event, as `clean` does."""
        if isinstance(model, JudgesFeatures):
            return _judged(model, stretch.starts, stretch.values)
        begin_ms = int(stretch.faulty.start_ms[0])
        before = self.minutes.between(begin_ms - _memory(model), begin_ms)
        return scored(
            model,
            Minutes(
                np.concatenate((before.start_ms, stretch.faulty.start_ms)),
                np.concatenate((before.values, stretch.faulty.values)),
            ),
        )

    def around(self, event: Event, before_ms: int, after_ms: int) -> tuple[Minutes, Minutes]:
        """Return the minutes around an event, clean and faulty, for a picture."""
        clean = self.minutes.between(event.start_ms - before_ms, event.end_ms + after_ms)
        return clean, inject(clean, event, self.slope)

    def _features(self, from_ms: int, to_ms: int) -> tuple[Times, Floats]:
        if not len(self._starts):
            self._make_features()
        low, high = np.searchsorted(self._starts, [from_ms, to_ms])
        return self._starts[low:high], self._values[low:high]


def _judged(model: JudgesFeatures, starts: Times, values: Floats) -> tuple[Times, Floats]:
    if isinstance(model, HasSources):
        return model.judge_sources(starts, values)
    return model.judge_many(starts, values)


def _memory(model: Model) -> int:
    return model.memory_ms if isinstance(model, Remembers) else WARM_UP_MS
