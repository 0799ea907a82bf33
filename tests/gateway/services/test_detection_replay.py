"""Live equals offline: a home judged reading by reading, and the same home evaluated at once."""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.gateway.services.site_rig import START_MS, Json, Site, window
from tests.support.offline import Fit, Span, raised, refitted
from tests.tinymodels.detect.homes import changed, home
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Minutes

HOUR_MS = 3_600_000
DAYS = 13
WATTS = ("p_mean_w", "p_min_w", "p_max_w")


def blocks_of(minutes: Minutes) -> Minutes:
    """Return the first minute of every five: one reading each."""
    return Minutes(minutes.start_ms[::5], minutes.values[::5])


def story() -> Minutes:
    """Return a home with a heater that sticks, a reversed clamp, and reactive power."""
    minutes = home(DAYS, 11, START_MS // DAY_MS * DAY_MS)
    start_ms = int(minutes.start_ms[0])
    heater = dict.fromkeys(WATTS, 1800.0) | {"i_mean_a": 7.8}
    minutes = changed(
        minutes, start_ms + 9 * DAY_MS, start_ms + 9 * DAY_MS + 8 * HOUR_MS, add=heater
    )
    at_ms = start_ms + 11 * DAY_MS
    backwards = dict.fromkeys(WATTS, -1.0)
    minutes = changed(minutes, at_ms, at_ms + 5 * HOUR_MS, times=backwards)
    return blocks_of(minutes)


def readings(minutes: Minutes) -> Iterator[Json]:
    """Yield windows of five minutes whose middle is in the minute they stand for."""
    for seq, row in enumerate(minutes.rows()):
        t_ms = row.start_ms + STEP_MS // 2
        yield window(
            seq, t=t_ms, up=(seq + 1) * STEP_MS, dt=STEP_MS, v=round(row.v_mean_v, 2),
            p=round(row.p_mean_w, 1), q=round(row.q_mean_var, 1), i=round(row.i_mean_a, 3),
            wh_in=1000.0, wh_out=0.0,
        )  # fmt: skip


def seen(minutes: Minutes) -> Minutes:
    """Return what the gateway makes of those windows."""
    values = minutes.values.copy()
    for target, source, digits in ((0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 3, 2), (4, 3, 2)):
        values[:, target] = np.round(minutes.values[:, source], digits)
    values[:, 5], values[:, 6] = values[:, 5].round(1), values[:, 6].round(3)
    return Minutes(minutes.start_ms, values)


@pytest.mark.timeout(400)
async def test_the_alerts_are_those_of_the_offline_evaluation(tmp_path: Path) -> None:
    minutes = story()
    with Site(tmp_path / "s.db", zone=ZoneInfo("Europe/Lisbon")) as site:
        site.add_meter(recorded=True)
        sent = list(readings(minutes))
        for at in range(0, len(sent), 60):
            site.send(sent[at : at + 60])
            if at % 240 == 0:
                await site.derive()
        await site.derive()
        alerts = [
            Span(*row)
            for row in site.query(
                "SELECT kind, opened_ms, ifnull(resolved_ms, 1 << 62) FROM alerts"
                " WHERE kind != 'outage' ORDER BY opened_ms"
            )
        ]
        taken = site.query("SELECT fitted_ms FROM models")
    fits = [Fit(at_ms, at_ms - STEP_MS // 2) for (at_ms,) in taken]
    series = seen(minutes)
    options = Options(ZoneInfo("Europe/Lisbon"), 4.0)
    expected = raised(series, refitted(series, fits, alerts, options))
    told = [alert.opened_ms for alert in alerts if alert.kind == "anomaly"]
    assert len(expected) >= 2
    assert len(told) == len(expected), (told, expected, alerts)
    for opened_ms, end_ms in zip(told, expected, strict=True):
        assert 0 <= opened_ms - end_ms <= 2 * STEP_MS
