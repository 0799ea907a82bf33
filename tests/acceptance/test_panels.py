"""Solar panels through the broker: what the gateway tells of them is what the evaluation finds."""

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.daemon import Daemon
from tests.support.feeding import query
from tests.support.gateway_stub import until
from tests.support.roofs import FAULT_DAY, FROM_MS, roof
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS
from tinymodels.detect.roofs import judge_days
from tinymodels.detect.solar import SLOT_MS

FIRST, DAYS, MENDED = FROM_MS // DAY_MS, 130, 115
ALERTS = (
    "SELECT opened_ms, resolved_ms, historic, count, detail, evidence FROM alerts"
    " WHERE kind = 'pv_underperformance' ORDER BY opened_ms"
)
JUDGED = "SELECT max(CAST(value AS INTEGER)) FROM meta WHERE key GLOB 'sun_judged:*'"


@pytest.mark.timeout(600)
def test_a_lost_string_is_told_after_a_restart_too(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(settings={"detect": {"gaussian": False}})  # only the panels are asked
    daemon.start()
    minutes = roof(DAYS, lost=0.4, until=MENDED)
    for part, (first, last) in enumerate(((0, 111), (111, DAYS))):
        span = minutes.between(FROM_MS + first * DAY_MS, FROM_MS + last * DAY_MS)
        path = tmp_path / f"{part}.csv"
        frame = span.to_frame()[["start_ms", "p_mean_w"]]
        frame["start_ms"] += SLOT_MS  # a reading's time is the end of its window
        frame.to_csv(path, index=False)
        words = ("--channel", "solar", "--map", "t=start_ms", "--map", "p=p_mean_w")
        daemon.cli_ok("replay", str(path), "--meter", "attic", *words, within_s=300)
        reached = FIRST + last - 2  # of the last day the morning after is missing
        until(lambda: (query(daemon.database, JUDGED)[0][0] or 0) >= reached, within_s=240)  # noqa: B023
        if not part:
            daemon.kill()
            daemon.start()
    (alert,) = query(daemon.database, ALERTS)
    options = Options(ZoneInfo("UTC"), 4.0)
    days = list(judge_days(minutes, (FIRST, FIRST + DAYS), options))
    above = [day for day in days if day.score > day.limit]
    opened_ms, resolved_ms, historic, count, detail, evidence = alert
    assert opened_ms == above[0].end_ms
    assert 0 <= above[0].day - FIRST - FAULT_DAY <= 7
    below = [day for day in days if day.day > above[-1].day and day.score < day.clear_limit]
    assert resolved_ms == below[0].end_ms
    assert historic
    assert count >= resolved_ms // DAY_MS - opened_ms // DAY_MS
    assert "attic (solar)" in detail
    assert '"usual_w"' in evidence
