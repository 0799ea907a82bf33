"""What energy costs: exact against a plain sum, decimal, and unchanged by the clocks."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from gateway.pipeline.tariffs import Plan, Prices
from gateway.services.costing import costs
from gateway.services.energy import Cost, Count, EnergyQuery, boundaries
from gateway.services.tariff_plans import plan_json, read_plan

LISBON = ZoneInfo("Europe/Lisbon")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NIGHT, PEAK = "0.1234", "0.4321"


@dataclass
class Steady:
    """A register that counts `watts_in` and `watts_out` from one time to another, each minute."""

    from_ms: int
    to_ms: int
    watts_in: float = 1000.0
    watts_out: float = 500.0

    def around(self, at_ms: int) -> tuple[Count | None, Count | None]:
        if at_ms < self.from_ms:
            return None, self._at(self.from_ms)
        if at_ms >= self.to_ms:
            return self._at(self.to_ms), None
        floor = at_ms - at_ms % 60_000
        return self._at(floor), self._at(min(floor + 60_000, self.to_ms))

    def _at(self, at_ms: int) -> Count:
        hours = (at_ms - self.from_ms) / HOUR_MS
        return Count(at_ms, 60_000, self.watts_in * hours, self.watts_out * hours)


def plan(valid_from: str = "2020-01-01", currency: str = "EUR", night: str = NIGHT) -> Plan:
    days = list(range(7))
    return read_plan("t", {
        "name": "Night and day", "valid_from": valid_from, "currency": currency,
        "import": [
            {"days": days, "from": "22:00", "to": "08:00", "price_per_kwh": float(night)},
            {"days": days, "from": "08:00", "to": "22:00", "price_per_kwh": float(PEAK)},
        ],
        "feed_in_per_kwh": 0.05, "standing_per_day": 0.3412,
    })  # fmt: skip


def midnight(day: date) -> int:
    moment = datetime(day.year, day.month, day.day, tzinfo=LISBON).astimezone(UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def cost_of(day: date, days: int, by: str, trail: Steady, *plans: Plan) -> list[Cost | None]:
    start_ms, end_ms = midnight(day), midnight(day + timedelta(days=days))
    edges = boundaries(EnergyQuery("m", start_ms, end_ms, by), LISBON)
    return list(costs(Prices(plans, LISBON), {"grid": trail}, {"grid": "grid"}, edges, LISBON))


@pytest.mark.parametrize(
    ("day", "night_hours"),
    [(date(2026, 3, 29), 9), (date(2026, 10, 25), 11), (date(2026, 6, 1), 10)],
)
def test_a_day_of_a_kilowatt(day: date, night_hours: int) -> None:
    trail = Steady(midnight(day - timedelta(days=2)), midnight(day + timedelta(days=3)))
    (found,) = cost_of(day, 1, "day", trail, plan())
    assert found is not None
    imported = Decimal(NIGHT) * night_hours + Decimal(PEAK) * 14
    assert found.imported == imported.quantize(Decimal("0.0001"))
    assert found.fed_in == Decimal("0.025") * (night_hours + 14)
    assert found.standing == Decimal("0.3412")
    assert found.total == found.imported + found.standing - found.fed_in
    assert (found.estimated, found.complete, found.basis) == (False, True, "grid")


@given(st.dates(date(2026, 1, 2), date(2026, 11, 1)), st.integers(1, 33))
@settings(max_examples=8, deadline=None)
def test_days_add_up_to_months_and_hours_to_days(day: date, days: int) -> None:
    trail = Steady(midnight(day), midnight(day + timedelta(days=days)))
    by_day = [c for c in cost_of(day, days, "day", trail, plan()) if c is not None]
    by_month = [c for c in cost_of(day, days, "month", trail, plan()) if c is not None]
    by_hour = [c for c in cost_of(day, days, "hour", trail, plan()) if c is not None]
    assert len(by_day) == days
    for other in (by_month, by_hour):
        for name in ("imported", "fed_in", "standing"):
            whole = sum(getattr(c, name) for c in by_day)
            parts = sum(getattr(c, name) for c in other)
            assert abs(whole - parts) <= Decimal("0.0001") * (len(by_day) + len(other))


def test_a_changed_plan_changes_the_past() -> None:
    day = date(2026, 5, 1)
    trail = Steady(midnight(day), midnight(day + timedelta(days=31)))
    (before,) = cost_of(day, 31, "month", trail, plan())
    (after,) = cost_of(day, 31, "month", trail, plan(night="0.2234"))
    assert before is not None
    assert after is not None
    assert after.imported - before.imported == Decimal("0.1") * 10 * 31


def test_what_no_plan_covers_is_told() -> None:
    day = date(2026, 5, 1)
    trail = Steady(midnight(day), midnight(day + timedelta(days=31)))
    (half,) = cost_of(day, 31, "month", trail, plan("2026-05-16"))
    assert half is not None
    assert not half.complete
    assert half.standing == Decimal("0.3412") * 16
    assert cost_of(day, 31, "month", trail, plan("2026-06-01")) == [None]
    mixed = cost_of(day, 31, "month", trail, plan(), plan("2026-05-10", "USD"))
    assert mixed == [None]
    assert cost_of(day, 31, "month", trail) == [None]


def test_a_change_of_price_in_a_hole_is_an_estimate() -> None:
    class Holed(Steady):
        def around(self, at_ms: int) -> tuple[Count | None, Count | None]:
            assert self.from_ms < at_ms < self.to_ms
            return self._at(self.from_ms), self._at(self.to_ms)._replace(covered_ms=60_000)

    day = date(2026, 6, 1)
    trail = Holed(midnight(day) - DAY_MS, midnight(day) + 3 * DAY_MS)
    (found,) = cost_of(day, 1, "day", trail, plan())
    assert found is not None
    assert found.estimated
    assert found.imported == (Decimal(NIGHT) * 10 + Decimal(PEAK) * 14).quantize(Decimal("0.0001"))


def test_loads_cost_energy_alone() -> None:
    day = date(2026, 6, 1)
    trail = Steady(midnight(day), midnight(day) + DAY_MS)
    edges = [midnight(day), midnight(day) + DAY_MS]
    (found,) = costs(Prices([plan()], LISBON), {"pump": trail}, {"pump": "load"}, edges, LISBON)
    assert found is not None
    assert (found.basis, found.standing, found.fed_in) == ("load", Decimal(0), Decimal(0))
    assert found.imported > 0
    (sun,) = costs(Prices([plan()], LISBON), {"roof": trail}, {"roof": "solar"}, edges, LISBON)
    assert sun is None


def test_plans_come_back_as_they_were_sent() -> None:
    made = plan()
    assert read_plan("t", {k: v for k, v in plan_json(made).items() if k != "id"}) == made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"currency": "euro"}, "currency"), ({"valid_from": "2026-02-30"}, "valid_from"),
        ({"import": []}, "import"), ({"name": " "}, "name"), ({"extra": 1}, "extra"),
        ({"feed_in_per_kwh": float("nan")}, "feed_in_per_kwh"),
        ({"standing_per_day": 0.12345678}, "standing_per_day"),
        ({"import": [{"days": [7], "from": "00:00", "to": "24:00", "price_per_kwh": 1}]}, "days"),
        ({"import": [{"days": [0], "from": "00:10", "to": "24:00", "price_per_kwh": 1}]}, "from"),
        ({"import": [{"days": [0], "from": "24:00", "to": "24:00", "price_per_kwh": 1}]}, "from"),
        ({"import": [{"days": [0], "from": "00:00", "to": "24:00"}]}, "import.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plan_is_named(change: dict[str, object], said: str) -> None:
    body = {k: v for k, v in plan_json(plan()).items() if k != "id"} | change
    with pytest.raises(BadInputError, match=said):
        read_plan("t", body)
