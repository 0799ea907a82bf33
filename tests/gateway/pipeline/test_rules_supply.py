"""Outage and frequency rules."""

import pytest

from gateway.domain.alerts import AlertKind, AlertState, Severity
from gateway.domain.readings import Channel
from gateway.pipeline.judge import MeterJudge
from tests.support.judging import NOON_MS, alerts, findings, judge_for, of_kind, stream


def test_zero_volts_are_an_outage_until_the_voltage_is_back() -> None:
    readings = stream(NOON_MS, 60) + stream(NOON_MS + 60_000, 45, v=0.0, f=0.0)
    judge = judge_for()
    (out,) = findings(judge, readings)
    assert (out.key[2], out.severity, out.active) == (AlertKind.OUTAGE, Severity.CRITICAL, True)
    assert out.evidence["voltage_v"] == 0.0
    assert out.evidence["since_ms"] == NOON_MS + 60_000
    (back,) = findings(judge, stream(NOON_MS + 105_000, 60))
    assert not back.active
    assert back.at_ms == NOON_MS + 115_000
    assert "back" in back.title


def test_zero_hertz_is_an_outage_only_where_no_voltage_contradicts_it() -> None:
    (out,) = findings(judge_for(), stream(NOON_MS, 5, v=None, f=0.0))
    assert out.key[2] is AlertKind.OUTAGE
    assert findings(judge_for(), stream(NOON_MS, 5, v=230.0, f=0.0)) == []


def test_unknown_voltage_is_no_outage() -> None:
    assert findings(judge_for(), stream(NOON_MS, 600, v=None, f=None)) == []


def test_a_supply_that_comes_and_goes_is_one_outage() -> None:
    readings = []
    for k in range(40):
        readings += stream(NOON_MS + k * 5000, 5, v=0.0 if k % 2 else 230.0)
    readings += stream(NOON_MS + 200_000, 30)
    outages = [a for a in alerts(judge_for(), readings) if a.key[2] is AlertKind.OUTAGE]
    assert [a.state for a in outages] == [AlertState.RESOLVED]


def phases(l2_v: float) -> dict[str, Channel]:
    """Return two phases, the second with a voltage of its own."""
    one = Channel(i=1.0, p=200.0, wh_in=None, wh_out=None)
    return {"l1": one, "l2": Channel(i=0.1, p=None, wh_in=None, wh_out=None, v=l2_v)}


def test_a_phase_without_power_is_told_of_that_phase() -> None:
    judge = judge_for()
    found = findings(judge, stream(NOON_MS, 30, ch=phases(231.0)))
    found += findings(judge, stream(NOON_MS + 30_000, 30, ch=phases(0.0)))
    (out,) = [finding for finding in found if finding.key[2] is AlertKind.OUTAGE]
    assert (out.key[1], out.severity, out.title) == ("l2", Severity.CRITICAL, "Phase without power")
    again = MeterJudge(judge.meter, judge.settings, judge.zone)
    again.load(judge.dump())
    back = findings(again, stream(NOON_MS + 60_000, 30, ch=phases(230.0)))
    assert [(b.key[1], b.active) for b in back if b.key[2] is AlertKind.OUTAGE] == [("l2", False)]


def test_a_house_without_power_is_one_outage_whatever_its_phases() -> None:
    found = findings(judge_for(), stream(NOON_MS, 30, v=0.0, ch=phases(0.0)))
    assert [f.key[1] for f in found if f.key[2] is AlertKind.OUTAGE] == [""]


@pytest.mark.parametrize(
    ("frequency_hz", "seconds", "severity"),
    [
        (49.4, 60, Severity.WARNING),
        (50.6, 60, Severity.WARNING),
        (52.1, 10, Severity.CRITICAL),
        (46.9, 10, Severity.CRITICAL),
    ],
)
def test_frequency_outside_en_50160(frequency_hz: float, seconds: int, severity: Severity) -> None:
    judge = judge_for()
    assert findings(judge, stream(NOON_MS, seconds - 10, f=frequency_hz)) == []
    rest = stream(NOON_MS + (seconds - 10) * 1000, 10, f=frequency_hz)
    (off,) = findings(judge, rest)
    assert off.severity is severity
    assert off.evidence["mean_10s_hz"] == frequency_hz
    calm = findings(judge, stream(NOON_MS + seconds * 1000, 300))
    assert [finding.active for finding in calm] == [False]


def test_usual_frequencies_are_no_news() -> None:
    for frequency_hz in (49.6, 50.0, 50.4):
        assert findings(judge_for(), stream(NOON_MS, 600, f=frequency_hz)) == []


def test_sixty_hertz_grids_have_their_own_limits() -> None:
    judge = judge_for(nominal_frequency=60)
    assert findings(judge, stream(NOON_MS, 300, f=60.05)) == []
    found = findings(judge, stream(NOON_MS + 300_000, 60, f=58.9))
    assert of_kind(AlertKind.FREQUENCY, found)[0].evidence["limit_hz"] == 59.4
