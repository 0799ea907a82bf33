"""One alarm going through the months of a test, and from where a fault begins through the fault."""

from collections.abc import Collection

import numpy as np

from tinymodels.detect.alarm import Alarm, followed
from tinymodels.detect.contract import Model
from tinymodels.detect.events import Event
from tinymodels.detect.minutes import Floats, Times, block_of
from tinymodels.detect.pace import Pace


class Listener:
    """An alarm as the daemon would have it: what it raised stays with it from month to month."""

    def __init__(self) -> None:
        """Begin with one that has raised nothing."""
        self._alarm: Alarm | None = None
        self._stood: dict[int, Alarm] = {}

    def month(
        self,
        model: Model,
        heard: tuple[Times, Floats],
        month_ms: tuple[int, int],
        faults_ms: Collection[int],
    ) -> list[Event]:
        """Return the events of a month and what follows it, by scores as `scored` gives them.

        Scores before the month serve to know whether the first one finds the alarm on.
        `faults_ms` is when faults will be put into it.
        """
        starts, scores = heard
        first = _row(model, starts, month_ms[0])
        if self._alarm is None:
            self._alarm = Alarm()
            followed(model, self._alarm, starts[:first], scores[:first])
            self._alarm.pace = Pace()
        begins_ms = sorted({block_of(at_ms) for at_ms in faults_ms})
        marks_ms = [_from(model, at_ms) for at_ms in (*begins_ms, month_ms[1])]
        alarm = self._alarm.copied()
        found, stood = followed(model, alarm, starts[first:], scores[first:], marks_ms)
        self._alarm = stood.pop()
        self._stood = dict(zip(begins_ms, stood, strict=True))
        return found

    def fault(self, model: Model, heard: tuple[Times, Floats], at_ms: int) -> list[Event]:
        """Return the events of the month's scores with a fault in them, from its start on."""
        starts, scores = heard
        begin_ms = block_of(at_ms)
        first = _row(model, starts, begin_ms)
        return followed(model, self._stood[begin_ms].copied(), starts[first:], scores[first:])[0]


def _from(model: Model, at_ms: int) -> int:
    """Return from when on steps begin that are not over at a time."""
    return at_ms - model.step_ms + 1


def _row(model: Model, starts: Times, at_ms: int) -> int:
    return int(np.searchsorted(starts, _from(model, at_ms)))
