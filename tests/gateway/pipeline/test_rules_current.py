"""Over-current and power factor rules."""

import random

import pytest

from gateway.domain.alerts import AlertKind, AlertState, Severity
from gateway.domain.meters import MeterInfo
from tests.support.judging import NOON_MS, alerts, channel, findings, judge_for, stream


def load(current_a: float, factor: float = 0.98) -> dict[str, object]:
    return {"load1": channel(230 * current_a * factor, current_a)}


@pytest.mark.parametrize(
    ("current_a", "seconds", "severity"),
    [(16.2, 60, Severity.WARNING), (20.1, 10, Severity.CRITICAL)],
)
def test_current_above_the_rating(current_a: float, seconds: int, severity: Severity) -> None:
    judge = judge_for()
    assert findings(judge, stream(NOON_MS, seconds - 1, ch=load(current_a))) == []
    (over,) = findings(judge, stream(NOON_MS + (seconds - 1) * 1000, 1, ch=load(current_a)))
    assert over.key == ("home", "load1", AlertKind.OVER_CURRENT)
    assert over.severity is severity
    assert over.evidence["rating_a"] == 16.0
    assert over.evidence["current_a"] == current_a
    assert "rated for 16 A" in over.detail


def test_a_motor_start_is_no_over_current() -> None:
    judge = judge_for()
    readings = []
    for k in range(20):
        readings += stream(NOON_MS + k * 60_000, 5, ch=load(60.0))
        readings += stream(NOON_MS + k * 60_000 + 5000, 55, ch=load(9.0))
    assert findings(judge, readings) == []


def test_an_unknown_rating_is_the_largest_clamps() -> None:
    judge = judge_for(MeterInfo("home"))
    assert findings(judge, stream(NOON_MS, 300, ch=load(95.0))) == []
    assert findings(judge, stream(NOON_MS + 300_000, 60, ch=load(101.0)))


def test_current_flapping_round_its_rating_opens_one_alert() -> None:
    wild = random.Random(7)
    readings = []
    for k in range(1800):
        readings += stream(NOON_MS + k * 1000, 1, ch=load(16 + wild.uniform(-0.7, 1.0)))
    readings += stream(NOON_MS + 1_800_000, 120, ch=load(5.0))
    (alert,) = alerts(judge_for(), readings)
    assert alert.state is AlertState.RESOLVED
    assert alert.count > 4


def test_poor_power_factor_under_load_for_a_quarter_of_an_hour() -> None:
    judge = judge_for()
    assert findings(judge, stream(NOON_MS, 899, ch=load(4.0, 0.7))) == []
    (poor,) = findings(judge, stream(NOON_MS + 899_000, 1, ch=load(4.0, 0.7)))
    assert poor.key[2] is AlertKind.LOW_POWER_FACTOR
    assert poor.evidence["power_factor"] == 0.7
    assert poor.evidence["limit"] == 0.8


@pytest.mark.parametrize(("current_a", "factor"), [(3.0, 0.5), (4.0, 0.81), (16.0, 0.95)])
def test_a_small_load_or_a_fair_factor_is_no_news(current_a: float, factor: float) -> None:
    assert findings(judge_for(), stream(NOON_MS, 3600, 10_000, ch=load(current_a, factor))) == []


def test_a_cycling_pump_with_a_poor_factor_is_one_alert() -> None:
    readings = []
    for k in range(12):
        at_ms = NOON_MS + k * 1_800_000
        readings += stream(at_ms, 1200, 10_000, ch=load(6.0, 0.6))
        readings += stream(at_ms + 1_200_000, 600, 10_000, ch=load(0.1, 0.9))
    readings += stream(NOON_MS + 12 * 1_800_000, 1800, 10_000, ch=load(6.0, 0.95))
    (alert,) = alerts(judge_for(), readings)
    assert alert.key[2] is AlertKind.LOW_POWER_FACTOR
    assert alert.state is AlertState.RESOLVED


def test_null_fields_and_missing_channels_are_passed_over() -> None:
    judge = judge_for()
    readings = stream(NOON_MS, 120, ch={"load1": channel(None)})
    readings += stream(NOON_MS + 120_000, 120, ch={"grid": channel(100.0)}, v=None, f=None)
    assert findings(judge, readings) == []
