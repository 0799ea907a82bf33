"""Days on which the clocks change or a second is smeared: energy is what the registers counted."""

import math
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.store.energy import read_energy
from gateway.services.energy import EnergyQuery
from tests.gateway.services.site_rig import Site

LISBON = ZoneInfo("Europe/Lisbon")
STEP_MS = 300_000
DAY_MS = 86_400_000


def midnight_ms(day: datetime) -> int:
    return round(day.replace(tzinfo=LISBON).timestamp() * 1000)


def power_w(at_ms: int) -> float:
    """Return the use of a house by the hour, so that a shifted day has another energy."""
    return 600 + 550 * math.sin(at_ms / 3_600_000)


@pytest.mark.parametrize("step_s", [0, pytest.param(3600, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("date", "hours"), [("2025-03-30", 23), ("2025-10-26", 25)])
async def test_energy_of_the_day_the_clocks_change(
    tmp_path: Path, date: str, hours: int, step_s: int
) -> None:
    """Also where the gateway's clock is an hour ahead for a quarter of that day."""
    day = datetime.fromisoformat(date)
    start_ms = midnight_ms(day - timedelta(days=1))
    first_ms, last_ms = midnight_ms(day), midnight_ms(day + timedelta(days=1))
    assert (last_ms - first_ms) // 3_600_000 == hours
    count = (midnight_ms(day + timedelta(days=2)) - start_ms) // STEP_MS
    counted = {start_ms: 1000.0}
    with Site(tmp_path / "s.db", zone=LISBON) as site:
        batch = []
        for seq in range(count):
            end_ms = start_ms + (seq + 1) * STEP_MS
            watts = power_w(end_ms)
            counted[end_ms] = counted[end_ms - STEP_MS] + watts * STEP_MS / 3_600_000
            channel = {"i": 8.0, "p": watts, "wh_in": counted[end_ms], "wh_out": 0.0}
            batch.append(
                {"boot": 1, "seq": seq, "up": (seq + 1) * STEP_MS, "t": end_ms, "dt": STEP_MS,
                 "v": 230.0, "f": 50.0, "ch": {"grid": channel}}
            )  # fmt: skip
            if len(batch) == 12 or seq == count - 1:
                wrong = 0 <= end_ms - first_ms < 6 * 3_600_000
                site.now.wall = end_ms + 40 + (step_s * 1000 if wrong else 0)
                site.send(batch)
                batch = []
                await site.derive()
        query = EnergyQuery("home", first_ms, last_ms, "day")
        (found,) = site.database.read_now(lambda db: read_energy(db, LISBON, query)).items
        raw = site.query("SELECT count(*) FROM readings")
    expected_kwh = (counted[last_ms] - counted[first_ms]) / 1000
    used = found.channels["grid"]
    assert used.kwh_in == pytest.approx(expected_kwh, rel=0.001)
    assert raw == [(count,)]


async def test_a_leap_second_smeared_over_a_day(tmp_path: Path) -> None:
    """The meter counts a day of 86,401 s by itself, and all clocks call it one of 86,400."""
    start_ms = midnight_ms(datetime(2016, 12, 31))  # noqa: DTZ001 - a day in Lisbon
    count, dt_ms = DAY_MS // STEP_MS, STEP_MS * (DAY_MS + 1000) / DAY_MS
    wh = 1000.0
    with Site(tmp_path / "s.db", zone=LISBON) as site:
        for seq in range(count + 1):  # the first is the last of the day before
            up, end_ms = round((seq + 1) * dt_ms), start_ms + seq * STEP_MS
            wh += 600 * dt_ms / 3_600_000
            channel = {"i": 2.7, "p": 600.0, "wh_in": wh, "wh_out": 0.0}
            site.now.wall = end_ms + 40
            site.send(
                [{"boot": 1, "seq": seq, "up": up, "t": end_ms, "dt": round(dt_ms),
                  "v": 230.0, "f": 50.0, "ch": {"grid": channel}}]
            )  # fmt: skip
            await site.derive()
        query = EnergyQuery("home", start_ms, start_ms + DAY_MS, "day")
        (found,) = site.database.read_now(lambda db: read_energy(db, LISBON, query)).items
        times = site.query("SELECT count(*), max(at_ms) FROM readings")
        gaps, alerts = site.query("SELECT * FROM gaps"), site.query("SELECT kind FROM alerts")
    assert found.channels["grid"].kwh_in == pytest.approx(
        0.6 * (DAY_MS + 1000) / 3_600_000, rel=1e-4
    )
    assert times == [(count + 1, start_ms + DAY_MS)]  # each `t` was kept
    assert (gaps, alerts) == ([], [])
