"""Scores of a series with and without a fault; what detectors share is computed once.

Detectors that judge five-minute features get those of the clean series up to the fault, and from
the state remembered there go on with the faulty minutes: the same numbers as scoring the whole
faulty series, at a hundredth of the cost. Any other detector scores the stretch's minutes.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np

from tinymodels.detect.blocks import block_table
from tinymodels.detect.contract import Fitter, HasFamilies, Model, Options, scored
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS, Floats, Minutes, Times
from tinymodels.detect.signals import NAMES, Signals
from tinymodels.detect.sweep import featurise_marked, sweep
from tinymodels.train.injector import Event, inject

# What a model's own averages remember has to be there when a fault begins.
WARM_UP_MS: Final = 6 * DAY_MS
BEFORE_MS: Final = 15 * MINUTE_MS


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
        self._begins = {_block(event.start_ms) for event in events}
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
            return fitter.fit_features(starts[usual], values[usual], options)
        return fitter.fit(self.minutes.between(*span_ms).without(self._left_out_ms), options)

    def clean(self, model: Model, span_ms: tuple[int, int]) -> tuple[Times, Floats]:
        """Return the scores of a span as it was, a week before it for the model to warm up.

        By family where the model has several, as `events` takes them.
        """
        from_ms = span_ms[0] - _memory(model)
        if isinstance(model, JudgesFeatures):
            return _judged(model, *self._features(from_ms, span_ms[1]))
        return scored(model, self.minutes.between(from_ms, span_ms[1]))

    def stretch(self, event: Event) -> Stretch:
        """Put one event in: features from a week before it to its deadline."""
        begin_ms, until_ms = _block(event.start_ms), event.deadline_ms + 2 * STEP_MS
        clean = self.minutes.between(begin_ms - BEFORE_MS, until_ms)
        faulty = inject(clean, event, self.slope)
        if not len(self._starts):
            return Stretch(event, clean, faulty, self._starts, self._values)
        signals = msgspec.msgpack.decode(self._states[begin_ms], type=Signals)
        first = int(np.searchsorted(faulty.start_ms, begin_ms))
        found = block_table(faulty, first)
        starts, values = self._features(begin_ms - WARM_UP_MS, begin_ms)
        return Stretch(
            event,
            clean,
            faulty,
            np.append(starts, found[:, 0].astype(np.int64)),
            np.concatenate((values, sweep(signals, found))),
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
    if isinstance(model, HasFamilies):
        return model.judge_families(starts, values)
    return model.judge_many(starts, values)


def _memory(model: Model) -> int:
    return model.memory_ms if isinstance(model, Remembers) else WARM_UP_MS


def _block(at_ms: int) -> int:
    return at_ms - at_ms % STEP_MS
