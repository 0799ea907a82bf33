"""The self-check: z, events with their cause, debounce, rate, models by the hour, its cost."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import check as check_module
import model
import numpy as np
import pytest
from check import Check

from tests.support.firmware import needs_vm, vm
from tests.support.selfcheck import Seen
from tinymodels.detect.device_features import NAMES
from tinymodels.detect.device_file import pack
from tinymodels.detect.device_model import DeviceGaussian

MINUTE = 60
MIDNIGHT_MS = 1_763_769_600_000  # 2025-11-22 00:00 UTC, a Saturday


class FixedClock:
    """A clock that was set, or not."""

    def __init__(self, offset_ms: int | None) -> None:
        self.offset_ms = offset_ms


def gaussian(power: list[float]) -> DeviceGaussian:
    """Return voltage and power, a mean power per hour class, ε at five sigmas."""
    names = ("voltage", "power")
    mean = np.array([[230.0, p] for p in power])
    scale = np.array([[3.0, 0.5]] * len(power))
    made = DeviceGaussian(names, mean, scale, np.eye(2), np.zeros(len(power)))
    return made._replace(log_eps=made.peak() - 12.5)


def windows(seconds: int, *, start: int = 0, v: float = 230.0, p: float = 100.0) -> list[Seen]:
    return [
        Seen((start + k + 1) * 1000, v=v + k % 7 * 0.01, i=[p / v], p=[p + k % 5 * 0.01])
        for k in range(seconds)
    ]


def compressed(power_w: float) -> float:
    return math.asinh(power_w / 50)


def checking(
    power: list[float], hours: list[int] | None = None, offset_ms: int | None = None
) -> tuple[Check, list[dict[str, Any]]]:
    body = pack(5, {"grid": gaussian(power)}, hours=hours or [0] * 24)
    told: list[dict[str, Any]] = []
    return Check(["grid"], model.load(body), told.append, FixedClock(offset_ms)), told


def test_z_is_the_mahalanobis_distance() -> None:
    check, _ = checking([compressed(100.0) - 1.0])
    z = check.window(Seen(1000, v=236.0, i=[0.43], p=[100.0]))
    assert z == [pytest.approx(math.hypot(2.0, 2.0), rel=1e-4)]


def test_event_tells_what_moved_from_what_to_what_past_which_limit() -> None:
    check, told = checking([compressed(100.0)])
    for window in [*windows(300), *windows(600, start=300, p=3000.0)]:
        check.window(window)
    assert len(told) == 1
    event = told[0]
    assert event["kind"] == "anomaly"
    assert (event["what"], event["feature"], event["unit"]) == ("unusual", "power", "W")
    assert event["from"] == pytest.approx(100, rel=0.01)
    assert event["limit"] < event["to"] <= 3000.1
    # Five sigmas of 0.5 on the compressed scale.
    edge_w = 50 * math.sinh(compressed(100.0) + 2.5)
    assert event["limit"] == pytest.approx(edge_w, rel=0.01)
    assert event["z"] > event["z_limit"] == pytest.approx(5.0, abs=0.01)
    assert (event["channel"], event["model"]) == ("grid", 5)
    # The average needs most of a minute to get there, then it must last half of one.
    assert 300_000 + 30_000 < event["up"] <= 300_000 + 180_000
    json.dumps(event, allow_nan=False)


def test_short_excursions_and_inrush_at_boot_are_not_told() -> None:
    check, told = checking([compressed(100.0)])
    for window in [*windows(20, p=4000.0), *windows(1240, start=20)]:
        check.window(window)
    for window in [*windows(20, start=1260, p=3000.0), *windows(600, start=1280)]:
        check.window(window)
    assert not told


def test_lasting_anomaly_is_told_again_before_the_gateway_forgets_it() -> None:
    check, told = checking([compressed(100.0)])
    for window in [*windows(300), *windows(3600, start=300, p=3000.0)]:
        check.window(window)
    gaps = np.diff([event["up"] for event in told])
    assert len(told) == 6
    assert (gaps == 600_000).all()


def test_hour_classes_count_only_while_the_clock_is_set() -> None:
    hours = [1] * 12 + [2] * 12
    night, day = compressed(100.0), compressed(3000.0)
    for offset_ms, expected in (
        (MIDNIGHT_MS, 0.0),
        (MIDNIGHT_MS + 43_200_000, (day - night) / 0.5),
        (None, (1.5 - night) / 0.5),
    ):
        check, _ = checking([1.5, night, day], hours, offset_ms)
        z = check.window(Seen(1000, v=230.0, i=[0.43], p=[100.0]))
        assert z == [pytest.approx(abs(expected), abs=1e-3)]


def test_outage_is_not_judged_nor_learnt() -> None:
    check, told = checking([compressed(100.0)])
    for window in windows(300):
        before = check.window(window)
    for k in range(1800):
        assert check.window(Seen(301_000 + k * 1000, v=0.0, f=0.0, i=[0.0], p=[0.0])) == [0.0]
    after = check.window(Seen(2_102_000, v=230.0, i=[0.43], p=[100.0]))
    assert not [event for event in told if event["what"] == "unusual"]
    assert after == [pytest.approx(before[0], abs=0.05)]


def test_window_without_voltage_is_judged_by_the_rest() -> None:
    check, told = checking([compressed(100.0)])
    for window in windows(900):
        z = check.window(replace(window, v=None, f=None))
    assert z[0] < 0.01
    assert not told


def test_replaced_model_starts_afresh() -> None:
    check, told = checking([compressed(100.0)])
    for window in [*windows(300), *windows(300, start=300, p=3000.0)]:
        check.window(window)
    assert len(told) == 1
    check.model = model.default(230.0, 50.0)
    for window in windows(600, start=600, p=3000.0):
        check.window(window)
    assert len(told) == 1


def test_events_are_limited_in_rate_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six clamps with two faults each leave no more than the burst, and later the rest."""
    monkeypatch.setattr(check_module, "BURST", 5)
    names = ["grid", *(f"load{k}" for k in range(1, 6))]
    told: list[dict[str, Any]] = []
    check = Check(names, model.default(230.0, 50.0), told.append)
    for k in range(3600):
        v = 330.0 + k % 13 * 0.1
        p = [-9000.0 - k % 7] * 6
        window = Seen((k + 1) * 1000, v=v, i=[39.0] * 6, p=p, q=[0.0] * 6, clipped=[60] * 6)
        check.window(window)
    assert check.events == len(told) <= 5 + 60
    assert sum(event["up"] <= 100_000 for event in told) <= 5 + 2
    assert check.held_back > 0
    seen = {(event["what"], event.get("channel")) for event in told}
    assert {("clip", name) for name in names} <= seen
    assert {("reversed_clamp", name) for name in names[1:]} <= seen
    assert ("unusual", "grid") in seen


