"""Prices of energy by the site's local time: dated plans over the quarter hours of a week."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
QUARTER_MIN = 15
QUARTER_MS = QUARTER_MIN * 60_000
DAY_MIN = 24 * 60
DAY_QUARTERS = DAY_MIN // QUARTER_MIN
WEEK_QUARTERS = 7 * DAY_QUARTERS
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Entry(NamedTuple):
    """One price: on these days (0 = Monday) from a minute of the day to another.

    `to_min` at or before `from_min` is the next morning's.
    """

    days: tuple[int, ...]
    from_min: int
    to_min: int
    price: Decimal  # of a kWh

    def quarters(self) -> Iterator[int]:
        """Yield the quarter hours of the week that this price holds in."""
        end_min = self.to_min if self.to_min > self.from_min else self.to_min + DAY_MIN
        for day in self.days:
            first = day * DAY_QUARTERS + self.from_min // QUARTER_MIN
            for quarter in range(first, first + (end_min - self.from_min) // QUARTER_MIN):
                yield quarter % WEEK_QUARTERS


@dataclass(frozen=True, slots=True)
class Plan:
    """What energy costs from a local day on; `currency` as ISO 4217 has it."""

    id: str
    name: str
    valid_from: date
    currency: str
    entries: tuple[Entry, ...]
    feed_in: Decimal  # paid for a kWh fed in
    standing: Decimal  # of a day

    def week(self) -> tuple[Decimal, ...]:
        """Return the price of each quarter hour of the week, from Monday 00:00.

        Raises BadInputError where one has no price or two.
        """
        prices: list[Decimal | None] = [None] * WEEK_QUARTERS
        for entry in self.entries:
            for quarter in entry.quarters():
                if prices[quarter] is not None:
                    msg = f"import: {_moment(quarter)} has two prices"
                    raise BadInputError(msg)
                prices[quarter] = entry.price
        found = tuple(price for price in prices if price is not None)
        if len(found) < WEEK_QUARTERS:
            msg = f"import: {_moment(prices.index(None))} has no price"
            raise BadInputError(msg)
        return found


class Segment(NamedTuple):
    """A time [from, to) of one local day with one price; `plan` None where none holds."""

    from_ms: int
    to_ms: int
    plan: Plan | None
    price: Decimal


NO_PRICE = Decimal(0)


class Prices:
    """All plans of a site."""

    def __init__(self, plans: Iterable[Plan], zone: ZoneInfo) -> None:
        """Raise BadInputError for a plan whose week is not covered exactly once."""
        self._plans = sorted(plans, key=lambda plan: plan.valid_from)
        self._weeks = [plan.week() for plan in self._plans]
        self._zone = zone

    def __bool__(self) -> bool:
        return bool(self._plans)

    def segments(self, start_ms: int, end_ms: int) -> Iterator[Segment]:
        """Yield [start, end) in time order, cut at local midnights and where the price changes."""
        day = _local(start_ms, self._zone).date()
        while True:
            begin_ms, after_ms = _midnight(day, self._zone), _midnight(_next(day), self._zone)
            if begin_ms >= end_ms:
                return
            for segment in self._day(day, begin_ms, after_ms):
                from_ms, to_ms = max(segment.from_ms, start_ms), min(segment.to_ms, end_ms)
                if from_ms < to_ms:
                    yield segment._replace(from_ms=from_ms, to_ms=to_ms)
            day = _next(day)

    def _day(self, day: date, begin_ms: int, after_ms: int) -> Iterator[Segment]:
        at = sum(plan.valid_from <= day for plan in self._plans) - 1
        if at < 0:
            yield Segment(begin_ms, after_ms, None, NO_PRICE)
            return
        plan, prices = self._plans[at], self._prices(self._weeks[at], day, begin_ms, after_ms)
        cuts = [
            index for index, (before, price) in enumerate(pairwise(prices), 1) if before != price
        ]
        for first, end in pairwise([0, *cuts, len(prices)]):
            to_ms = min(begin_ms + end * QUARTER_MS, after_ms)
            yield Segment(begin_ms + first * QUARTER_MS, to_ms, plan, prices[first])

    def _prices(
        self, week: Sequence[Decimal], day: date, begin_ms: int, after_ms: int
    ) -> Sequence[Decimal]:
        """Return the price of each quarter hour that passes on a local day: 92, 96 or 100."""
        first = day.weekday() * DAY_QUARTERS
        if after_ms - begin_ms == DAY_QUARTERS * QUARTER_MS:
            return week[first : first + DAY_QUARTERS]
        found = []
        for at_ms in range(begin_ms, after_ms, QUARTER_MS):  # the clocks change: ask the wall
            wall = _local(at_ms, self._zone)
            found.append(week[first + (wall.hour * 60 + wall.minute) // QUARTER_MIN])
        return found


def day_bounds(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return the begin and end of the local day that holds a time."""
    day = _local(at_ms, zone).date()
    return _midnight(day, zone), _midnight(_next(day), zone)


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + at_ms * MILLISECOND).astimezone(zone)


def _midnight(day: date, zone: ZoneInfo) -> int:
    moment = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (moment.astimezone(UTC) - EPOCH) // MILLISECOND


def _moment(quarter: int) -> str:
    day, rest = divmod(quarter, DAY_QUARTERS)
    hours, minutes = divmod(rest * QUARTER_MIN, 60)
    return f"{DAY_NAMES[day]} {hours:02}:{minutes:02}"
