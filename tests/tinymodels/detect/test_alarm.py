"""Alarms: when they begin, begin anew and end, and that a series gives what single steps give."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tinymodels.detect.homes import MIDNIGHT_MS
from tinymodels.detect.alarm import Alarm, followed
from tinymodels.detect.contract import ONE, Sources
from tinymodels.detect.events import CLEAR_MS, MERGE_MS, Event, events, merged
from tinymodels.detect.limits import DAYS_PER_MONTH, choose_limit
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Times
from tinymodels.detect.pace import Pace


class Plain(NamedTuple):
    """What counting events needs of a model."""

    limit: float
    step_ms: int = STEP_MS
    sources: Sources = ONE

    @property
    def clear_limit(self) -> float:
        return 0.7 * self.limit

    def with_limit(self, limit: float) -> "Plain":
        return self._replace(limit=limit)


def plain(families: int, alarms_per_month: float = 0.0, per_family: int = 1) -> Plain:
    """Return a model of so many families, each of so many sources."""
    names = tuple(f"{family}.{at}" for family in range(families) for at in range(per_family))
    places = tuple(family for family in range(families) for _ in range(per_family))
    return Plain(2.0, sources=Sources(names, places, alarms_per_month))


LEVELS = st.sampled_from([0.0, 1.0, 1.5, 3.0, 7.0, 30.0])
RUNS = st.lists(st.tuples(LEVELS, st.integers(1, 90)), max_size=12)

SOME = RUNS.filter(lambda runs: len(runs) > 0)


# ... and how much of each level the second and the third family of a step have.
SHARES = st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0]), min_size=24, max_size=24)


@settings(max_examples=200, deadline=None)
@given(RUNS, SHARES, st.integers(1, 3), st.integers(0, 20), st.integers(0, 900))
def test_events_are_what_the_alarm_does_step_by_step(
    runs: list[tuple[float, int]], shares: list[float], families: int, hole: int, snapshot: int
) -> None:
    model = plain(families)
    rows = [
        (level, level * shares[number], level * shares[12 + number])[:families]
        for number, (level, count) in enumerate(runs)
        for _ in range(count)
    ]
    scores = np.array(rows).reshape(-1, families)
    starts = MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64)
    starts[len(scores) // 2 :] += hole * STEP_MS
    alarm, expected, was = Alarm(), [], False
    for number, (start_ms, row) in enumerate(zip(starts.tolist(), scores.tolist(), strict=True)):
        if number == snapshot:
            alarm = alarm.copied()
        alarm.step(model, row)  # type: ignore[arg-type]
        if was and (alarm.begins or not alarm.on):
            expected.append(start_ms + STEP_MS)
        if alarm.begins:
            expected.append(start_ms + STEP_MS)
        was = alarm.on
    if was:
        expected.append(int(starts[-1]) + STEP_MS)
    found = events(model, starts, scores)  # type: ignore[arg-type]
    if families == 1:
        assert found == events(model, starts, scores[:, 0])  # type: ignore[arg-type]
    assert [at_ms for one in found for at_ms in (one.from_ms, one.to_ms)] == expected
    assert all(one.to_ms - one.from_ms >= CLEAR_MS for one in found[:-1])
    for before, one in pairwise(found):
        assert not one.anew or one.from_ms - before.from_ms >= MERGE_MS


def series(*runs: tuple[float, float]) -> tuple[Times, Floats]:
    """Return scores that hold a level for so many hours each."""
    scores = np.array([level for level, hours in runs for _ in range(round(12 * hours))])
    return MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64), scores


def begins(*runs: tuple[float, float]) -> list[tuple[float, bool]]:
    """Return after how many hours events begin, and which of them take another's place."""
    found = events(Plain(2.0), *series(*runs))  # type: ignore[arg-type]
    return [((one.from_ms - MIDNIGHT_MS) / 3_600_000, one.anew) for one in found]


def test_what_comes_beside_an_open_alarm_is_raised_anew() -> None:
    assert begins((0, 8), (3, 20), (9, 4)) == [(8 + 1 / 12, False), (28 + 1 / 12, True)]
    assert len(begins((0, 8), (3, 20), (4, 4))) == 1  # not far more than before
    assert len(begins((0, 8), (3, 4), (9, 4))) == 1  # told of just now
    assert len(begins((0, 8), (9, 20), (3, 8), (9, 4))) == 2  # what was is forgotten in hours
    assert len(begins((0, 8), (9, 20), (3, 1), (9, 4))) == 1
    slow = [(3 * 1.02**step, 0.5) for step in range(60)]
    assert len(begins((0, 8), *slow)) == 1  # one that grows slowly is one


