"""Limits on scores that keep false alarms within their budget."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from tinymodels.detect.bank import CHARTS, SCALES_MS
from tinymodels.detect.contract import Model, sources_of
from tinymodels.detect.events import MERGE_MS, events, grouped, merged, reached_before
from tinymodels.detect.minutes import DAY_MS, Floats, Times

DAYS_PER_MONTH: Final = 30.44
# Next month differs from the last two: only a part of the budget is spent on the past.
SPEND: Final = 0.5
# Fewer events than this cannot be counted on: the limit then lies above all of them.
ONE_EVENT_MARGIN: Final = 1.2
LEVELS: Final = 200  # limits tried, from the highest score down
# Each chart's level is the peak of this one of its events in the history (an earlier one is mere
# chance; chosen on months before those of the judgement); no level is below so many times the
# average's own spread.
CHART_EVENT: Final = 8
LEAST_SPREADS: Final = 2.0
# ... nor below this many sigmas of the feature: what never varied may begin to, a little.
LEAST_LEVELS: Final = (3.0, 2.0, 1.3, 0.7)  # by scale
NEVER: Final = 1e12


def choose_limit(model: Model, starts: Times, scores: Floats, alarms_per_month: float) -> float:
    """Return the limit whose events, counted as the daemon counts them, stay in the budget.

    Scores are as for `events`.
    """
    scores = grouped(sources_of(model), scores.reshape(len(scores), -1))
    most = scores.max(axis=1)
    span_ms = int(starts[-1]) + model.step_ms - int(starts[0])
    allowed = int(SPEND * alarms_per_month * span_ms / DAY_MS / DAYS_PER_MONTH)
    top = float(most.max())
    if not allowed:
        return ONE_EVENT_MARGIN * top
    levels = np.unique(np.quantile(most, 1 - np.geomspace(1 / len(most), 0.1, LEVELS)))[::-1]
    best = top
    reached = reached_before(scores, model.step_ms)
    for level in levels.tolist():
        found = events(model.with_limit(level), starts, scores, reached)
        if len(merged(found)) > allowed:
            break
        best = level
    return best


def chart_levels(starts: Times, after: Floats, charts: Sequence[str]) -> tuple[Floats, Floats]:
    """Return how far each average (step, scale, chart) goes up and down by itself.

    NEVER on the scales on which a chart is not watched.
    """
    up, down = np.full(after.shape[1:], NEVER), np.full(after.shape[1:], NEVER)
    for chart, name in enumerate(charts):
        for scale_ms in CHARTS[name].scales:
            scale = SCALES_MS.index(scale_ms)
            series = after[:, scale, chart]
            least = max(LEAST_SPREADS * float(series.std()), LEAST_LEVELS[scale])
            up[scale, chart] = max(nth_event(starts, series, CHART_EVENT), least)
            down[scale, chart] = max(nth_event(starts, -series, CHART_EVENT), least)
    return up, down


def nth_event(starts: Times, series: Floats, number: int) -> float:
    """Return the peak of a series' n-th largest event, events within six hours being one."""
    most = len(series) // 20 + 1
    least = float(np.partition(series, len(series) - most)[len(series) - most])
    left = series.copy()
    for count in range(1, number + 1):
        at = int(np.argmax(left))
        if left[at] < least:
            break
        if count == number:
            return float(series[at])
        near = np.searchsorted(starts, [starts[at] - MERGE_MS, starts[at] + MERGE_MS + 1])
        left[near[0] : near[1]] = -math.inf
    return least
