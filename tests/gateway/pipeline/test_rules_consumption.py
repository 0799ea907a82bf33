"""Consumption limits on local days and months, from registers or from power."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Stored
from tests.support.judging import LISBON, channel, findings, judge_for, of_kind, reading, stream

HOUR_MS = 3_600_000


def local_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=LISBON).timestamp() * 1000)


def consumption(found: list[Finding]) -> list[Finding]:
    return of_kind(AlertKind.OVER_CONSUMPTION, found)


def day_of(date: str, power_w: float, *, registers: bool, days: float = 1) -> list[Stored]:
    """Return a local day of steady import in minutes, ended by the next local midnight."""
    start_ms = local_ms(f"{date}T00:00")
    end = datetime.fromisoformat(f"{date}T00:00") + timedelta(days=days)
    end_ms = round(end.replace(tzinfo=LISBON).timestamp() * 1000)
    return [
        reading(
            at_ms,
            60_000,
            ch={
                "grid": channel(
                    power_w,
                    wh_in=7e6 + power_w * (at_ms - start_ms) / HOUR_MS if registers else None,
                )
            },
        )
        for at_ms in range(start_ms + 60_000, end_ms + 1, 60_000)
    ]


# Lisbon: 25 hours on 2025-10-26, 23 on 2025-03-30, 24 otherwise.
@pytest.mark.parametrize(
    ("date", "hours"), [("2025-10-26", 25), ("2025-03-30", 23), ("2025-06-15", 24)]
)
@pytest.mark.parametrize("registers", [True, False])
def test_a_local_day_has_the_hours_it_has(date: str, hours: int, registers: bool) -> None:  # noqa: FBT001
    used = day_of(date, 1000.0, registers=registers)
    assert len(used) == hours * 60
    # The register's first value opens the account, so its first minute is not seen.
    below = judge_for(daily_limit_kwh=hours + 0.01, gaussian=0)
    assert consumption(findings(below, used)) == []
    judge = judge_for(daily_limit_kwh=hours - 0.05, gaussian=0)
    (over,) = consumption(findings(judge, used))
    assert over.at_ms > used[-5].at_ms
    assert over.evidence["limit_kwh"] == hours - 0.05
    assert "today" in over.detail
    tomorrow = stream(used[-1].at_ms, 120, 60_000)
    assert [f.active for f in consumption(findings(judge, tomorrow))] == [False]


def test_a_month_adds_its_days() -> None:
    judge = judge_for(monthly_limit_kwh=47.0, gaussian=0)
    found = consumption(findings(judge, day_of("2025-10-30", 1000.0, registers=False, days=2)))
    assert found[0].at_ms == local_ms("2025-10-31T23:01")
    assert "this month" in found[0].detail
    assert [f.active for f in consumption(findings(judge, stream(found[-1].at_ms, 7200, 60_000)))][
        -1
    ] is False


def test_energy_over_a_hole_comes_from_the_register_and_goes_to_its_own_day() -> None:
    judge = judge_for(daily_limit_kwh=10.0, gaussian=0)
    before = reading(local_ms("2025-06-15T20:00"), ch={"grid": channel(0.0, wh_in=1000.0)})
    after = reading(local_ms("2025-06-16T04:00"), ch={"grid": channel(0.0, wh_in=19_000.0)})
    assert findings(judge, [before, after]) == []  # 9 kWh each side of midnight
    more = reading(local_ms("2025-06-16T05:00"), ch={"grid": channel(0.0, wh_in=20_100.0)})
    (over,) = findings(judge, [more])
    assert over.evidence["day_kwh"] == pytest.approx(10.1)


def test_registers_that_come_and_go_or_fall_count_nothing_twice() -> None:
    judge = judge_for(daily_limit_kwh=2.05, gaussian=0)
    start_ms = local_ms("2025-06-15T10:00")
    readings = []
    for minute in range(1, 121):
        wh = 500.0 + 1000 * minute / 60
        known = minute % 7 == 0
        wh_in = (wh if minute < 60 else wh - 900) if known else None
        ch = {"grid": channel(1000.0, wh_in=wh_in)}
        readings.append(reading(start_ms + minute * 60_000, 60_000, ch=ch))
    assert findings(judge, readings) == []


def test_contracted_power_is_a_mean_of_a_clock_quarter() -> None:
    judge = judge_for(contracted_power_w=3450, gaussian=0)
    start_ms = local_ms("2025-06-15T10:00")
    short = stream(start_ms, 600, ch={"grid": channel(4500.0)})
    rest = stream(start_ms + 600_000, 300, ch={"grid": channel(100.0)})
    assert consumption(findings(judge, short + rest)) == []
    long = stream(start_ms + 900_000, 900, ch={"grid": channel(3600.0)})
    (over,) = consumption(findings(judge, long))
    assert over.at_ms == start_ms + 1_800_000
    assert over.evidence["mean_15min_w"] == 3600.0
    calm = stream(start_ms + 1_800_000, 1800, ch={"grid": channel(500.0)})
    assert [f.active for f in consumption(findings(judge, calm))][-1] is False


def test_three_phases_are_one_household() -> None:
    names = ("grid", "grid2", "grid3")
    meter = MeterInfo("home", channels={n: ChannelInfo(n, Role.GRID) for n in names})
    judge = judge_for(meter, daily_limit_kwh=2.9, gaussian=0)
    ch = {name: channel(1000.0) for name in names}
    found = consumption(findings(judge, stream(local_ms("2025-06-15T10:00"), 3600, 60_000, ch=ch)))
    assert found[0].key == ("home", "", AlertKind.OVER_CONSUMPTION)


def test_a_second_circuit_that_appears_brings_no_energy_of_the_past() -> None:
    judge = judge_for(MeterInfo("home"), daily_limit_kwh=5.0, gaussian=0)
    start_ms = local_ms("2025-06-15T10:00")
    one = {"load1": channel(100.0, wh_in=1e6)}
    two = one | {"load2": channel(100.0, wh_in=9e6)}
    readings = stream(start_ms, 600, 60_000, ch=one)
    readings += stream(start_ms + 600_000, 600, 60_000, ch=two)
    assert findings(judge, readings) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1440), st.integers(100, 9000))
def test_long_and_short_readings_give_the_same_energy(minutes: int, power_w: int) -> None:
    start_ms = local_ms("2025-03-30T00:00")
    limit_kwh = max(power_w * minutes / 60 / 1000 - 0.001, 0.0001)
    for dt_ms in (60_000, minutes * 60_000):
        judge = judge_for(daily_limit_kwh=limit_kwh, gaussian=0)
        seconds = min(minutes, 23 * 60) * 60
        if dt_ms > seconds * 1000:
            continue
        found = findings(
            judge, stream(start_ms, seconds, dt_ms, ch={"grid": channel(float(power_w))})
        )
        assert bool(consumption(found)) is (seconds == minutes * 60)
