"""Energy out of SQLite: from the registers, by local time, over gaps, and the sun's share."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.store.history import SqlHistory
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.energy import Energy, EnergyQuery, Interval, boundaries
from gateway.services.series import TooMuchError
from tests.gateway.services.site_rig import START_MS, Site, window, windows

LISBON = ZoneInfo("Europe/Lisbon")
HOUR_MS = 3_600_000
QUARTER_MS = 900_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "s.db", zone=LISBON) as made:
        yield made


@pytest.fixture
async def history(site: Site) -> AsyncIterator[SqlHistory]:
    made = SqlHistory(site.database, LISBON)
    yield made
    made.close()


def local(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=LISBON).timestamp() * 1000)  # type: ignore[arg-type, misc]


async def ask(
    history: SqlHistory, start_ms: int, end_ms: int, by: str = "hour", meter: str = "home"
) -> list[Interval]:
    found: Energy = await history.energy(EnergyQuery(meter, start_ms, end_ms, by), lambda e: e)
    return found.items


def tape(first_ms: int, count: int, step_ms: int, watts: float) -> list[dict[str, Any]]:
    """Return readings of one steady power that begin at a time; registers follow it."""
    each_wh = watts * step_ms / HOUR_MS
    return [
        window(
            k, t=first_ms + (k + 1) * step_ms, up=(k + 1) * step_ms, dt=step_ms, p=watts,
            wh_in=1000 + (k + 1) * each_wh, i=abs(watts) / 230 + 0.1,
        )
        for k in range(count)
    ]  # fmt: skip


def send_tape(site: Site, readings: list[dict[str, Any]], meter: str = "home") -> None:
    if meter not in site.ledger.meters:
        site.add_meter(meter, recorded=True)
    for first in range(0, len(readings), 100):
        site.send(readings[first : first + 100], meter)


async def test_minutes_of_data_give_the_register_s_difference(
    site: Site, history: SqlHistory
) -> None:
    for first in range(0, 600, 100):
        site.send(windows(first, first + 99))  # 500 W
    wanted = (599 * 1000 / 7200) / 1000  # from the first register to the last
    for _ in range(2):  # not yet judged, then judged
        (hour,) = await ask(history, START_MS, START_MS + HOUR_MS)
        assert hour.channels["grid"].kwh_in == pytest.approx(wanted, abs=1e-6)
        assert hour.channels["grid"].kwh_out == 0.0
        assert (hour.partial, hour.channels["grid"].estimated, hour.solar) == (True, False, None)
        await site.derive()


@pytest.mark.parametrize(
    ("day", "hours"), [((2025, 3, 30), 23), ((2025, 10, 26), 25), ((2025, 10, 9), 24)]
)
async def test_local_days_and_their_hours(
    site: Site, history: SqlHistory, day: tuple[int, int, int], hours: int
) -> None:
    midnight_ms = local(*day)
    send_tape(site, tape(midnight_ms - 4 * QUARTER_MS, hours * 4 + 8, QUARTER_MS, 400.0))
    await site.derive()
    days = await ask(history, midnight_ms, midnight_ms + hours * HOUR_MS, "day")
    (only,) = days
    assert only.to_ms - only.from_ms == hours * HOUR_MS
    assert only.channels["grid"].kwh_in == pytest.approx(0.4 * hours, rel=1e-4)
    found = await ask(history, only.from_ms, only.to_ms)
    assert len(found) == hours
    for hour in found:
        assert hour.channels["grid"].kwh_in == pytest.approx(0.4, abs=1e-5)
        assert not hour.channels["grid"].estimated


async def test_months_touch_at_local_midnight(site: Site, history: SqlHistory) -> None:
    begin_ms = local(2025, 3, 20)
    send_tape(site, tape(begin_ms, 24 * 20, HOUR_MS, 250.0))
    await site.derive()
    march, april = await ask(history, begin_ms, local(2025, 4, 5), "month")
    assert (march.from_ms, march.to_ms) == (local(2025, 3, 1), local(2025, 4, 1))
    assert april.to_ms == local(2025, 5, 1)
    # The first hour's window ends with the first register; March lost an hour.
    march_h = (local(2025, 4, 1) - begin_ms) / HOUR_MS
    assert march.channels["grid"].kwh_in == pytest.approx(0.25 * (march_h - 1), rel=1e-4)
    assert (march.partial, april.partial) == (False, True)


async def test_energy_over_a_gap_is_whole_and_its_shape_an_estimate(
    site: Site, history: SqlHistory
) -> None:
    readings = tape(START_MS, 4 * 3600 // 10, 10_000, 600.0)
    hole = [r for r in readings if not 1.5 <= (r["t"] - START_MS) / HOUR_MS < 2.75]
    site.now.wall = START_MS + 6 * HOUR_MS
    for first in range(0, len(hole), 100):
        site.send(hole[first : first + 100])
    await site.derive()
    hours = await ask(history, START_MS, START_MS + 5 * HOUR_MS)
    assert [h.channels["grid"].kwh_in for h in hours[:4]] == pytest.approx(
        [0.6 - 0.6 / 360, 0.6, 0.6, 0.6], rel=1e-3
    )
    assert [h.channels["grid"].estimated for h in hours] == [False, True, True, False, False]
    assert hours[4].channels["grid"].kwh_in is None  # nothing was measured there
    total = sum(h.channels["grid"].kwh_in or 0 for h in hours)
    assert total == pytest.approx(0.6 * (4 - 1 / 360), abs=1e-6)


async def test_a_register_that_falls_counts_nothing(site: Site, history: SqlHistory) -> None:
    site.now.wall = START_MS + 2 * HOUR_MS
    site.send([window(0, wh_in=1000.0), window(10, wh_in=1001.0), window(20, wh_in=2.0)])
    site.send([window(30, wh_in=3.5)])
    await site.derive()
    (hour,) = await ask(history, START_MS, START_MS + HOUR_MS)
    assert hour.channels["grid"].kwh_in == pytest.approx(0.0025)


async def test_channels_without_registers_give_null(site: Site, history: SqlHistory) -> None:
    site.send([window(k, wh_in=None, wh_out=None) for k in range(60)])
    (hour,) = await ask(history, START_MS, START_MS + HOUR_MS)
    assert (hour.channels["grid"].kwh_in, hour.channels["grid"].kwh_out) == (None, None)


async def test_self_consumption_is_what_was_made_and_not_sent_out(
    site: Site, history: SqlHistory
) -> None:
    # 2 kW from the sun for an hour: half an hour 0.5 kW goes out, then 1 kW comes in.
    sun, out, bought, readings = 0.0, 0.0, 0.0, []
    for k in range(-1, 360):
        exporting = k < 180
        if k >= 0:
            sun += 2000 / 360
            out += 500 / 360 if exporting else 0
            bought += 0 if exporting else 1000 / 360
        p = -500.0 if exporting else 1000.0
        grid = {"i": 9.0, "p": p, "q": 0.0, "wh_in": bought, "wh_out": out}
        solar = {"i": 9.0, "p": 2000.0, "q": 0.0, "wh_in": sun, "wh_out": 0.0}
        readings.append(
            window(k + 1, t=START_MS + (k + 1) * 10_000, up=(k + 2) * 10_000, dt=10_000)
            | {"ch": {"grid": grid, "solar": solar}}
        )
    site.now.wall = START_MS + 2 * HOUR_MS
    for first in range(0, len(readings), 100):
        site.send(readings[first : first + 100])
    for _ in range(2):
        (hour,) = await ask(history, START_MS, START_MS + HOUR_MS)
        solar_use = hour.solar
        assert solar_use is not None
        assert solar_use.generated_kwh == pytest.approx(2.0, abs=1e-5)
        assert solar_use.exported_kwh == pytest.approx(0.25, abs=1e-5)
        assert solar_use.imported_kwh == pytest.approx(0.5, abs=1e-5)
        assert solar_use.self_consumption == pytest.approx(1.75 / 2, abs=1e-4)
        assert solar_use.self_sufficiency == pytest.approx(1.75 / 2.25, abs=1e-4)
        assert hour.channels["solar"].kwh_in == pytest.approx(2.0, abs=1e-5)
        await site.derive()


async def test_energy_that_a_battery_sends_out_at_night_is_no_sun(
    site: Site, history: SqlHistory
) -> None:
    site.now.wall = START_MS + 2 * HOUR_MS
    readings = []
    for k in range(60):
        grid = {"i": 9.0, "p": -500.0, "q": 0.0, "wh_in": 0.0, "wh_out": k * 5.0}
        solar = {"i": 0.0, "p": 0.0, "q": 0.0, "wh_in": 7.0, "wh_out": 0.0}
        readings.append(window(k) | {"ch": {"grid": grid, "solar": solar}})
    site.send(readings)
    (hour,) = await ask(history, START_MS, START_MS + HOUR_MS)
    assert hour.solar is not None
    assert (hour.solar.generated_kwh, hour.solar.self_consumed_kwh) == (0.0, 0.0)
    assert hour.solar.self_consumption is None


async def test_what_is_asked_wrongly_is_told(site: Site, history: SqlHistory) -> None:
    with pytest.raises(NotFoundError, match="none"):
        await ask(history, START_MS, START_MS + 1, meter="none")
    with pytest.raises(BadInputError, match="by"):
        await ask(history, START_MS, START_MS + 1, "week")
    with pytest.raises(TooMuchError, match="hours"):
        await ask(history, START_MS, START_MS + 9000 * HOUR_MS)


def test_hours_of_zones_off_by_a_half_begin_where_their_clocks_say() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    edges = boundaries(EnergyQuery("m", START_MS, START_MS + 1, "hour"), zone)
    assert edges == [START_MS - HOUR_MS // 2, START_MS + HOUR_MS // 2]
