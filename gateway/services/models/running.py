"""Runs one model beside another on a channel's minutes, and says what it makes of the home."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from gateway.pipeline.rollups import Bucket
from gateway.services.hang_guard import DetectorHungError, HangGuard
from gateway.services.models.forms import AT_FIRST_MINUTE, Facts
from gateway.services.models.rules import MOST_STEP_US
from tinymodels.detect.alarm import Alarm
from tinymodels.detect.contract import Model
from tinymodels.detect.minutes import Row, or_nan
from tinymodels.detect.pace import Pace

MOST_EVENTS = 500
TIMED_MINUTES = 120  # time is judged by the mean over so many
MOST_WAITING = 20_000  # minutes that come while one is warmed up
WARM_MINUTES = 1440  # heard before anything counts: the longest average is over a day


class Step(NamedTuple):
    """A step's two scores; NaN where one of them had none."""

    start_ms: int
    score: float
    champion: float


class TrialFailedError(Exception):
    """The model on trial raised, hung, or gave no number; the text says which."""


class Heard(NamedTuple):
    """A champion where it judges: its model, its state, and how its alarm stands."""

    model: Model
    memory: Callable[[], bytes]
    alarmed: bool
    pace: Pace = Pace()  # that its alarms have set


class Voice:
    """One model with its state, whether it is alarmed, and since when."""

    def __init__(self, model: Model, memory: bytes, events: list[list[int]]) -> None:
        self.model = model
        self.state: Any = model.load_state(memory) if memory else model.new_state()
        self.alarm = Alarm((0,) if events and events[-1][1] == 0 else ())
        self.events = events

    def set_alarm(self, at_ms: int, pace: Pace, *, on: bool) -> None:
        """Begin alarmed, or not, at this pace, whatever was known of it before."""
        if on and not self.alarm.on:
            self.events.append([at_ms, 0])
        elif self.alarm.on and not on:
            self.events[-1][1] = at_ms
        self.alarm = Alarm((0,) if on else (), pace=pace)

    def hear(self, row: Row, *, counts: bool = True) -> float | None:
        """Take in one minute; return the score of the step it closes, None for none.

        One that does not count only makes its averages warm.
        """
        verdict = self.model.step(self.state, row)
        if verdict is None:
            return None
        if not counts:
            return verdict.score
        was = self.alarm.on
        self.alarm.step(self.model, verdict.sources)
        if was and (self.alarm.begins or not self.alarm.on):
            self.events[-1][1] = row.start_ms
        if self.alarm.begins:
            self.events.append([row.start_ms, 0])
            del self.events[:-MOST_EVENTS]
        return verdict.score


class Runner:
    """A trial's model beside its channel's champion; `facts` is all that must be kept.

    One that has seen nothing is `cold`: what comes waits until `warm_up` is through.
    """

    def __init__(self, model: Model, facts: Facts) -> None:
        self.facts = facts
        self._waiting: deque[Row] | None = None if facts.last_ms else deque(maxlen=MOST_WAITING)
        self._own = Voice(model, facts.memory, facts.events)
        self._champion: Voice | None = None
        self._timed = (0, 0)  # minutes, ns

    def take(self, row: Row, champion: Heard | None, guard: HangGuard) -> Step | None:
        """Take in one minute; TrialFailedError when the model on trial must not go on.

        Minutes behind the last one are passed over: what a crash repeats, and late parts.
        """
        facts = self.facts
        if self._waiting is not None:
            self._waiting.append(row)
            return None
        if row.start_ms <= facts.last_ms:
            return None
        if facts.active_from_ms == AT_FIRST_MINUTE:
            facts.active_from_ms = row.start_ms
        if not facts.from_ms and facts.warmed < WARM_MINUTES:
            self._warm(row, guard)
            return None
        facts.from_ms = facts.from_ms or row.start_ms
        facts.last_ms = row.start_ms
        facts.minutes += 1
        other = self._champions(champion, row)
        score = self._own_score(row, guard)
        if score is None:
            return None
        facts.steps += 1
        facts.low, facts.high = min(facts.low, score), max(facts.high, score)
        return Step(row.start_ms - row.start_ms % self._own.model.step_ms, score, other)

    @property
    def cold(self) -> bool:
        """Tell whether it must be warmed up before it is heard."""
        return self._waiting is not None

    def warm_up(self, rows: Iterable[Row], guard: HangGuard) -> Iterator[None]:
        """Take in minutes of the past, then what has come meanwhile; raises as `take`.

        A generator, so that whoever runs it gives others their turn after each minute.
        """
        for row in rows:
            if (self.facts.step_us or 0.0) > MOST_STEP_US:
                break  # it will be refused for that
            self._warm(row, guard)
            yield
        waited, self._waiting = self._waiting or (), None
        for row in waited:
            self.take(row, None, guard)

    def _warm(self, row: Row, guard: HangGuard) -> None:
        """Take in a minute of which nothing counts but that the model takes it well."""
        self.facts.last_ms = row.start_ms
        self.facts.warmed += 1
        self._own_score(row, guard, counts=False)

    def _own_score(self, row: Row, guard: HangGuard, *, counts: bool = True) -> float | None:
        began_ns = time.thread_time_ns()
        guard.begin()
        try:
            score = self._own.hear(row, counts=counts)
        except (Exception, DetectorHungError) as error:
            msg = f"{type(error).__name__}: {error}"[:300]
            raise TrialFailedError(msg) from error
        finally:
            guard.end()
        self._time(time.thread_time_ns() - began_ns)
        if score is not None and not math.isfinite(score):
            msg = f"its score is {score}"
            raise TrialFailedError(msg)
        return score

    def _time(self, took_ns: int) -> None:
        minutes, total_ns = self._timed[0] + 1, self._timed[1] + took_ns
        if minutes >= TIMED_MINUTES:
            self.facts.step_us = total_ns / minutes / 1000
            minutes = total_ns = 0
        self._timed = (minutes, total_ns)

    def _champions(self, champion: Heard | None, row: Row) -> float:
        """Return the champion's score of this minute's step, NaN where it has none.

        One that is new here goes on from what it remembers where it judges, this minute
        included; one that fails is its judge's affair.
        """
        if champion is None:
            self._champion = None
            return math.nan
        try:
            if self._champion is None or self._champion.model is not champion.model:
                events = self.facts.champion_events
                self._champion = Voice(champion.model, champion.memory(), events)
                self._champion.set_alarm(row.start_ms, champion.pace, on=champion.alarmed)
                self._own.alarm.pace = champion.pace  # what the home asks for holds for both
                return math.nan
            score = self._champion.hear(row)
        except Exception:  # noqa: BLE001 - told where it judges
            self._champion = None
            return math.nan
        return math.nan if score is None else score

    def remember(self) -> Facts:
        """Return the facts with the model's memory, for the disk."""
        self.facts.memory = self._own.model.dump_state(self._own.state)
        return self.facts


def row_of(bucket: Bucket) -> Row | None:
    """Return a minute as detectors see it; None where power was not measured."""
    power_w = bucket.mean("p")
    if power_w is None:
        return None
    return Row(
        bucket.start_ms, power_w, or_nan(bucket.p_min), or_nan(bucket.p_max),
        or_nan(bucket.mean("v")), or_nan(bucket.v_max), or_nan(bucket.mean("q")),
        or_nan(bucket.mean("i")),
    )  # fmt: skip
