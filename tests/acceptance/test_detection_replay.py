"""A year of a real home through the broker: its alerts are those of the offline evaluation."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.feeding import query
from tests.support.gateway_stub import until
from tests.support.household import home_a
from tests.support.offline import Fit, Span, raised, refitted
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import MINUTE_MS, STEP_MS, Minutes

pytestmark = [pytest.mark.shared, pytest.mark.soak, pytest.mark.timeout(1800)]
SERIES = (
    "SELECT start_ms, p_sum / p_dt, p_min, p_max, v_sum / nullif(v_dt, 0), v_max,"
    " q_sum / nullif(q_dt, 0), i_sum / nullif(i_dt, 0) FROM rollup_1m WHERE p_dt > 0"
    " ORDER BY start_ms"
)
ALERTS = (
    "SELECT kind, opened_ms, ifnull(resolved_ms, 1 << 62) FROM alerts"
    " WHERE channel IN ('', 'grid') ORDER BY opened_ms"
)


def fits(daemon: Daemon) -> list[Fit]:
    """Return when the daemon took a new model into use, by the data's own time."""
    lines = [json.loads(line) for line in daemon.log().splitlines() if '"model_fitted"' in line]
    return [Fit(line["at_ms"], line["judges_from_ms"]) for line in lines]


def series(path: Path) -> Minutes:
    """Return the home's minutes as they are on disk."""
    rows = np.array(query(path, SERIES), dtype=np.float64)
    return Minutes(rows[:, 0].astype(np.int64), rows[:, 1:])


def test_twelve_months_raise_what_the_evaluation_says(
    daemon: Daemon, shared: Path, tmp_path: Path
) -> None:
    source, _ = home_a(shared, tmp_path, start="2019-09-01", end="2020-09-01")
    maps = [part for pair in source.maps for part in ("--map", pair)]
    daemon.cli_ok(
        "replay", str(source.path), "--meter", source.meter, "--timezone", "UTC", *maps,
        within_s=1500,
    )  # fmt: skip
    with Api.logged_in(daemon) as api:  # a stop does not wait for months of judging
        until(lambda: not api.get("status")["backlog"]["judge"], within_s=300)
    daemon.terminate(within_s=60)
    minutes = series(daemon.database)
    alerts = [Span(*row) for row in query(daemon.database, ALERTS)]
    taken = fits(daemon)
    assert len(taken) >= 10  # a first one, then one a month
    options = Options(ZoneInfo("UTC"), 4.0)
    models = refitted(minutes, taken, alerts, options)
    assert len(models) == len(taken)
    expected = raised(minutes, models)
    told = [alert.opened_ms for alert in alerts if alert.kind == "anomaly"]
    assert len(expected) >= 5
    assert len(told) == len(expected), (told, expected)
    for opened_ms, end_ms in zip(told, expected, strict=True):
        # Told when the first minute after the step is over and another reading has come, which
        # in this home is hours later now and then.
        after = int(np.searchsorted(minutes.start_ms, end_ms)) + 1
        told_ms = int(minutes.start_ms[min(after, len(minutes) - 1)])
        assert opened_ms >= end_ms
        assert opened_ms - told_ms <= 2 * STEP_MS + 5 * MINUTE_MS
