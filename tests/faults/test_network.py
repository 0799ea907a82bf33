"""The link between gateway and broker is cut, slow, lossy or half-open: all is stored once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.chaos_proxy import ChaosProxy, Mode
from tests.support.faulty import FaultyDaemon
from tests.support.feeding import Feeder, assert_all_once, query
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto

TRIES_PER_S = 2.0
GROWN_BYTES = 30_000_000
NOTICED_S = 60.0  # two keepalives
RATE = 60.0  # readings a second: 16 kB, twice what 64 kbit/s carry


class Linked:
    """A daemon whose only way to the broker is the proxy, and a meter that has a good one."""

    def __init__(self, daemon: FaultyDaemon, proxy: ChaosProxy, feeder: Feeder) -> None:
        self.daemon = daemon
        self.proxy = proxy
        self.feeder = feeder

    def trouble(self, mode: Mode, seconds: float) -> None:
        """Have the link misbehave for a while; fail where the daemon hammers it."""
        before = len(self.proxy.accepted)
        self.proxy.mode = mode
        time.sleep(seconds)
        tries = len(self.proxy.accepted) - before
        self.proxy.mode = Mode.PASS
        assert tries <= 1 + TRIES_PER_S * seconds, f"{tries} tries in {seconds} s"

    def stored(self) -> int:
        return int(query(self.daemon.database, "SELECT count(*) FROM readings")[0][0])

    def wait_flowing(self, *, within_s: float) -> None:
        """Block until readings come again that were not there before."""
        before = self.stored()
        until(lambda: self.stored() > before, within_s=within_s)


@contextmanager
def linked(broker: Mosquitto, make_faulty: MakeFaulty, rate: float = RATE) -> Iterator[Linked]:
    """Give a linked daemon that is fed; at the end all that was sent must be there, once."""
    with ChaosProxy(broker.port) as proxy:
        daemon = make_faulty(settings={"mqtt": {"port": proxy.port}})
        daemon.start(within_s=60)
        with MeterClient("kitchen", broker.port, window=20_000, resend_after_s=5) as meter:
            with Feeder(meter, rate, group=10) as feeder:
                link = Linked(daemon, proxy, feeder)
                until(link.stored)
                rss = daemon.rss_bytes()
                yield link
            meter.wait_covered(within_s=120)
        assert daemon.rss_bytes() - rss < GROWN_BYTES
        gaps = [later - earlier for earlier, later in pairwise(proxy.accepted)]
        assert min(gaps, default=1.0) > 0.9 / TRIES_PER_S, gaps
        assert query(daemon.database, "SELECT kind FROM alerts WHERE kind = 'meter_silent'") == []
        daemon.terminate(within_s=15)
        assert_all_once(daemon.database, "kitchen", feeder.sent)
        assert "Traceback" not in daemon.log()


def test_a_link_that_is_reset_and_goes_black(
    own_broker: Mosquitto, make_faulty: MakeFaulty
) -> None:
    with linked(own_broker, make_faulty) as link:
        link.trouble(Mode.RESET, 1)
        link.wait_flowing(within_s=30)
        link.trouble(Mode.BLACKHOLE, 1)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [Mode.RESET, Mode.BLACKHOLE, Mode.SLOW, Mode.LOSSY, Mode.LATENCY])
def test_half_a_minute_of_a_bad_link(
    own_broker: Mosquitto, make_faulty: MakeFaulty, mode: Mode
) -> None:
    with linked(own_broker, make_faulty) as link:
        link.trouble(mode, 30)
        link.wait_flowing(within_s=30)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_start_while_the_link_is_bad(own_broker: Mosquitto, make_faulty: MakeFaulty) -> None:
    with linked(own_broker, make_faulty) as link:
        link.daemon.kill()
        link.proxy.mode = Mode.BLACKHOLE
        link.daemon.launch()
        link.trouble(Mode.BLACKHOLE, 25)
        link.daemon.wait_ready(within_s=60)
        link.wait_flowing(within_s=30)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_half_open_link_is_noticed_before_meters_are_called_silent(
    own_broker: Mosquitto, make_faulty: MakeFaulty
) -> None:
    with linked(own_broker, make_faulty) as link:
        link.proxy.forget()
        time.sleep(1)
        made = len(link.proxy.accepted)
        wait_for(lambda: len(link.proxy.accepted) > made, NOTICED_S + 10)
        link.wait_flowing(within_s=30)


def wait_for(true: Callable[[], bool], within_s: float) -> None:
    """Block until something holds: here the limit is the promise, so no more than it."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.1)
