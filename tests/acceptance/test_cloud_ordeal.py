"""A bad line and kills: afterwards the cloud and the archive hold what the gateway holds."""

import time
from collections.abc import Callable

import pytest

from tests.support.chaos_proxy import ChaosProxy, Mode
from tests.support.cloud_ordeal import SECTIONS, Feeding, Ordeal, torment, wait_equal
from tests.support.daemon import Daemon
from tests.support.firestore_rig import FirestoreRig
from tests.support.mosquitto import Mosquitto

DAY_S = 86_400


def undergo(
    ordeal: Ordeal, broker: Mosquitto, make_daemon: Callable[..., Daemon],
    patch: pytest.MonkeyPatch, within_s: float,
) -> None:  # fmt: skip
    with FirestoreRig() as rig, ChaosProxy(rig.port) as proxy:
        proxy.mode = Mode.RESET  # cut off from the start
        patch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        daemon = make_daemon(settings=SECTIONS)
        daemon.launch()
        daemon.wait_ready(within_s=90)
        feeding = Feeding(ordeal, broker.port)
        feeding.start()
        torment(ordeal, daemon, proxy, rig)
        feeding.finish(within_s=within_s)
        rig.faults.clear()
        proxy.mode = Mode.PASS
        wait_equal(ordeal, daemon, rig, patch, within_s=within_s)
        assert len([name for name in rig.store.documents if "/alerts/" in name]) >= 2


@pytest.mark.timeout(400)
def test_hours_of_two_meters_through_a_bad_line_and_kills(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_ms = (int(time.time()) - 4 * 3600) * 1000
    ordeal = Ordeal(start_ms, windows=720, dt_ms=10_000, kills=3)
    undergo(ordeal, own_broker, make_daemon, monkeypatch, 90)


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_three_days_of_two_meters_and_20_kills(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_ms = (int(time.time()) - 3 * DAY_S - 7200) * 1000  # every hour of it is over
    ordeal = Ordeal(start_ms, windows=3 * DAY_S, dt_ms=1000, kills=20, pause_s=15, feed_s=3000)
    undergo(ordeal, own_broker, make_daemon, monkeypatch, 1800)


@pytest.mark.timeout(300)
def test_after_an_outage_alerts_go_first(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_ms = (int(time.time()) - 6 * 3600) * 1000
    ordeal = Ordeal(start_ms, windows=1200, dt_ms=15_000, kills=0)
    with FirestoreRig() as rig, ChaosProxy(rig.port) as proxy:
        proxy.mode = Mode.RESET
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        daemon = make_daemon(settings=SECTIONS)
        daemon.launch()
        daemon.wait_ready(within_s=90)
        feeding = Feeding(ordeal, own_broker.port)
        feeding.start()
        feeding.finish(within_s=60)
        time.sleep(3)  # what has just come is judged and due
        assert rig.store.order == []
        proxy.mode = Mode.PASS
        wait_equal(ordeal, daemon, rig, monkeypatch, within_s=90)
        kinds = [name.split("/")[-2] for name in rig.store.order]
        sent = [kind for kind in kinds if kind in ("alerts", "minutes")]
        assert sent[:2] == ["alerts", "alerts"], sent[:20]
        assert sent.count("minutes") == len(set(rig.store.order) & {
            name for name in rig.store.documents if "/minutes/" in name
        }), "each document was written once"  # fmt: skip


@pytest.mark.timeout(300)
def test_it_stops_in_time_though_the_line_is_dead(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_ms = (int(time.time()) - 2 * 3600) * 1000
    ordeal = Ordeal(start_ms, windows=240, dt_ms=30_000, kills=0)
    with FirestoreRig() as rig, ChaosProxy(rig.port) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        daemon = make_daemon(settings=SECTIONS)
        daemon.launch()
        daemon.wait_ready(within_s=90)
        proxy.mode = Mode.BLACKHOLE
        feeding = Feeding(ordeal, own_broker.port)
        feeding.start()
        feeding.finish(within_s=60)
        time.sleep(4)  # a call is under way now
        status, took_s = daemon.terminate(within_s=20)
        assert status == 0
        assert took_s < 8, f"{took_s:.1f} s, and {daemon.log_tail(3)}"
