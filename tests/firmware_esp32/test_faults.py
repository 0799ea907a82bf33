"""Faults of the sensors: each is told within its time, and none is told of healthy homes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faults import REPEAT_MS, Alarm, Faults

from simulation import appliances as a
from simulation.faults import Fault, FaultKind
from simulation.home import Home
from simulation.houses import demo_homes, family_house, flat, workshop
from simulation.mains import Mains
from simulation.spec import Fitting, HomeSpec
from tests.support.selfcheck import DAY_MS, NOON_MS, Seen, run, seen

HOUR_MS = 3_600_000
GRID, SOLAR = ("grid",), ("grid", "solar")


def steady(
    seconds: int, p: Sequence[float], *, start_ms: int = 0, v: float = 230.0, clipped: int = 0
) -> Iterator[Seen]:
    """Yield windows of steady loads as a meter shows them, noise included."""
    wild = np.random.default_rng(start_ms)
    for k in range(seconds):
        noise = wild.standard_normal((3, len(p))) * 0.3
        yield Seen(
            start_ms + (k + 1) * 1000,
            v=v + float(noise[0, 0]) if v else 0.0,
            i=[abs(w + n) / v if v else 0.0 for w, n in zip(p, noise[1].tolist(), strict=True)],
            p=[w + n if v else 0.0 for w, n in zip(p, noise[2].tolist(), strict=True)],
            q=[0.0] * len(p),
            clipped=[clipped] * len(p),
        )


def events(channels: Sequence[str], *parts: Iterator[Seen]) -> list[dict[str, Any]]:
    """Return what is told of consecutive parts, without the limit on its rate."""
    faults, told = Faults(channels), []
    for part in parts:
        for window in part:
            for alarm, event in faults.window(window):
                alarm.told(window.up_ms)
                told.append({**event, "up": window.up_ms})
    return told


def clipping(start_ms: int) -> Iterator[Seen]:
    return steady(10, [9000.0], start_ms=start_ms, clipped=60)


def test_clip_is_told_within_five_seconds() -> None:
    told = events(GRID, steady(100, [500.0]), clipping(100_000))
    assert len(told) == 1
    event = told[0]
    assert (event["kind"], event["channel"], event["to"]) == ("clip", "grid", 60)
    assert event["limit"] == 10
    assert event["current_a"] == pytest.approx(39.1, abs=0.2)
    assert event["up"] <= 105_000


def test_spikes_and_one_inrush_are_no_clipping() -> None:
    quiet = steady(200, [500.0], clipped=3)
    inrush = steady(2, [9000.0], start_ms=200_000, clipped=80)
    assert not events(GRID, quiet, inrush, steady(60, [500.0], start_ms=202_000, clipped=2))


def test_frozen_converter_is_told_within_fifteen_seconds() -> None:
    flagged = (replace(w, frozen=True) for w in steady(20, [500.0], start_ms=60_000))
    told = events(GRID, steady(60, [500.0]), flagged)
    assert [e["what"] for e in told] == ["frozen_adc"]
    assert told[0]["up"] <= 75_000
    same = next(steady(1, [500.0]))
    stuck = (replace(same, up_ms=61_000 + k * 1000) for k in range(25))
    told = events(GRID, steady(60, [500.0]), stuck)
    assert [e["what"] for e in told] == ["frozen_adc"]
    assert told[0]["up"] <= 61_000 + 20_000
    assert told[0]["to"] >= 10


def test_outage_repeats_zeros_and_is_no_fault() -> None:
    assert not events(GRID, steady(60, [500.0]), steady(3600, [0.0], start_ms=60_000, v=0.0))


def test_reversed_load_clamp_is_told_within_three_minutes_of_use() -> None:
    idle = steady(600, [300.0, 0.0])
    used = steady(200, [2300.0, -2000.0], start_ms=600_000)
    told = events(("grid", "load1"), idle, used)
    assert [(e["what"], e["channel"]) for e in told] == [("reversed_clamp", "load1")]
    assert told[0]["up"] <= 780_000
    assert told[0]["to"] == pytest.approx(-2000, abs=5)


def test_battery_on_its_own_clamp_may_flow_both_ways() -> None:
    night = steady(1000, [100.0, -2000.0])
    assert not events(("grid", "battery1"), night)


def test_reversed_grid_clamp_is_told_by_what_cannot_be_generated() -> None:
    evening = steady(400, [-800.0, 5.0])
    told = events(SOLAR, evening)
    assert [(e["what"], e["channel"]) for e in told] == [("reversed_clamp", "grid")]
    assert told[0]["up"] <= 360_000
    assert not events(SOLAR, steady(1000, [-2900.0, 3000.0]))


def test_reversed_grid_clamp_without_a_solar_clamp_takes_a_day() -> None:
    faults, told = Faults(GRID), []
    for minute in range(26 * 60):
        window = Seen((minute + 1) * 60_000, 60_000, i=[1.3], p=[-300.0 - minute % 7])
        window.v = 230.0 + minute % 11
        told += [(minute, event) for alarm, event in faults.window(window)]
    assert told[0][0] == pytest.approx(24 * 60 + 4, abs=2)
    assert told[0][1]["what"] == "reversed_clamp"


def test_panels_without_a_clamp_may_export_all_day() -> None:
    faults = Faults(GRID)
    for minute in range(3 * 24 * 60):
        p = -2500.0 - minute % 7 if 7 < minute / 60 % 24 < 19 else 200.0 + minute % 7
        window = Seen((minute + 1) * 60_000, 60_000, 230.0 + minute % 11, i=[abs(p) / 230], p=[p])
        assert not faults.window(window)


def test_open_grid_clamp_is_told_within_eleven_minutes() -> None:
    told = events(GRID, steady(60, [350.0]), steady(700, [0.0], start_ms=60_000))
    assert [(e["what"], e["channel"]) for e in told] == [("open_clamp", "grid")]
    assert told[0]["up"] <= 60_000 + 660_000
    assert told[0]["from"] == pytest.approx(350, abs=2)
    assert told[0]["to"] == pytest.approx(0, abs=2)


@pytest.mark.parametrize(
    ("channels", "before", "after"),
    [
        (("grid", "load1"), [2600.0, 2000.0], [2600.0, 0.0]),
        (SOLAR, [-1500.0, 2000.0], [-1500.0, 0.0]),
    ],
)
def test_open_clamp_in_use_is_told_within_seventy_seconds(
    channels: Sequence[str], before: list[float], after: list[float]
) -> None:
    told = events(channels, steady(60, before), steady(100, after, start_ms=60_000))
    assert [(e["what"], e["channel"]) for e in told] == [("open_clamp", channels[1])]
    assert told[0]["up"] <= 130_000
    assert told[0]["from"] == pytest.approx(2000, abs=5)


def test_load_that_is_switched_off_is_no_open_clamp() -> None:
    on, off = [2600.0, 2000.0], [600.0, 0.0]
    assert not events(("grid", "load1"), steady(60, on), steady(600, off, start_ms=60_000))
    # Panels trip: the grid takes over.
    assert not events(
        SOLAR, steady(60, [-1500.0, 2000.0]), steady(600, [500.0, 0.0], start_ms=60_000)
    )
    # A battery without a clamp holds the connection near zero whatever happens.
    held = steady(600, [12.0, 0.0], start_ms=60_000)
    assert not events(("grid", "load1"), steady(60, [12.0, 2000.0]), held)


def test_alarm_lasts_clears_and_repeats() -> None:
    alarm = Alarm(3000, 5000)
    due = [alarm.step(k % 4 != 3, 1000, k * 1000) for k in range(5)]
    assert due == [False, False, True, False, True]
    alarm.told(5000)
    assert not alarm.step(bad=True, dt_ms=1000, up_ms=6000)
    assert alarm.step(bad=True, dt_ms=1000, up_ms=5000 + REPEAT_MS)
    assert not any(alarm.step(bad=False, dt_ms=1000, up_ms=700_000 + k) for k in range(5))
    assert not alarm.on


def american(spec: HomeSpec) -> HomeSpec:
    mains = Mains(nominal_hz=60.0, mean_v=spec.mains.mean_v, sag_v_per_kw=spec.mains.sag_v_per_kw)
    return HomeSpec(spec.name, spec.fittings, spec.roof, mains, spec.place)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_healthy_homes_are_left_alone(number: int) -> None:
    """Three days in 30-s windows and half an hour in 1-s ones, at 230 V and at 120 V 60 Hz."""
    seed, spec = demo_homes(5)[number]
    for dt_ms, start_ms, span_ms in (
        (30_000, NOON_MS, 3 * DAY_MS),
        (1000, NOON_MS + 7 * HOUR_MS, HOUR_MS // 2),
    ):
        home = Home(seed, spec, since_ms=start_ms, dt_ms=dt_ms)
        told, z = run(seen(home, start_ms, span_ms // dt_ms), spec.channels)
        assert not told
        assert 0 < np.max(z) < 4
    there = american(spec)
    home = Home(seed, there, since_ms=NOON_MS, dt_ms=30_000)
    windows = seen(home, NOON_MS, DAY_MS // 30_000, v_ratio=120 / 230)
    told, _ = run(windows, spec.channels, (120.0, 60.0))
    assert not told


def faulty(spec: HomeSpec, fault: Fault, dt_ms: int, span_ms: int) -> list[dict[str, Any]]:
    home = Home(8, spec, since_ms=NOON_MS, dt_ms=dt_ms, faults=[fault])
    told, _ = run(seen(home, NOON_MS, span_ms // dt_ms), spec.channels)
    return told


AT_MS = NOON_MS + HOUR_MS


@pytest.mark.parametrize(
    ("spec", "fault", "said", "within_ms"),
    [
        (flat(), Fault(FaultKind.CLIPPED_SENSOR, AT_MS, HOUR_MS, 5.0), "clip", 10_000),
        (flat(), Fault(FaultKind.BYPASS, AT_MS, HOUR_MS, 0.0), "open_clamp", 660_000),
        (
            family_house(),
            Fault(FaultKind.REVERSED_CLAMP, AT_MS, HOUR_MS, channel="solar"),
            "reversed_clamp",
            780_000,
        ),
        (flat(), Fault(FaultKind.VOLTAGE_SWELL, AT_MS, HOUR_MS, 1.4), "unusual", 240_000),
        (flat(), Fault(FaultKind.FREQUENCY_SHIFT, AT_MS, HOUR_MS, -4.5), "unusual", 400_000),
    ],
)
def test_simulated_faults_are_told_in_time(
    spec: HomeSpec, fault: Fault, said: str, within_ms: int
) -> None:
    told = faulty(spec, fault, 1000, HOUR_MS + within_ms + 60_000)
    assert {event["what"] for event in told} == {said}
    late_ms = told[0]["up"] - HOUR_MS
    assert 0 < late_ms <= within_ms


def test_open_and_reversed_clamps_of_a_heat_pump() -> None:
    """The workshop's load clamps, each from a time at which its load runs."""
    spec = HomeSpec(
        "pump", (Fitting(a.standby(400.0)), Fitting(a.standby(1500.0), "load1")), None, Mains()
    )
    for kind, size, said, within_ms in (
        (FaultKind.REVERSED_CLAMP, None, "reversed_clamp", 130_000),
        (FaultKind.BYPASS, 0.0, "open_clamp", 70_000),
    ):
        fault = Fault(kind, AT_MS, HOUR_MS, size, "load1")
        told = faulty(spec, fault, 1000, HOUR_MS + 240_000)
        assert [event["what"] for event in told] == [said]
        assert told[0]["up"] - HOUR_MS <= within_ms
    assert workshop().channels == ("grid", "load1", "load2")
