"""Prices by the week's quarter hours, on the site's own clock, also when that changes."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from gateway.pipeline.tariffs import (
    DAY_MIN,
    NO_PRICE,
    QUARTER_MS,
    Entry,
    Plan,
    Prices,
    day_bounds,
)

ALL = tuple(range(7))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Lisbon", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
# Days on which the clocks of these zones change, or somewhere between.
DAYS = st.dates(date(2024, 1, 1), date(2027, 12, 31))


def flat(price: str, valid_from: date = date(2020, 1, 1), name: str = "p") -> Plan:
    entries = (Entry(ALL, 0, DAY_MIN, Decimal(price)),)
    return Plan(name, name, valid_from, "EUR", entries, Decimal("0.05"), Decimal("0.3"))


def night_and_day(begin_min: int, end_min: int, valid_from: date = date(2020, 1, 1)) -> Plan:
    """Return a plan whose night may pass midnight."""
    entries = (
        Entry(ALL, begin_min, end_min, Decimal("0.10")),
        Entry(ALL, end_min, begin_min, Decimal("0.30")),
    )
    return Plan("n", "n", valid_from, "EUR", entries, Decimal(0), Decimal(0))


def ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def midnight(day: date, zone: ZoneInfo) -> int:
    return ms(datetime(day.year, day.month, day.day, tzinfo=zone))


@given(DAYS, st.integers(1, 40), st.sampled_from(ZONES), st.integers(0, 95), st.integers(0, 95))
@settings(max_examples=25, deadline=None)
def test_segments_cover_the_time_once_and_tell_the_wall_clock_s_price(
    day: date, days: int, name: str, begin: int, end: int
) -> None:
    zone = ZoneInfo(name)
    if begin == end:
        end = (begin + 1) % 96
    plan = night_and_day(begin * 15, end * 15)
    start_ms, end_ms = midnight(day, zone), midnight(day + timedelta(days=days), zone)
    found = list(Prices([plan], zone).segments(start_ms, end_ms))
    assert (found[0].from_ms, found[-1].to_ms) == (start_ms, end_ms)
    assert all(a.to_ms == b.from_ms for a, b in pairwise(found))
    week = plan.week()
    for segment in found:
        for at_ms in (segment.from_ms, segment.to_ms - QUARTER_MS):
            wall = (EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
            quarter = wall.weekday() * 96 + (wall.hour * 60 + wall.minute) // 15
            assert segment.price == week[quarter]


@given(DAYS, st.sampled_from(ZONES))
@settings(max_examples=25, deadline=None)
def test_a_day_s_bounds_are_its_midnights(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    begin_ms, end_ms = midnight(day, zone), midnight(day + timedelta(days=1), zone)
    for at_ms in (begin_ms, end_ms - 1, (begin_ms + end_ms) // 2):
        assert day_bounds(at_ms, zone) == (begin_ms, end_ms)


@pytest.mark.parametrize(("day", "quarters"), [("2026-03-29", 92), ("2026-10-25", 100)])
def test_the_night_is_an_hour_shorter_or_longer_when_the_clocks_change(
    day: str, quarters: int
) -> None:
    zone = ZoneInfo("Europe/Lisbon")
    begin_ms, end_ms = day_bounds(midnight(date.fromisoformat(day), zone), zone)
    assert (end_ms - begin_ms) // QUARTER_MS == quarters
    cheap = sum(
        segment.to_ms - segment.from_ms
        for segment in Prices([night_and_day(22 * 60, 8 * 60)], zone).segments(begin_ms, end_ms)
        if segment.price == Decimal("0.10")
    )
    assert cheap // QUARTER_MS == 40 + quarters - 96


def test_a_plan_holds_until_the_next_begins_and_nothing_before_the_first() -> None:
    zone = ZoneInfo("Europe/Lisbon")
    plans = [flat("0.3", date(2026, 2, 1), "b"), flat("0.2", date(2026, 1, 1), "a")]
    start_ms, end_ms = midnight(date(2025, 12, 31), zone), midnight(date(2026, 2, 2), zone)
    found = list(Prices(plans, zone).segments(start_ms, end_ms))
    told = [(segment.plan.id if segment.plan else None, segment.price) for segment in found]
    assert told[0] == (None, NO_PRICE)
    assert told[1:32] == [("a", Decimal("0.2"))] * 31
    assert told[32:] == [("b", Decimal("0.3"))]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((Entry((0,), 0, DAY_MIN, Decimal(1)),), "Tuesday 00:00 has no price"),
        ((Entry(ALL, 0, DAY_MIN, Decimal(1)), Entry((6,), 23 * 60, 60, Decimal(2))),
         "Sunday 23:00 has two prices"),
        ((Entry(ALL, 0, 8 * 60, Decimal(1)), Entry(ALL, 9 * 60, DAY_MIN, Decimal(2))),
         "Monday 08:00 has no price"),
    ],
)  # fmt: skip
def test_a_week_that_is_not_covered_once_is_refused(entries: tuple[Entry, ...], said: str) -> None:
    plan = Plan("x", "x", date(2026, 1, 1), "EUR", entries, Decimal(0), Decimal(0))
    with pytest.raises(BadInputError, match=said):
        plan.week()
