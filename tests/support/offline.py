"""What the daemon should have raised over a series: refits and events computed without it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gateway.services.fitting import FOREVER_MS, WARM_UP_MS, WEEKS_8_MS
from tinymodels.detect.alarm import Alarm
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Options, scored
from tinymodels.detect.history import first_weeks
from tinymodels.detect.minutes import STEP_MS, Minutes
from tinymodels.detect.refit import refit


class Span(NamedTuple):
    """An alert as the database has it; `resolved_ms` FOREVER_MS while it is open."""

    kind: str
    opened_ms: int
    resolved_ms: int


class Fit(NamedTuple):
    """When a model was made, by the data's own time, and the minute that was open then."""

    at_ms: int
    open_ms: int


def left_out(alerts: Sequence[Span], at_ms: int) -> list[tuple[int, int]]:
    """Return what a fit at that time leaves out: alerts until then, as they stood then."""
    spans: list[tuple[int, int]] = []
    anomalies: list[tuple[int, int]] = []
    for alert in alerts:
        if alert.opened_ms > at_ms or alert.resolved_ms < at_ms - WEEKS_8_MS:
            continue
        end_ms = alert.resolved_ms if alert.resolved_ms <= at_ms else FOREVER_MS
        (anomalies if alert.kind == "anomaly" else spans).append((alert.opened_ms, end_ms))
    return spans + first_weeks(anomalies)


def refitted(
    series: Minutes, fits: Sequence[Fit], alerts: Sequence[Span], options: Options
) -> list[tuple[int, CombinedModel]]:
    """Return from when on each model judges (the start of its first minute), in time order."""
    found: list[tuple[int, CombinedModel]] = []
    for at_ms, open_ms in fits:
        history = series.between(at_ms - WEEKS_8_MS, open_ms).without(left_out(alerts, at_ms))
        champion = found[-1][1] if found else None
        made = refit(history, options, champion)
        if made.model is not None:
            found.append((open_ms, made.model))
    return found


def raised(series: Minutes, models: Sequence[tuple[int, CombinedModel]]) -> list[int]:
    """Return the ends of the steps at which an anomaly begins, each model in its own time."""
    alarm, found = Alarm(), []
    ends_ms = [from_ms for from_ms, _ in models[1:]] + [FOREVER_MS]
    for (from_ms, whole), until_ms in zip(models, ends_ms, strict=True):
        model = whole.without_rule()
        part = series.between(from_ms - WARM_UP_MS, until_ms + STEP_MS)
        starts, scores = scored(model, part)
        # A step is judged when the first minute after it is over.
        after = np.searchsorted(part.start_ms, starts + STEP_MS)
        told_ms = part.start_ms[after]
        for number in np.flatnonzero((told_ms >= from_ms) & (told_ms < until_ms)).tolist():
            alarm.step(model, scores[number].tolist())
            if alarm.begins:
                found.append(int(starts[number]) + STEP_MS)
    return found
