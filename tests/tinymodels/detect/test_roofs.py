"""Roofs judged day by day: what the offline evaluation says, resumed at any day, at any pace."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.roofs import FAULT_DAY, FROM_MS, roof
from tinymodels.detect.contract import Options
from tinymodels.detect.events import events
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.roofs import (
    MEMORY_DAYS,
    TRAILING_DAYS,
    DayJudged,
    judge_days,
    month_of,
)
from tinymodels.detect.solar import SolarFitter, sun_like, yields

FIRST = FROM_MS // DAY_MS
OPTIONS = Options(ZoneInfo("UTC"), 4.0)
SPAN = (FIRST, FIRST + 140)


def judged(minutes: Minutes, span: tuple[int, int] = SPAN, **more: object) -> list[DayJudged]:
    return list(judge_days(minutes, span, OPTIONS, **more))  # type: ignore[arg-type]


def test_a_lost_string_is_told_in_a_week_and_clouds_are_not() -> None:
    assert not any(day.score > day.limit for day in judged(roof()))
    found = [day for day in judged(roof(lost=0.4)) if day.score > day.limit]
    assert 0 <= found[0].day - FIRST - FAULT_DAY <= 7
    assert found[-1].best == pytest.approx(0.6, abs=0.1)
    assert found[0].given_w == pytest.approx(0.6 * found[0].usual_w, rel=0.1)
    assert FAULT_DAY <= found[0].since_day - FIRST <= FAULT_DAY + 7


def test_the_same_events_as_the_evaluation_by_the_month() -> None:
    minutes = roof(lost=0.35, until=115)
    days = judged(minutes)
    expected = []
    first_day = days[0].day
    while first_day < SPAN[1]:
        from_day, to_day = month_of(first_day)
        span_ms = ((from_day - TRAILING_DAYS) * DAY_MS, from_day * DAY_MS)
        model = SolarFitter().fit(minutes.between(*span_ms), OPTIONS)
        before_ms = (from_day - MEMORY_DAYS) * DAY_MS
        starts, scores = model.score(minutes.between(before_ms, (to_day + 1) * DAY_MS))
        found = events(model, starts, scores)
        expected += [one.from_ms for one in found if from_day * DAY_MS < one.from_ms]
        first_day = to_day
    on, told = False, []
    for day in days:
        now = day.score > day.limit or (on and day.score >= day.clear_limit)
        if now and not on:
            told.append(day.end_ms)
        on = now
    assert told
    assert told == expected


@settings(max_examples=8, deadline=None)
@given(st.integers(61, 139), st.integers(0, 3))
def test_it_goes_on_at_any_day(cut: int, hours: int) -> None:
    minutes = roof(lost=0.3, until=120)
    minutes = minutes.without([((FIRST + 80) * DAY_MS, (FIRST + 81) * DAY_MS + hours * 3_600_000)])
    whole = judged(minutes)
    parts = judged(minutes, (FIRST, FIRST + cut)) + judged(minutes, (FIRST + cut, SPAN[1]))
    assert [day.day for day in parts] == [day.day for day in whole]
    for part, one in zip(parts, whole, strict=True):
        assert part.score == one.score
        assert part.known == one.known


def test_missing_data_says_nothing() -> None:
    """A week unknown about noon: neither an alarm, nor that all is well."""
    minutes = roof(lost=0.4)
    noon = (minutes.start_ms % DAY_MS) // 3_600_000
    dark = (minutes.start_ms >= FROM_MS + 120 * DAY_MS) & (noon >= 8) & (noon < 18)
    minutes.values[dark] = np.nan
    last = judged(minutes)[-1]
    assert not last.known


def test_neighbours_tell_clouds_from_losses() -> None:
    peers = sun_like([yields(roof(seed=seed, sky=5)) for seed in (7, 8)])
    cloudy = judged(roof(sky=5), peers=peers)
    assert not any(day.score > day.limit for day in cloudy)
    assert cloudy[-1].beside == pytest.approx(1.0, abs=0.2)
    found = [day for day in judged(roof(sky=5, lost=0.3), peers=peers) if day.score > day.limit]
    assert found[0].day - FIRST - FAULT_DAY <= 4


def test_the_time_of_an_alert_is_no_measure_for_limits() -> None:
    """A fault that was told of does not widen the limits of the months after it."""
    minutes = roof(240, lost=0.4, until=170)
    fault = ((FIRST + FAULT_DAY) * DAY_MS, (FIRST + 170) * DAY_MS)
    span = (FIRST + 200, FIRST + 240)
    wide = judged(minutes, span)[-1]
    narrow = judged(minutes, span, left_out_ms=[fault])[-1]
    assert narrow.score >= wide.score


def test_without_two_months_of_history_nothing_is_said() -> None:
    assert judged(roof(58), (FIRST, FIRST + 58)) == []
