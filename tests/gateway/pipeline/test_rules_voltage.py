"""Voltage rules: EN 50160 ten-minute means, and swells within seconds."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.alerts import AlertKind, AlertState, Severity
from tests.support.judging import (
    NOON_MS,
    alerts,
    channel,
    findings,
    judge_for,
    of_kind,
    reading,
    stream,
)


def test_swell_is_critical_after_three_seconds_and_told_in_plain_words() -> None:
    judge = judge_for()
    found = findings(judge, stream(NOON_MS, 2, v=268.1))
    assert found == []
    (swell,) = findings(judge, stream(NOON_MS + 2000, 1, v=268.1))
    assert swell.key == ("home", "", AlertKind.OVER_VOLTAGE)
    assert swell.active
    assert swell.fresh
    assert swell.severity is Severity.CRITICAL
    assert swell.at_ms == NOON_MS + 3000
    assert swell.detail == (
        "Voltage at the grid connection was 268.1 V for 3 s; "
        "the limit is 264.5 V (1.15 \u00d7 230 V)."
    )
    assert swell.evidence["voltage_v"] == 268.1
    assert swell.evidence["limit_v"] == 264.5
    assert swell.evidence["since_ms"] == NOON_MS
    assert swell.evidence["duration_s"] == 3.0


def test_one_long_reading_counts_by_its_duration() -> None:
    (swell,) = findings(judge_for(), stream(NOON_MS, 60, 60_000, v=270.0))
    assert swell.severity is Severity.CRITICAL
    assert swell.evidence["duration_s"] == 60.0


@pytest.mark.parametrize("dt_ms", [200, 1000, 10_000, 60_000, 900_000])
@pytest.mark.parametrize("offset_ms", [0, 17_300, 437_000])
@pytest.mark.parametrize(
    ("voltage_v", "kind", "severity"),
    [
        (257.0, AlertKind.OVER_VOLTAGE, Severity.WARNING),
        (203.0, AlertKind.UNDER_VOLTAGE, Severity.WARNING),
        (190.0, AlertKind.UNDER_VOLTAGE, Severity.CRITICAL),
    ],
)
def test_ten_minutes_are_enough_wherever_they_begin(
    dt_ms: int, offset_ms: int, voltage_v: float, kind: AlertKind, severity: Severity
) -> None:
    start_ms = NOON_MS + offset_ms
    seconds = 1800.0 if dt_ms == 900_000 else 600.0
    judge = judge_for()
    calm = stream(start_ms - 1_800_000, 1800, dt_ms)
    bad = stream(start_ms, seconds, dt_ms, v=voltage_v)
    after = stream(start_ms + round(seconds * 1000), 60, min(dt_ms, 60_000))
    assert findings(judge, calm) == []
    found = of_kind(kind, findings(judge, bad + after))
    assert found[0].active
    assert max(f.severity is Severity.CRITICAL for f in found) is (severity is Severity.CRITICAL)
    assert "EN 50160" in found[0].detail


def test_five_minutes_of_257_v_are_no_alert() -> None:
    judge = judge_for()
    calm = stream(NOON_MS, 900)
    peak = stream(NOON_MS + 900_000, 300, v=257.0)
    again = stream(NOON_MS + 1_200_000, 1200)
    assert findings(judge, calm + peak + again) == []


def test_a_warning_that_turns_into_a_swell_escalates_one_alert_that_clears_once() -> None:
    start = NOON_MS
    parts = [(700, 256.0), (10, 270.0), (120, 256.0), (1500, 230.0)]
    readings = []
    for seconds, voltage_v in parts:
        readings += stream(start, seconds, v=voltage_v)
        start += seconds * 1000
    (alert,) = alerts(judge_for(), readings)
    assert alert.severity is Severity.CRITICAL
    assert alert.state is AlertState.RESOLVED


def test_nothing_is_said_of_a_voltage_that_is_not_measured_or_gone() -> None:
    judge = judge_for()
    found = findings(judge, stream(NOON_MS, 1200, 60_000, v=None, f=None))
    found += findings(judge, stream(NOON_MS + 1_200_000, 1200, 60_000, v=0.0))
    assert of_kind(AlertKind.UNDER_VOLTAGE, found) == []


def test_a_channel_on_another_phase_has_its_own_alert() -> None:
    ch = {"grid": channel(500.0), "load1": channel(100.0, v=270.0)}
    (swell,) = findings(judge_for(), stream(NOON_MS, 5, ch=ch))
    assert swell.key == ("home", "load1", AlertKind.OVER_VOLTAGE)
    assert "circuit load1" in swell.detail


def test_a_mean_is_not_carried_over_a_hole() -> None:
    judge = judge_for()
    findings(judge, stream(NOON_MS, 300, v=257.0))
    later = stream(NOON_MS + 7_200_000, 300, v=257.0)
    assert findings(judge, later) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(258, 264), st.floats(0.5, 8), st.integers(30, 900))
def test_flapping_round_the_swell_limit_opens_at_most_one_alert_and_clears_once(
    seed: int, middle_v: float, swing_v: float, seconds: int
) -> None:
    wild = random.Random(seed)
    volts = [middle_v + wild.uniform(-swing_v, swing_v) for _ in range(seconds)]
    judge = judge_for()
    readings = [reading(NOON_MS + k * 1000, v=v) for k, v in enumerate(volts, 1)]
    end_ms = readings[-1].at_ms
    found = of_kind(AlertKind.OVER_VOLTAGE, findings(judge, readings + stream(end_ms, 1800)))
    active = [finding.active for finding in found]
    assert active.count(False) <= 1
    assert not active or (active[0] and not active[-1])
    assert not any(before is False and after for before, after in pairwise(active))
