"""Learn what known faults look like in a home, from examples put into its own history.

For each the direction is learned that tells it best from what is usual: Fisher's (Annals of
Eugenics 7, 1936), with a ridge as in regularised discriminant analysis (Friedman, JASA 84, 1989).
It is a filter matched to the fault and to how everything moves together by itself. Like a feature
it is judged given the time of day: by night little else happens.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from tinymodels.detect.bank import averages
from tinymodels.detect.charts import ChartsModel
from tinymodels.detect.conditioning import (
    CLOCK_COLUMNS,
    Usual,
    clock_basis,
    fit_usual,
    standardise,
    tabulate,
)
from tinymodels.detect.examples import Example
from tinymodels.detect.injector import LAWS, FaultName
from tinymodels.detect.limits import nth_event
from tinymodels.detect.minutes import Floats, Times
from tinymodels.detect.signatures import Signatures, away, flat

# All that is chosen here was chosen on months before those of the judgement (docs/detection.md).
RIDGE: Final = 0.3  # of a variance of 1
LATE: Final = 0.5  # an example is what it looks like in this last part of its time
FOLDS: Final = 4  # parts of the history, each judged by directions that have not seen it
# A direction's level is the peak of this one of its events in the history, as a chart's is,
LEVEL_EVENT: Final = 2
# but at least this part of what examples reach: what stands out by far need not be caught early.
LEAST_LEVEL: Final = 0.5
# Whose examples do not reach this part of the level is not looked for: that would only add false
# alarms.
LEAST_REACHED: Final = 0.8
LEAST_EXAMPLES: Final = 2
LEAST_SPREAD: Final = 1e-6
SHORT_MS: Final = 2 * 3_600_000  # what is to be told sooner cannot wait for a quieter hour


class Learned(NamedTuple):
    """What comes of a fit: the directions, and the history's scores by such as have not seen it."""

    signatures: Signatures
    scores: Floats  # (step, fault)


class _Found(NamedTuple):
    """One fault's direction."""

    fault: FaultName
    weights: Floats
    usual: Usual
    level: float
    unseen: Floats  # the history's scores


def fit_signatures(
    charts: ChartsModel, usual: tuple[Times, Floats], examples: Sequence[Example]
) -> Learned:
    """Fit on a history and on examples of faults; without examples nothing is looked for.

    `usual`: the history's block starts, and its averages (step, scale, chart) by charts that had
    not seen it.
    """
    starts, after = usual
    centre, spread = flat(after).mean(axis=0), np.maximum(flat(after).std(axis=0), LEAST_SPREAD)
    history = _History(starts, away(flat(after), centre, spread), ZoneInfo(charts.zone))
    found: list[_Found] = []
    for fault, traces in _traces(charts, usual, examples).items():
        if len(traces) >= LEAST_EXAMPLES:
            likes = [(at_ms, away(trace, centre, spread)) for at_ms, trace in traces]
            one = _fit_one(history, fault, likes)
            found += [one] if one else []
    signatures = Signatures(
        tuple(one.fault for one in found),
        centre.tolist(),
        spread.tolist(),
        [one.weights.tolist() for one in found],
        [one.usual for one in found],
        [one.level for one in found],
        charts.zone,
    )
    scores = np.reshape([one.unseen for one in found], (len(found), len(starts))).T
    return Learned(signatures, scores)


class _History:
    """What is usual, and the directions away from it."""

    def __init__(self, starts: Times, x: Floats, zone: ZoneInfo) -> None:
        self.starts, self.x, self.zone = starts, x, zone
        self.clock = clock_basis(starts, zone)
        places = [len(x) * number // FOLDS for number in range(FOLDS + 1)]
        self.parts = [slice(low, high) for low, high in pairwise(places)]
        self.counts = np.array([len(x[part]) for part in self.parts])
        self.totals = np.array([x[part].sum(axis=0) for part in self.parts])
        self.products = np.array([x[part].T @ x[part] for part in self.parts])

    def direction(self, like: Floats, without: int | None = None) -> Floats:
        """Return what tells `like` best from the history, of which one part is left out."""
        kept = [number for number in range(FOLDS) if number != without]
        count = self.counts[kept].sum()
        mean = self.totals[kept].sum(axis=0) / count
        covariance = self.products[kept].sum(axis=0) / count - np.outer(mean, mean)
        found: Floats = np.linalg.solve(covariance + RIDGE * np.eye(len(mean)), like - mean)
        return found

    def unseen(self, like: Floats) -> Floats:
        """Return the history along directions that have not seen it."""
        pieces = [self.x[part] @ self.direction(like, at) for at, part in enumerate(self.parts)]
        return np.concatenate(pieces)

    def judged(self, along: Floats, *, short: bool) -> tuple[Usual, Floats]:
        """Return what is usual of a direction, and how far the history is from it, in sigmas.

        `short`: whatever the time of day.
        """
        nothing = np.empty((len(along), 0))
        usual = _any_time(along) if short else fit_usual(self.clock, nothing, along, LEAST_SPREAD)
        return usual, standardise(tabulate([usual]), self.clock, along[:, None], [])[:, 0]


def _fit_one(
    history: _History, fault: FaultName, likes: Sequence[tuple[Times, Floats]]
) -> _Found | None:
    """Fit one fault; None where examples of it stand out too little to look for it."""
    like = np.mean([trace.mean(axis=0) for _, trace in likes], axis=0)
    short = LAWS[fault].limit_ms < SHORT_MS
    direction = history.direction(like)
    usual, scores = history.judged(history.x @ direction, short=short)
    reached = float(np.median([_most(usual, direction, history.zone, one) for one in likes]))
    level = max(nth_event(history.starts, scores, LEVEL_EVENT), LEAST_LEVEL * reached)
    if not 0 < level * LEAST_REACHED <= reached:
        return None
    _, unseen = history.judged(history.unseen(like), short=short)
    return _Found(fault, direction, usual, level, np.maximum(unseen / level, 0.0))


def _most(usual: Usual, direction: Floats, zone: ZoneInfo, like: tuple[Times, Floats]) -> float:
    """Return how far an example goes, in sigmas."""
    starts, trace = like
    along = (trace @ direction)[:, None]
    return float(standardise(tabulate([usual]), clock_basis(starts, zone), along, []).max())


def _any_time(along: Floats) -> Usual:
    """Return what is usual whatever the time of day."""
    rest = [0.0] * (CLOCK_COLUMNS - 1)
    spread = math.log(max(float(along.std()), LEAST_SPREAD))
    return Usual([float(np.median(along)), *rest], [spread, *rest])


def _traces(
    charts: ChartsModel, usual: tuple[Times, Floats], examples: Sequence[Example]
) -> dict[FaultName, list[tuple[Times, Floats]]]:
    """Return of each kind the times and averages (step, average) of its examples' last parts."""
    found: dict[FaultName, list[tuple[Times, Floats]]] = {}
    for example, trace in _continued(charts, usual, examples):
        late = int(LATE * len(trace))
        found.setdefault(example.fault, []).append((example.starts[late:], flat(trace)[late:]))
    return found


def _continued(
    charts: ChartsModel, usual: tuple[Times, Floats], examples: Sequence[Example]
) -> Iterator[tuple[Example, Floats]]:
    """Yield examples and their averages, which go on from the history's."""
    starts, after = usual
    for example in examples:
        at = int(np.searchsorted(starts, example.starts[0])) - 1
        before, last_ms = (after[at], int(starts[at])) if at >= 0 else (np.zeros_like(after[0]), 0)
        z = charts.standardised(example.starts, example.values)
        yield example, averages(z, example.starts, before, last_ms)
