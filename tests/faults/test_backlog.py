"""Three hours that come after the outage, oldest first, while live readings go on."""

import json
import logging
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.feeding import assert_all_once, query
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, Reading, now_ms

log = logging.getLogger(__name__)
BACKLOG_S = 3 * 3600
ARRAY = 120  # the most one message may hold
ARRAYS = 4  # behind each live window
LIVE_EVERY_S = 0.5
METERS = 3
DELAY_S = 4.0  # a quiet gateway waits 1.5 s for company; the rest is for a busy test machine


class Returning(threading.Thread):
    """A meter back from an outage: live windows at their times, and between them what it kept."""

    def __init__(self, meter: MeterClient, database: Path) -> None:
        super().__init__(daemon=True)
        self.meter = meter
        self.database = database
        house = House(start_ms=now_ms() - BACKLOG_S * 1000, boot=meter.boot)
        self.kept: list[Reading] = house.take(BACKLOG_S)
        self.house = house
        self.live: list[Reading] = []
        self.delays_s: list[float] = []

    def run(self) -> None:
        arrays = [self.kept[at : at + ARRAY] for at in range(0, len(self.kept), ARRAY)]
        while arrays:
            reading = self.house.next()
            self.live.append(reading)
            began_s = time.monotonic()
            self.meter.publish_raw(json.dumps(reading).encode())
            for array in arrays[:ARRAYS]:
                self.meter.publish_raw(json.dumps(array).encode())
            arrays = arrays[ARRAYS:]
            self._wait_stored(reading["seq"], began_s)
            time.sleep(max(0.0, began_s + LIVE_EVERY_S - time.monotonic()))

    def wait_covered(self) -> None:
        """Wait until an ack covers the newest window, and with it all others."""
        newest = self.live[-1]["seq"]
        self.meter.wait(lambda: self.meter.covered() >= newest, 60, "no ack")

    def _wait_stored(self, seq: int, began_s: float) -> None:
        """Note how long a live window took, though older ones are still on their way."""
        asked = "SELECT 1 FROM readings JOIN boots ON boots.no = boot_no WHERE boot = ? AND seq = ?"
        while not query(self.database, asked, self.meter.boot, seq):
            if time.monotonic() - began_s > 60:
                return
            time.sleep(0.05)
        self.delays_s.append(time.monotonic() - began_s)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_backlog_of_three_hours_behind_live_readings(
    own_broker: Mosquitto, make_faulty: MakeFaulty
) -> None:
    daemon = make_faulty()
    daemon.start(within_s=60)
    with ExitStack() as stack:
        meters = [
            Returning(
                stack.enter_context(MeterClient(f"back-{n}", own_broker.port, boot=100 + n)),
                daemon.database,
            )
            for n in range(METERS)
        ]
        for meter in meters:
            meter.start()
        for meter in meters:
            meter.join(timeout=200)
            meter.wait_covered()
    delays_s = sorted(delay for meter in meters for delay in meter.delays_s)
    log.info("live stored after %.2f/%.2f s", delays_s[len(delays_s) // 2], delays_s[-1])
    assert len(delays_s) == sum(len(meter.live) for meter in meters)
    assert delays_s[-1] < DELAY_S
    assert query(daemon.database, "SELECT count(*) FROM gaps") == [(0,)]
    daemon.terminate(within_s=30)
    for meter in meters:
        assert_all_once(daemon.database, meter.meter.meter, meter.kept + meter.live)
    assert query(daemon.database, "SELECT kind FROM alerts WHERE kind = 'meter_silent'") == []
