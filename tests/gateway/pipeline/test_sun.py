"""What is said of panels: raised, told again, over, and silence where nothing is known."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.pipeline.sun import news, not_judged, shift_ms, spans_ms
from tinymodels.detect.minutes import DAY_MS
from tinymodels.detect.roofs import DayJudged

KEY = ("attic", "solar")
HOUR_MS = 3_600_000
POOR = DayJudged(
    day=20_600, score=1.4, limit=1.0, clear_limit=0.8, known=True, best=0.62, beside=None,
    given_w=1890.0, usual_w=3050.0, since_day=20_595,
)  # fmt: skip


def opened(**evidence: float) -> Alert:
    return Alert(
        "1", (*KEY, AlertKind.PV_UNDERPERFORMANCE), Severity.WARNING, AlertState.OPEN, 0, 0, None,
        1, "", "", dict(evidence),
    )  # fmt: skip


def test_a_loss_is_told_in_plain_words_with_its_figures() -> None:
    found = news(KEY, POOR._replace(beside=0.97), None, HOUR_MS)
    assert found is not None
    assert found.active
    assert found.key == (*KEY, AlertKind.PV_UNDERPERFORMANCE)
    assert found.at_ms == 20_601 * DAY_MS - HOUR_MS
    for said in ("attic (solar)", "1.9 kW", "3.0 kW", "neighbours reached 97 %"):
        assert said in found.detail
    assert found.evidence["yield_pct"] == 62.0
    assert found.evidence["neighbours_pct"] == 97.0
    assert found.evidence["since_ms"] == 20_595 * DAY_MS - HOUR_MS


def test_between_both_limits_only_what_is_open_is_told() -> None:
    nearly = POOR._replace(score=0.9)
    assert news(KEY, nearly, None, 0) is None
    again = news(KEY, nearly, opened(), 0)
    assert again is not None
    assert again.active


def test_what_is_unknown_neither_opens_nor_ends_anything() -> None:
    blank = POOR._replace(known=False, score=0.0, best=math.nan, given_w=math.nan)
    assert news(KEY, blank, None, 0) is None
    assert news(KEY, blank, opened(), 0) is None
    assert news(KEY, blank._replace(score=9.0), None, 0) is None


@pytest.mark.parametrize(
    ("usual_w", "said"), [(3040.0, "in the bright hours again"), (1900.0, "usual from now on")]
)
def test_mended_and_merely_usual_are_told_apart(usual_w: float, said: str) -> None:
    well = POOR._replace(score=0.1, usual_w=usual_w)
    found = news(KEY, well, opened(usual_w=3050.0), 0)
    assert found is not None
    assert not found.active
    assert said in found.detail
    assert news(KEY, well, None, 0) is None


def test_an_alert_without_figures_ends_too() -> None:
    found = news(KEY, POOR._replace(score=0.1), replace(opened(), evidence={}), 0)
    assert found is not None
    assert not found.active


def test_other_channels_are_let_go() -> None:
    found = not_judged(KEY, 5)
    assert (found.key[:2], found.active, found.at_ms) == (KEY, False, 5)


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        ("Europe/Lisbon", 0), ("Europe/Madrid", 1), ("Australia/Sydney", 10), ("Asia/Kolkata", 5.5),
        ("America/Los_Angeles", -8), ("Asia/Kathmandu", 5.75), ("UTC", 0),
    ],
)  # fmt: skip
def test_days_are_of_standard_time_all_year(zone: str, hours: float) -> None:
    for month in range(1, 13):
        at_ms = int(datetime(2026, month, 15, tzinfo=UTC).timestamp() * 1000)
        assert shift_ms(ZoneInfo(zone), at_ms) == hours * HOUR_MS


def test_spans_of_alerts_are_in_the_roofs_own_time() -> None:
    assert spans_ms([(1000, 2000), (3000, None)], 10) == [(1010, 2010), (3010, 2**62)]
