"""Zeroed pages under a running gateway: it stops, sets the file aside, and goes on."""

import contextlib
import time

import httpx
import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.api import Api
from tests.support.faulty import FaultyDaemon
from tests.support.feeding import Feeder, assert_sound, query, storage_alerts, stored
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.pages import leaves, zero_pages

RATE = 400.0


def wait_alert(daemon: FaultyDaemon, *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not storage_alerts(daemon.database):
        assert time.monotonic() < deadline, daemon.log_tail()
        time.sleep(0.2)


def look_at_everything(daemon: FaultyDaemon, feeder: Feeder) -> None:
    """Have somebody look at the whole history: it reads every page of readings."""
    with Api.logged_in(daemon) as api:
        ends = {"start": str(feeder.sent[0]["t"] - 1000), "end": str(feeder.sent[-1]["t"])}
        path = "/api/v1/meters/kitchen/series"
        params = {"channel": "grid", "fields": "p", "resolution": "raw", **ends}
        with contextlib.suppress(httpx.HTTPError):
            assert api.http.get(path, params=params).status_code == 503


@pytest.mark.parametrize("when", [pytest.param("at rest", marks=pytest.mark.soak), "while running"])
def test_three_zeroed_pages(own_broker: Mosquitto, make_faulty: MakeFaulty, when: str) -> None:
    daemon = make_faulty()
    daemon.start(within_s=60)
    path = daemon.database
    meter = MeterClient("kitchen", own_broker.port, boot=7, resend_after_s=3)
    with meter, Feeder(meter, RATE, group=20) as feeder:
        meter.wait(lambda: meter.covered() >= 2000, 60, "too slow")
        if when == "at rest":
            feeder.stop()
            meter.wait_covered()
            daemon.terminate(within_s=10)
        pages = leaves(path, "readings")
        zero_pages(path, [pages[5], pages[len(pages) // 2], *leaves(path, "dead_letters")[:1]])
        if when == "at rest":
            daemon.launch()  # it reads the whole file behind every start
        else:
            look_at_everything(daemon, feeder)
        assert daemon.wait_exit(within_s=60) == 1
        assert "Traceback" not in daemon.log()
        daemon.start(within_s=60)
        wait_alert(daemon)
        if when == "while running":
            covered = meter.covered()
            meter.wait(lambda: meter.covered() > covered, 30, "the intake does not resume")
        feeder.stop()
        meter.wait_covered(within_s=60)
    daemon.wait_log("history_taken_over", within_s=60)
    daemon.terminate(within_s=10)
    assert len(list(path.parent.glob("wattwarden.db.damaged-*Z"))) == 1
    assert_sound(path)
    (alert,) = storage_alerts(path)
    assert "damaged" in alert["detail"]
    rows = [seq for _, seq, _ in stored(path, "kitchen")]
    assert len(rows) == len(set(rows))
    lost = {reading["seq"] for reading in feeder.sent} - set(rows)
    assert 0 < len(lost) < 100  # two pages of some twenty rows; the old file's, not the card's
    gaps = query(path, "SELECT sum(last - first + 1) FROM gaps")
    assert gaps == [(None,)]  # they were received: no meter is asked for them again
    assert daemon.starts == (3 if when == "at rest" else 2)
