"""Reversed clamps: told from signs that cannot be, never from ordinary export."""

from gateway.domain.alerts import AlertKind, AlertState
from gateway.domain.readings import Stored
from tests.support.judging import NOON_MS, alerts, channel, findings, judge_for, of_kind, stream

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIDNIGHT_MS = NOON_MS - 10 * HOUR_MS  # 00:00 in Lisbon (summer time)


def test_a_load_that_generates_for_ten_minutes() -> None:
    judge = judge_for()
    ch = {"load1": channel(-300.0)}
    assert findings(judge, stream(NOON_MS, 599, ch=ch)) == []
    (wrong,) = findings(judge, stream(NOON_MS + 599_000, 1, ch=ch))
    assert wrong.key == ("home", "load1", AlertKind.REVERSE_CT)
    assert wrong.evidence["power_w"] == -300.0
    (right,) = findings(judge, stream(NOON_MS + 600_000, 600, ch={"load1": channel(300.0)}))
    assert not right.active


def test_solar_panels_do_not_consume_and_standby_is_noise() -> None:
    standby = {"solar": channel(-8.0)}
    assert findings(judge_for(), stream(NOON_MS, 7200, 10_000, ch=standby)) == []
    consuming = {"solar": channel(-400.0)}
    assert findings(judge_for(), stream(NOON_MS, 700, 10_000, ch=consuming))


def test_a_load_that_swings_both_ways_is_not_reversed() -> None:
    readings = []
    for k in range(100):
        readings += stream(NOON_MS + k * 60_000, 30, ch={"load1": channel(-300.0)})
        readings += stream(NOON_MS + k * 60_000 + 30_000, 30, ch={"load1": channel(300.0)})
    assert findings(judge_for(), readings) == []


def test_export_of_what_the_panels_give_is_ordinary() -> None:
    ch = {"grid": channel(-1800.0), "solar": channel(2000.0)}
    assert findings(judge_for(), stream(NOON_MS, 4 * 3600, 10_000, ch=ch)) == []


def test_export_without_generation_is_a_reversed_clamp() -> None:
    ch = {"grid": channel(-800.0), "solar": channel(0.0)}
    found = findings(judge_for(), stream(NOON_MS, 1000, 10_000, ch=ch))
    assert [f.key for f in found] == [("home", "grid", AlertKind.REVERSE_CT)]
    assert "only 0 W are generated" in found[0].detail


def home_with_hidden_panels(days: int) -> list[Stored]:
    """Export by day, import by night, and no clamp on the panels."""
    readings = []
    for day in range(days):
        start_ms = MIDNIGHT_MS + day * DAY_MS
        for hours, power_w in ((8, 300.0), (9, -1200.0), (7, 500.0)):
            ch = {"grid": channel(power_w)}
            readings += stream(start_ms, hours * 3600, 60_000, ch=ch)
            start_ms += hours * HOUR_MS
    return readings


def test_panels_without_a_clamp_of_their_own_are_ordinary() -> None:
    found = findings(judge_for(gaussian=0), home_with_hidden_panels(6))
    assert of_kind(AlertKind.REVERSE_CT, found) == []


def test_export_by_night_is_a_reversed_clamp() -> None:
    judge = judge_for()
    at_ms = MIDNIGHT_MS - 2 * HOUR_MS
    night = stream(at_ms, 2 * 3600, 10_000, ch={"grid": channel(-300.0)})
    assert of_kind(AlertKind.REVERSE_CT, findings(judge, night))


def test_sudden_export_after_days_without_is_told_once_and_then_known() -> None:
    judge = judge_for(gaussian=0)
    before = stream(MIDNIGHT_MS - 4 * DAY_MS, 4 * 86_400, 60_000, ch={"grid": channel(300.0)})
    found = alerts(judge, before + home_with_hidden_panels(4))
    (alert,) = [one for one in found if one.key[2] is AlertKind.REVERSE_CT]
    assert alert.state is AlertState.RESOLVED
    assert "panels or a battery" in before[0].meter + alerts_text(judge_for(gaussian=0), before)


def alerts_text(judge: object, before: list[Stored]) -> str:
    """Return what is said while it lasts."""
    now = stream(MIDNIGHT_MS + 8 * HOUR_MS, 3600, 60_000, ch={"grid": channel(-900.0)})
    found = findings(judge, [*before, *now])  # type: ignore[arg-type] # a judge
    return " ".join(finding.detail for finding in found)
