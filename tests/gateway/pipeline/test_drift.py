"""Calibrations that moved are found within weeks; healthy homes are left alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from gateway.domain.alerts import AlertKind
from gateway.pipeline.drift import DAY_MS, Day, Gathering, Suspect, cleared, finding, suspects
from tests.support.shared import shared_data

MOVED_DAY = 40
DAYS = 70


def home(
    seed: int, meters: int = 3, *, volts: Mapping[int, float] | None = None, clamp: float = 1.0
) -> dict[str, dict[int, Day]]:
    """Return days of meters on one supply, from day MOVED_DAY on with faults.

    `volts` are factors of a meter's voltage, `clamp` one of the first meter's current. Each
    meter has a wire of its own, whose fall swings with the weather of the house's use; the
    supply's impedance rises with the season by some percent.
    """
    random = np.random.default_rng(seed)
    own = random.normal(0, 0.002, meters)
    ohm = random.uniform(0.15, 0.5)
    out: dict[str, dict[int, Day]] = {f"m{k}": {} for k in range(meters)}
    busy = 0.0
    for day in range(DAYS):
        busy = 0.8 * busy + random.normal(0, 0.0004)
        mains = 230 + random.normal(0, 2, 24)
        season = ohm * (1 + 0.05 * np.sin(day / 58))
        for k in range(meters):
            factor = (volts or {}).get(k, 1.0) if day >= MOVED_DAY else 1.0
            wire = own[k] + busy * (k + 1) / meters + random.normal(0, 0.0006, 24)
            hours = {day * 24 + h: float(mains[h] * (1 + wire[h]) * factor) for h in range(24)}
            share = clamp if k == 0 and day >= MOVED_DAY else 1.0
            slope = float(season * (1 + random.normal(0, 0.03)) / share)
            out[f"m{k}"][day] = Day(day, hours, slope if k == 0 else None, 80)
    return out


def flagged(days: Mapping[str, Mapping[int, Day]]) -> dict[int, list[Suspect]]:
    """Return who is suspect on which day."""
    found = {day: suspects(days, {"m0": "grid"}, {}, day) for day in range(20, DAYS, 2)}
    return {day: some for day, some in found.items() if some}


def test_healthy_homes_are_left_alone() -> None:
    alarmed = [seed for seed in range(12) if flagged(home(seed, meters=2 + seed % 3))]
    assert not alarmed


@pytest.mark.parametrize("factor", [0.985, 1.01])
def test_a_voltage_that_moved_is_found_and_the_meter_named(factor: float) -> None:
    for seed in range(3):
        found = flagged(home(seed, volts={1: factor}))
        assert found, seed
        assert MOVED_DAY + 3 <= min(found) <= MOVED_DAY + 9
        first = found[min(found)]
        assert [(one.meter, one.channel) for one in first] == [("m1", "")]
        assert first[0].by == pytest.approx(factor - 1, abs=0.003)


def test_of_a_pair_both_are_named() -> None:
    found = flagged(home(3, meters=2, volts={1: 1.01}))
    assert {one.meter for one in found[max(found)]} == {"m0", "m1"}


@pytest.mark.parametrize("clamp", [0.7, 0.5, 1.4])
def test_a_clamp_that_moved_is_found_by_the_supply(clamp: float) -> None:
    for seed in range(3):
        found = flagged(home(seed, clamp=clamp))
        assert MOVED_DAY + 3 <= min(found) <= MOVED_DAY + 9
        (one,) = found[min(found)]
        assert (one.meter, one.channel) == ("m0", "grid")
        assert one.by == pytest.approx(clamp - 1, abs=0.15)


def test_a_new_calibration_begins_anew() -> None:
    days = home(1, clamp=0.6)
    assert suspects(days, {"m0": "grid"}, {}, 60)
    assert not suspects(days, {"m0": "grid"}, {"m0": MOVED_DAY}, 60)


def test_other_phases_are_not_compared() -> None:
    random = np.random.default_rng(8)
    days = {
        name: {
            day: Day(day, {day * 24 + h: float(230 + random.normal(0, 3)) for h in range(24)})
            for day in range(DAYS)
        }
        for name in ("m0", "m1")
    }
    assert not flagged(days)


def test_a_day_is_gathered_from_readings() -> None:
    day = Gathering(20_000)
    random = np.random.default_rng(9)
    for second in range(0, 86_400, 10):
        amps = 10.0 if (second // 600) % 2 else 2.0
        volts = 231.0 - 0.3 * amps + random.normal(0, 0.05)
        day.add(20_000 * DAY_MS + second * 1000, volts, amps * volts)
    day.add(20_000 * DAY_MS + 86_390_000, 230.0, None)
    done = day.close()
    assert done.slope_ohm == pytest.approx(0.3, abs=0.02)
    assert len(done.hours_v) == 24
    assert Gathering(1).close().slope_ohm is None


def test_the_alert_says_what_to_check() -> None:
    told = finding(Suspect("m0", "grid", -0.3, "the supply", 0), 5)
    assert told.key == ("m0", "grid", AlertKind.SENSOR_FAULT)
    assert "-30 %" in told.detail
    assert "wattwarden meters calibrate m0" in told.detail
    assert "+1.20 % against m1" in finding(Suspect("m0", "", 0.012, "m1", 0), 5).detail
    assert not cleared("m0", "", 6).active


@pytest.mark.shared
def test_a_recorded_home_of_months_is_left_alone() -> None:
    data = shared_data()
    if data is None:
        pytest.skip("NO REFERENCE DATA ($WATTWARDEN_SHARED, ../shared)")
    table = pd.read_parquet(data / "02_household" / "pt_han_home_a_1min.parquet")
    table = table[table.v_l1.notna()]
    power = table.p_import_w.fillna(0) - table.p_export_w.fillna(0)
    times = table.ts.astype("datetime64[ms]").astype("int64")
    days: dict[int, Day] = {}
    going: Gathering | None = None
    for at_ms, volts, watts in zip(times, table.v_l1, power, strict=True):
        if going is None or going.day != at_ms // DAY_MS:
            if going is not None:
                days[going.day] = going.close(least_n=20)
            going = Gathering(at_ms // DAY_MS)
        going.add(at_ms, volts, watts)
    alarms = [day for day in days if suspects({"m0": days}, {}, {"m0": min(days)}, day)]
    assert len(days) > 200
    assert len(alarms) <= 1, alarms