def test_a_budget_counts_what_was_raised_anew() -> None:
    model = Plain(2.0)
    found = events(model, *series((0, 8), (3, 20), (9, 2), (3, 2), (0, 3), (3, 2)))  # type: ignore[arg-type]
    assert [one.anew for one in found] == [False, True, False]
    assert len(merged(found)) == 2  # the last follows within hours


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(100, 4000), st.floats(0.5, 60))
def test_a_limit_keeps_the_budget_on_what_it_was_chosen_on(
    seed: int, count: int, budget: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.exponential(rng.uniform(0, 5, count))
    starts = MIDNIGHT_MS + STEP_MS * np.arange(count, dtype=np.int64)
    model = Plain(1.0)
    limit = choose_limit(model, starts, scores, budget)  # type: ignore[arg-type]
    found = merged(events(model.with_limit(limit), starts, scores))  # type: ignore[arg-type]
    assert len(found) <= budget * count * STEP_MS / DAY_MS / DAYS_PER_MONTH


def stepped(model: Plain, alarm: Alarm, starts: Times, scores: Floats) -> list[int]:
    """Return when events begin and end, one step at a time."""
    found, was = [], alarm.on
    begun = False
    for start_ms, row in zip(starts.tolist(), scores.tolist(), strict=True):
        alarm.step(model, row)  # type: ignore[arg-type]
        if begun and was and (alarm.begins or not alarm.on):
            found.append(start_ms + STEP_MS)
        if alarm.begins:
            begun = True
            found.append(start_ms + STEP_MS)
        was = alarm.on
    return [*found, int(starts[-1]) + STEP_MS] if begun and was else found


@settings(max_examples=150, deadline=None)
@given(SOME, SHARES, st.floats(0, 400), st.lists(st.integers(0, 1000), max_size=3))
def test_a_series_that_is_followed_gives_what_its_steps_give(
    runs: list[tuple[float, int]], shares: list[float], allowed: float, marks: list[int]
) -> None:
    model = plain(2, allowed, per_family=2)
    scores = np.array(
        [
            # None is exactly as loud as another: which of those raised it, rounding decides.
            [
                level,
                *(level * shares[part * 8 + number % 8] * (0.97 - part / 50) for part in range(3)),
            ]
            for number, (level, count) in enumerate(runs)
            for _ in range(count)
        ]
    )
    starts = MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64)
    marks_ms = [MIDNIGHT_MS + STEP_MS * at for at in sorted(marks)]
    alarm = Alarm()
    found, stood = followed(model, alarm, starts, scores, marks_ms)  # type: ignore[arg-type]
    one = Alarm()
    expected = stepped(model, one, starts, scores)
    assert [at_ms for event in found for at_ms in (event.from_ms, event.to_ms)] == expected
    assert alarm.pace.louder == pytest.approx(one.pace.louder)
    assert alarm.pace.fallen == pytest.approx(one.pace.fallen)
    assert len(stood) == len(marks_ms)
    for mark_ms, at_mark in zip(marks_ms, stood, strict=True):
        rest = starts >= mark_ms
        later, _ = followed(model, at_mark, starts[rest], scores[rest])  # type: ignore[arg-type]
        assert [event.from_ms for event in later] == [
            event.from_ms for event in found if event.from_ms > mark_ms
        ]


def test_what_raised_an_alarm_must_be_louder_for_the_next() -> None:
    model = plain(1, 4.0, per_family=2)
    starts, loud = series((0, 1), (2.1, 2), (0, 20), (2.1, 2))
    silent = np.zeros_like(loud)
    alike, other = np.stack((loud, silent), axis=1), np.stack((loud, silent), axis=1)
    other[len(other) // 2 :] = other[len(other) // 2 :, ::-1]

    def count(scores: Floats) -> int:
        found, _ = followed(model, Alarm(), starts, scores)  # type: ignore[arg-type]
        return len(found)

    assert count(alike) == 1
    assert count(other * 1.06) == 2  # another source, of which less is asked
    assert len(events(model, starts, alike)) == 2  # type: ignore[arg-type]


def test_a_series_without_rows_has_no_events() -> None:
    starts, scores = series()
    assert followed(plain(1), Alarm(), starts, scores.reshape(0, 1)) == ([], [])  # type: ignore[arg-type]


def test_an_event_that_is_on_at_the_end_is_told_of_until_there() -> None:
    starts, scores = series((0, 1), (3, 1))
    (event,), _ = followed(plain(1), Alarm(), starts, scores)  # type: ignore[arg-type]
    end_ms = int(starts[-1]) + STEP_MS
    assert event == Event(MIDNIGHT_MS + 13 * STEP_MS, end_ms, 3.0)
    assert Alarm().pace == Pace()
