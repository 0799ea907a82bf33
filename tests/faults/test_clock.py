"""Wrong clocks: no RTC, steps, other centuries. Timers go on, nothing is lost or alarming."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.api import Api, metrics
from tests.support.faulty import FaultyDaemon, environment
from tests.support.feeding import query, stored
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, now_ms, recent_house

HOUR_S = 3600
DAY_S = 86_400
WHOLE_SEGMENT = 4096 + 700  # and a whole minute, after which it counts as judged
SETTINGS = {"clock": {"trust": "auto"}}


class WrongClock:
    """What a daemon's clock is off by, in seconds; may be changed while it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0)

    def set(self, offset_s: float) -> None:
        """Step the clock."""
        self._path.write_text(f"{offset_s:+.0f}\n")

    def variables(self) -> dict[str, str]:
        """Return the environment of the process that has this clock."""
        return environment(
            {"FAKETIME_TIMESTAMP_FILE": str(self._path), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        )


@contextmanager
def wrong(
    make_faulty: MakeFaulty, folder: Path, offset_s: float, trust: str = "auto"
) -> Iterator[tuple[FaultyDaemon, WrongClock]]:
    clock = WrongClock(folder / "clock")
    clock.set(offset_s)
    storage = {"raw_days": 1, "look_every_s": 1}
    daemon = make_faulty(settings={"clock": {"trust": trust}, "storage": storage})
    daemon.extra = clock.variables()
    daemon.start(within_s=60)
    yield daemon, clock
    daemon.terminate(within_s=10)
    assert "Traceback" not in daemon.log()


def kinds(daemon: FaultyDaemon) -> list[str]:
    return [kind for (kind,) in query(daemon.database, "SELECT kind FROM alerts")]


def send_for(meter: MeterClient, house: House, seconds: float, **fields: Any) -> int:  # noqa: ANN401
    """Send ten windows a second; return how many."""
    until_s = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until_s:
        meter.send([house.next() | fields])
        count += 1
        time.sleep(0.1)
    meter.wait_covered(within_s=20)
    return count


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(0, id="1970", marks=pytest.mark.soak),
        pytest.param(946_684_800, id="2000", marks=pytest.mark.soak),
    ],
)
def test_no_clock_at_the_start(
    own_broker: Mosquitto, make_faulty: MakeFaulty, short_path: Path, start: int
) -> None:
    with wrong(make_faulty, short_path, start + 60 - time.time()) as (daemon, clock):
        began_ms = now_ms()
        with MeterClient("kitchen", own_broker.port, boot=7) as meter:
            house = House(start_ms=began_ms, boot=7, dt_ms=100)
            count = send_for(meter, house, 2, t=None)
            placed = query(daemon.database, "SELECT count(at_ms) FROM readings")
            assert placed == [(0,)]  # stored and acknowledged, and waiting for the time
            clock.set(0)
            deadline = time.monotonic() + 30
            while not metrics(daemon.url)["wattwarden_clock_trusted"]:
                assert time.monotonic() < deadline, daemon.log_tail()
                time.sleep(0.2)
            meter.publish_state()  # carries `up`, as every meter's does once a minute
            while query(daemon.database, "SELECT count(at_ms) FROM readings") != [(count,)]:
                assert time.monotonic() < deadline, daemon.log_tail()
                time.sleep(0.2)
        times = [at for (at,) in query(daemon.database, "SELECT at_ms FROM readings ORDER BY seq")]
        assert all(later - earlier == 100 for earlier, later in pairwise(times))
        assert abs(times[0] - began_ms) < 30_000
        assert kinds(daemon) == []


def test_steps_make_no_reading_old(
    own_broker: Mosquitto, make_faulty: MakeFaulty, short_path: Path
) -> None:
    """Raw readings stay for a day here, and there is a whole segment to retire."""
    with (
        wrong(make_faulty, short_path, 0, trust="always") as (daemon, clock),
        MeterClient("kitchen", own_broker.port, boot=7, array=120) as meter,
    ):
        mark = "SELECT 1 FROM meta WHERE key = 'retention_marks'"
        until(lambda: query(daemon.database, mark), within_s=20)  # it has looked once
        meter.send(recent_house(windows=WHOLE_SEGMENT, boot=7, dt_ms=100).take(WHOLE_SEGMENT))
        meter.wait_covered(within_s=30)
        judged = "SELECT 1 FROM meta WHERE key = 'looked_at' AND CAST(value AS INTEGER) >= 4096"
        until(lambda: query(daemon.database, judged), within_s=20)
        for days in (400, 800):  # by a clock that is believed, the first is when they came
            clock.set(days * DAY_S)
            time.sleep(1.5)  # it looks
        assert query(daemon.database, "SELECT count(*) FROM readings") == [(WHOLE_SEGMENT,)]


@pytest.mark.parametrize(
    "step_s",
    [
        pytest.param(HOUR_S, id="+1h", marks=pytest.mark.soak),
        pytest.param(-HOUR_S, id="-1h", marks=pytest.mark.soak),
        pytest.param(400 * DAY_S, id="+400d", marks=pytest.mark.soak),
        pytest.param(-400 * DAY_S, id="-400d", marks=pytest.mark.soak),
    ],
)
def test_a_step_while_it_runs(
    own_broker: Mosquitto, make_faulty: MakeFaulty, short_path: Path, step_s: int
) -> None:
    with wrong(make_faulty, short_path, 0, trust="always") as (daemon, clock):
        with MeterClient("kitchen", own_broker.port, boot=7) as meter:
            house = House(start_ms=now_ms(), boot=7, dt_ms=100)
            count = send_for(meter, house, 2)
            for offset_s in (step_s, 0):
                clock.set(offset_s)
                cpu_s, began_s = daemon.cpu_s(), time.monotonic()
                count += send_for(meter, house, 3)
                meter.publish_state()
                assert daemon.ready()
                share = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began_s)
                assert share < 0.5  # no timer fires for ever, none is awaited for a year
            energy_wh = house.wh_in
            with Api.logged_in(daemon) as api:
                last = api.get("meters/kitchen")["last"]
        rows = stored(daemon.database, "kitchen")
        assert rows == [(7, seq, 1) for seq in range(count)]
        assert last["ch"]["grid"]["wh_in"] == pytest.approx(energy_wh)
        assert kinds(daemon) == []  # nobody silent, nothing stormed
