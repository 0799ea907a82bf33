"""A refit has to prove itself before it is taken; limits keep their budget."""

import re
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tinymodels.detect.homes import MIDNIGHT_MS, home
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import (
    CLEAR_MS,
    MERGE_MS,
    Alarm,
    FitRefusedError,
    Options,
    events,
    merged,
)
from tinymodels.detect.limits import DAYS_PER_MONTH, choose_limit
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Minutes, Times
from tinymodels.detect.refit import SLACK, refit

OPTIONS = Options(ZoneInfo("UTC"), 4.0)


@pytest.fixture(scope="module")
def champion() -> CombinedModel:
    return FITTER.fit(home(21), OPTIONS)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 2878, 2880, 2883])
def test_a_model_warms_up_as_if_it_had_judged(champion: CombinedModel, count: int) -> None:
    minutes = home(5, 7)
    minutes = Minutes(
        np.delete(minutes.start_ms, [700, 701]), np.delete(minutes.values, [700, 701], 0)
    )
    part = Minutes(minutes.start_ms[:count], minutes.values[:count])
    stepped = champion.new_state()
    for row in part.rows():
        champion.step(stepped, row)
    warmed = champion.load_state(champion.dump_state(champion.warmed(part)))
    later = Minutes(minutes.start_ms[count : count + 30], minutes.values[count : count + 30])
    expected = [champion.step(stepped, row) for row in later.rows()]
    told = [champion.step(warmed, row) for row in later.rows()]
    assert [one is None for one in told] == [one is None for one in expected]
    scores = [[one.score for one in all_ if one is not None] for all_ in (told, expected)]
    assert scores[0] == pytest.approx(scores[1])
    assert champion.explain(warmed).since_ms == champion.explain(stepped).since_ms


def test_the_first_fit_is_taken() -> None:
    made = refit(home(10), OPTIONS, None)
    assert made.model is not None
    assert made.why == "first fit"


def test_too_little_history_is_refused() -> None:
    with pytest.raises(FitRefusedError):
        refit(home(5), OPTIONS, None)


def test_a_refit_as_good_as_the_old_one_is_taken(champion: CombinedModel) -> None:
    made = refit(home(28), OPTIONS, champion)
    assert made.model is not None, made.why
    assert made.model.trained[1] > champion.trained[1]


def test_a_refit_that_finds_less_is_not_taken(
    champion: CombinedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FITTER.fit_examples
    monkeypatch.setattr(FITTER, "fit_examples", lambda *args: fit(*args).with_limit(1000.0))
    made = refit(home(28), OPTIONS, champion)
    assert made.model is None
    said = re.search(r"and (\d+) faults found of 15; the old one \d+ and (\d+)", made.why)
    assert said is not None, made.why
    assert int(said[1]) < int(said[2]) - SLACK


def test_a_refit_that_cries_is_not_taken(
    champion: CombinedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FITTER.fit_examples
    monkeypatch.setattr(FITTER, "fit_examples", lambda *args: fit(*args).with_limit(0.3))
    assert refit(home(28), OPTIONS, champion).model is None


class Plain(NamedTuple):
    """What counting events needs of a model."""

    limit: float
    step_ms: int = STEP_MS

    @property
    def clear_limit(self) -> float:
        return 0.7 * self.limit

    def with_limit(self, limit: float) -> "Plain":
        return self._replace(limit=limit)


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


LEVELS = st.sampled_from([0.0, 1.0, 1.5, 3.0, 7.0, 30.0])
RUNS = st.lists(st.tuples(LEVELS, st.integers(1, 90)), max_size=12)


# ... and how much of each level the second and the third family of a step have.
SHARES = st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0]), min_size=24, max_size=24)


@settings(max_examples=200, deadline=None)
@given(RUNS, SHARES, st.integers(1, 3), st.integers(0, 20), st.integers(0, 900))
def test_events_are_what_the_alarm_does_step_by_step(
    runs: list[tuple[float, int]], shares: list[float], families: int, hole: int, snapshot: int
) -> None:
    model = Plain(2.0)
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
            kept = {"age_ms": alarm.age_ms, "scores": alarm.scores, "family": alarm.family}
            alarm = Alarm(alarm.quiet_ms, **kept)  # type: ignore[arg-type]
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
