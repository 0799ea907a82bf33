"""An alarm: from a model's scores, step by step, to one condition that is on or off."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from tinymodels.detect.contract import Model, Sources, sources_of
from tinymodels.detect.events import AGAIN, CLEAR_MS, MERGE_MS, OFF, Event, before
from tinymodels.detect.minutes import Floats, Times
from tinymodels.detect.pace import Pace

LOOKED_AHEAD: Final = 2048  # steps, while an alarm is off


class Alarm:
    """From scores to one condition: on above the limit, off after an hour below `clear_limit`.

    Each family of scores is on or off by itself, and the alarm is on while any of them is.
    `begins` tells whether the last step raised it, or raised it anew: while it is on, and six
    hours or more after it was raised last, a family that was off goes above the limit, or one
    reaches AGAIN times what it reached hours before. `source` is what raised it last, and `heard`
    are the last step's scores by source as the `pace` of its alarms has them count.
    The daemon and the evaluation use this same class, so that both count the same events.
    """

    __slots__ = ("age_ms", "begins", "heard", "pace", "quiet_ms", "scores", "source")

    def __init__(
        self,
        quiet_ms: Sequence[int] = (),
        *,
        age_ms: int = 0,
        scores: Sequence[float] = (),
        source: str = "",
        pace: Pace | None = None,
    ) -> None:
        """Go on from what was remembered; `quiet_ms` of (0,) is one that is on, whatever of."""
        self.quiet_ms = list(quiet_ms)  # by family, since when below the clear limit; OFF
        self.age_ms = age_ms  # since it was raised last
        # Of the last hours in which it was on, all families of a step side by side; no others
        # are asked for.
        self.scores = list(scores)
        self.source = source
        self.pace = pace or Pace()
        self.heard: list[float] = []
        self.begins = False

    @property
    def on(self) -> bool:
        """Tell whether the condition holds."""
        return any(quiet_ms != OFF for quiet_ms in self.quiet_ms)

    def copied(self) -> "Alarm":
        """Return one that goes on from here by itself."""
        return Alarm(
            self.quiet_ms, age_ms=self.age_ms, scores=self.scores, source=self.source,
            pace=self.pace,
        )  # fmt: skip

    def step(self, model: Model, scores: Sequence[float]) -> bool:
        """Take in one step's scores, by source; return whether the condition holds."""
        sources = sources_of(model)
        self.pace = self.pace.of(sources)
        self.heard = self.pace.heard(sources, scores)
        loudest = _loudest(sources, self.heard)
        self._fit(len(loudest))
        was = self.on
        self.age_ms += model.step_ms
        families = [self.heard[at] for at in loudest]
        new = [at for at, score in enumerate(families) if self._raises(model, at, score)]
        if not was:
            new = [at for at, quiet_ms in enumerate(self.quiet_ms) if quiet_ms != OFF]
        self.begins = bool(new)
        if new:
            self.age_ms = 0
            self.source = sources.names[loudest[max(new, key=families.__getitem__)]]
            self.pace = self.pace.raised(sources, self.source)
        self.pace = self.pace.aged(sources, model.step_ms)
        kept = before(model.step_ms)[0] * len(families)
        self.scores = [*self.scores, *families][-kept:] if kept and self.on else []
        return self.on

    def rest(self, model: Model, scores: Floats) -> int:
        """Pass over steps (step, source) that raise nothing; return how many those are.

        For a whole series, while the alarm is off.
        """
        sources = sources_of(model)
        self.pace = self.pace.of(sources)
        heard = self.pace.heard_ahead(sources, scores, model.step_ms)
        above = np.flatnonzero(heard.max(axis=1) > model.limit)
        count = int(above[0]) if len(above) else len(scores)
        self.age_ms += count * model.step_ms
        self.pace = self.pace.aged(sources, count * model.step_ms)
        return count

    def _fit(self, count: int) -> None:
        """Take over what another number of families left: whichever they were, all are on."""
        if len(self.quiet_ms) != count:
            quiet_ms = min((one for one in self.quiet_ms if one != OFF), default=OFF)
            self.quiet_ms = [quiet_ms] * count
            self.scores = []

    def _raises(self, model: Model, at: int, score: float) -> bool:
        """Take in one family's score; return whether it raises anew an alarm that is on."""
        quiet_ms = self.quiet_ms[at]
        if score > model.limit:
            self.quiet_ms[at] = 0
            if self.age_ms < MERGE_MS:
                return False
            return quiet_ms == OFF or score > AGAIN * self._reached(model.step_ms, at)
        if quiet_ms != OFF:
            quiet_ms = quiet_ms + model.step_ms if score < model.clear_limit else 0
            self.quiet_ms[at] = quiet_ms if quiet_ms < CLEAR_MS else OFF
        return False

    def _reached(self, step_ms: int, at: int) -> float:
        """Return a family's greatest score of some hours ago, inf where it is not known."""
        first, last = before(step_ms)
        if not first:
            return math.inf
        known = self.scores[at :: len(self.quiet_ms)]
        return max(known[-first : len(known) - last + 1], default=math.inf)


def _loudest(sources: Sources, scores: Sequence[float]) -> list[int]:
    """Return the place of each family's loudest source."""
    found = [-1] * (max(sources.families) + 1)
    for at, family in enumerate(sources.families):
        if found[family] < 0 or scores[at] > scores[found[family]]:
            found[family] = at
    return found


def followed(
    model: Model, alarm: Alarm, start_ms: Times, scores: Floats, marks_ms: Sequence[int] = ()
) -> tuple[list[Event], list[Alarm]]:
    """Return the events that an alarm raises over a series, and how it stood before each mark.

    Scores are as `scored` gives them. An event begins at the END of the step that was above:
    that is when anybody can know; one that is on at the end is told of until there. The alarm goes
    on from how it stands; `marks_ms` are in time order.
    """
    found: list[Event] = []
    stood: list[Alarm] = []
    rows, at = scores if scores.ndim > 1 else scores[:, None], 0
    ends_ms = (start_ms + model.step_ms).tolist()
    for stop in [*np.searchsorted(start_ms, np.asarray(marks_ms, np.int64)).tolist(), len(rows)]:
        while at < stop:
            if not alarm.on:
                at += alarm.rest(model, rows[at : min(stop, at + LOOKED_AHEAD)])
            if at < stop:
                was = alarm.on
                alarm.step(model, rows[at].tolist())
                if found or alarm.begins:
                    _take_in(found, alarm, ends_ms[at], was=was)
                at += 1
        stood.append(alarm.copied())
    return found, stood[:-1]


def _take_in(found: list[Event], alarm: Alarm, end_ms: int, *, was: bool) -> None:
    """Begin, go on with or end an event by what the alarm made of one step."""
    peak = max(alarm.heard)
    if was and found:
        last = found.pop()
        found.append(Event(last.from_ms, end_ms, max(last.peak, peak), last.anew))
    if alarm.begins:
        found.append(Event(end_ms, end_ms, peak, anew=was))
