"""Processes that stand still: no false alarm after a pause, and a restart after a hang."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.faulty import FaultyDaemon
from tests.support.feeding import Feeder, assert_all_once, query
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto

WATCHDOG_S = 2.0


def pause(daemon: FaultyDaemon, seconds: float) -> None:
    os.kill(daemon.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(daemon.process.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "seconds",
    [
        2.0,
        30.0,
        # Longer than the meter's limit of 120 s: the gateway slept, and not the meter.
        150.0,
    ],
)
@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_pause_of_the_gateway_silences_no_meter(
    own_broker: Mosquitto, make_faulty: MakeFaulty, seconds: float
) -> None:
    daemon = make_faulty()
    daemon.start(within_s=60)
    meter = MeterClient("kitchen", own_broker.port, boot=7, resend_after_s=3)
    with meter, Feeder(meter, 20) as feeder:
        meter.wait_ack(2)
        pause(daemon, seconds)
        covered = meter.covered()
        meter.wait(lambda: meter.covered() > covered, 30, "the intake does not go on")
        time.sleep(5)  # two looks at who is silent
        feeder.stop()
        meter.wait_covered(within_s=60)
    assert query(daemon.database, "SELECT kind FROM alerts") == []
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)


class ServiceManager:
    """Listens on a notification socket as systemd does; notes when it was told what."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                text = self._socket.recv(4096).decode()
                self.told += [(time.monotonic(), line) for line in text.splitlines()]

    def close(self) -> None:
        self._socket.close()

    def fed_s(self) -> float:
        """Return how long ago the watchdog was fed, infinite when it never was."""
        times = [at for at, line in list(self.told) if line == "WATCHDOG=1"]
        return time.monotonic() - max(times, default=float("-inf"))

    def wait_fed(self, *, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self.fed_s() > WATCHDOG_S:
            assert time.monotonic() < deadline, self.told
            time.sleep(0.05)


@pytest.fixture
def manager(short_path: Path) -> Iterator[ServiceManager]:
    listening = ServiceManager(short_path / "notify")
    yield listening
    listening.close()


HANG = """
import asyncio, os, sys, threading, time
from gateway import app
trigger = sys.argv.pop(1)
run = app.run_gateway
def hang(loop):
    while not os.path.exists(trigger):
        time.sleep(0.05)
    loop.call_soon_threadsafe(time.sleep, 3600)
async def run_gateway(*args, **kwargs):
    loop = asyncio.get_running_loop()
    threading.Thread(target=hang, args=(loop,), daemon=True).start()
    await run(*args, **kwargs)
app.run_gateway = run_gateway
from gateway.cli import main
main()
"""


def test_a_loop_that_hangs_is_killed_and_started_again(
    own_broker: Mosquitto, make_faulty: MakeFaulty, manager: ServiceManager, short_path: Path
) -> None:
    """The part of systemd is played as systemd.service(5), WatchdogSec=, describes it."""
    daemon = make_faulty()
    daemon.extra = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
    }
    trigger = short_path / "hang"
    daemon.program = ["-c", HANG, str(trigger)]
    daemon.start(within_s=60)
    meter = MeterClient("kitchen", own_broker.port, boot=7, resend_after_s=3)
    with meter, Feeder(meter, 20) as feeder:
        meter.wait_ack(2)
        manager.wait_fed(within_s=10)
        trigger.touch()
        began_s = time.monotonic()
        while manager.fed_s() < WATCHDOG_S:  # as long as it is fed nothing happens
            assert time.monotonic() - began_s < 20
            time.sleep(0.05)
        trigger.unlink()
        daemon.kill()
        daemon.start(within_s=60)
        manager.wait_fed(within_s=10)
        feeder.stop()
        meter.wait_covered(within_s=60)
    assert manager.told[0][1] == "READY=1"
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)
