"""The days on which the clocks change: their energy is what the registers counted in them."""

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