def test_nothing_a_window_can_hold_breaks_the_check() -> None:
    told: list[dict[str, Any]] = []
    check = Check(["grid"], model.default(230.0, 50.0), told.append)
    values = [0.0, -0.0, 1e-30, 1e30, -1e30, math.inf, -math.inf, math.nan]
    number = 0
    for v in [*values, 230.0, None]:
        for i in values:
            for p in values:
                number += 1
                z = check.window(Seen(number * 1000, v=v, f=v, i=[i], p=[p], q=[p]))
                assert 0 <= z[0] <= 1e6
    json.dumps(told, allow_nan=False)


COST = """
import gc, sys, time
import check, model
data = open(sys.argv[1], "rb").read()
class Seen:
    up_ms, dt_ms, v, f, flags, frozen = 0, 1000, 230.0, 50.0, 0, False
    i, p, q, clipped = [4.3, 1.0, 0.5], [871.0, 230.0, 100.0], [-120.0, 1.0, 2.0], [0, 0, 0]
class Clock:
    offset_ms = 1763760000000
def measure(made):
    told = []
    judge = check.Check(["grid", "solar", "load1"], made, told.append, Clock())
    window = Seen()
    window.p = list(Seen.p)
    def one(k):
        window.up_ms += 1000
        window.p[0] = 871.0 + k % 7
        return judge.window(window)
    for k in range(200):
        one(k)
    gc.collect()
    held = gc.mem_alloc()
    took = time.ticks_us()
    for k in range(1000):
        z = one(k)
    took = time.ticks_diff(time.ticks_us(), took)
    gc.collect()
    print(took // 1000, gc.mem_alloc() - held, len(told), len(z))
measure(model.default(230.0, 50.0))
measure(model.load(data))
"""


@needs_vm
def test_cost_and_memory_in_the_vm(tmp_path: Path) -> None:
    wild = np.random.default_rng(1)
    # A row of length 1 each: some correlation with the first feature.
    factor = np.eye(6)
    factor[1:, 0], factor[1:, 1:] = 0.6, 0.8 * np.eye(5)
    mean = np.array([[230.0, 2.0, 0.3, 0.8, 1.5, 0.0]] * 6) + 0.1 * wild.random((6, 6))
    names = tuple(name for name in NAMES if name != "frequency")
    made = DeviceGaussian(names, mean, np.full((6, 6), 0.9), factor, np.zeros(6))
    made = made._replace(log_eps=made.peak() - 500)
    path = tmp_path / "model.json"
    path.write_bytes(pack(9, dict.fromkeys(("grid", "solar", "load1"), made)))
    for line in vm(COST, str(path)).splitlines():
        took_us, grown, told, channels = (int(word) for word in line.split())
        print(f"{took_us} us per window of three channels, {grown} bytes grown")  # noqa: T201
        assert channels == 3
        assert told == 0
        assert took_us < 5000  # measured 150 µs here; a window lasts a million
        assert grown < 500
