"""Disk trouble: nothing is acknowledged that is not on disk, nothing spins, all heals by itself."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.store.capacity import read_space
from tests.faults.conftest import MakeFaulty
from tests.support.disks import LoopDisk, TinyDisk
from tests.support.faulty import FaultyDaemon, LoopProbe, injected
from tests.support.feeding import Feeder, assert_all_once, query, storage_alerts, stored
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, now_ms

RATE = 100.0  # readings a second
HEALED_S = 10.0
LAG_S = 0.25


def new_meter(broker: Mosquitto) -> MeterClient:
    return MeterClient("kitchen", broker.port, boot=7, resend_after_s=3, window=20_000)


def room_on(database: Path) -> int:
    """Return how many bytes of readings still fit on the disk."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return read_space(db, database).room(8_000_000_000)


def assert_acks_are_kept(daemon: FaultyDaemon, meter: MeterClient) -> None:
    """Fail when an ack covers what is not committed."""
    covered = meter.covered()
    seqs = {seq for _, seq, _ in stored(daemon.database, "kitchen")}
    assert set(range(covered + 1)) <= seqs


def wait_healed(meter: MeterClient) -> float:
    """Block until something new is acknowledged; return how long that took."""
    began, before = time.monotonic(), meter.covered()
    meter.wait(lambda: meter.covered() > before, 30, "nothing new acknowledged")
    return time.monotonic() - began


def finish(daemon: FaultyDaemon, feeder: Feeder, meter: MeterClient) -> None:
    """End in good order and compare everything."""
    feeder.stop()
    meter.wait_covered(within_s=60)
    deadline = time.monotonic() + 15
    while not storage_alerts(daemon.database):
        assert time.monotonic() < deadline, daemon.log_tail()
        time.sleep(0.2)
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)
    assert "Traceback" not in daemon.log()
    assert daemon.starts == 1


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(("fdatasync:error=EIO", "fsync:error=EIO"), id="EIO-fsync"),
        pytest.param(("pwrite64:error=EIO",), id="EIO-write", marks=pytest.mark.soak),
        pytest.param(
            ("pwrite64:error=EROFS", "ftruncate:error=EROFS"), id="EROFS", marks=pytest.mark.soak
        ),
    ],
)
def test_errors_of_the_disk(
    own_broker: Mosquitto, make_faulty: MakeFaulty, faults: tuple[str, ...]
) -> None:
    daemon = make_faulty()
    daemon.start(within_s=60)
    with new_meter(own_broker) as meter, Feeder(meter, RATE) as feeder:
        meter.wait_ack(3)
        with injected(daemon, *faults, paths=(Path(f"{daemon.database}-wal"), daemon.database)):
            assert "storage" in daemon.wait_unready()
            covered, cpu_s = meter.covered(), daemon.cpu_s()
            with LoopProbe(daemon.url) as probe:
                time.sleep(3)
            assert meter.covered() == covered
            assert daemon.cpu_s() - cpu_s < 3.0  # traced, and retrying: no busy loop
            assert_acks_are_kept(daemon, meter)
        assert wait_healed(meter) < HEALED_S
        daemon.wait_ready(within_s=HEALED_S)
        assert probe.percentile(0.95) < LAG_S
        finish(daemon, feeder, meter)


@pytest.mark.soak
def test_a_card_that_takes_200_ms(own_broker: Mosquitto, make_faulty: MakeFaulty) -> None:
    daemon = make_faulty()
    daemon.start(within_s=60)
    with new_meter(own_broker) as meter, Feeder(meter, RATE) as feeder:
        meter.wait_ack(3)
        with injected(daemon, "fdatasync:delay_exit=200000", "fsync:delay_exit=200000"):
            before = meter.covered()
            with LoopProbe(daemon.url) as probe:
                time.sleep(5)
            assert meter.covered() > before + RATE * 3
            assert daemon.ready()
        assert probe.percentile(0.95) < LAG_S
        feeder.stop()
        meter.wait_covered(within_s=30)
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)


def test_a_full_disk(own_broker: Mosquitto, make_faulty: MakeFaulty, short_path: Path) -> None:
    with TinyDisk(short_path / "tiny", 12_000_000) as disk:
        daemon = make_faulty(disk.root)
        daemon.start(within_s=60)
        with new_meter(own_broker) as meter, Feeder(meter, RATE) as feeder:
            meter.wait_ack(3)
            ballast = disk.fill()
            assert "storage" in daemon.wait_unready()
            time.sleep(1)
            assert_acks_are_kept(daemon, meter)
            covered, cpu_s = meter.covered(), daemon.cpu_s()
            with LoopProbe(daemon.url) as probe:
                time.sleep(2)
            assert daemon.cpu_s() - cpu_s < 1.5
            assert probe.percentile(0.95) < LAG_S
            assert meter.covered() - covered < RATE  # a freed page may take one commit
            ballast.unlink()
            assert wait_healed(meter) < HEALED_S
            finish(daemon, feeder, meter)
        daemon.__exit__()


def test_old_readings_give_way_before_the_disk_is_full(
    own_broker: Mosquitto, make_faulty: MakeFaulty, short_path: Path
) -> None:
    """The disk is far smaller than `max_bytes`: a tenth of it stays free, and intake goes on."""
    with TinyDisk(short_path / "tiny", 80_000_000) as disk:
        daemon = make_faulty(disk.root)
        daemon.start(within_s=60)
        ballast = disk.root / "wattwarden.db.damaged-1"
        with MeterClient("kitchen", own_broker.port, boot=7, window=2000) as meter:
            meter.array = 120
            house = House(start_ms=now_ms() - 3_600_000, boot=7, dt_ms=100)
            meter.send(house.take(12_000))
            meter.wait_covered(within_s=60)
            ballast.write_bytes(bytes(room_on(daemon.database) - 100_000))
            meter.send(house.take(12_000))  # 1 MB, ten times what fits
            meter.wait_covered(within_s=60)
            until(lambda: room_on(daemon.database) >= 0)
        seqs = [seq for _, seq, _ in stored(daemon.database, "kitchen")]
        assert seqs == list(range(seqs[0], 24_000))
        assert seqs[0] > 0
        total = "SELECT sum(n) FROM rollup_1m"
        until(lambda: query(daemon.database, total)[0][0] > 23_000)  # all but the open minute
        assert "commit_failed" not in daemon.log()
        daemon.terminate(within_s=10)


def test_a_start_on_a_full_disk_is_tried_again(make_faulty: MakeFaulty, short_path: Path) -> None:
    with TinyDisk(short_path / "tiny", 4_000_000) as disk:
        daemon = make_faulty(disk.root)
        ballast = disk.fill()
        daemon.launch()
        # 2 would mean wrong settings, and systemd would give up.
        assert daemon.wait_exit(within_s=60) == 1
        assert "No space left" in daemon.log() or "disk is full" in daemon.log()
        assert "Traceback" not in daemon.log()
        ballast.unlink()
        daemon.start(within_s=60)
        daemon.__exit__()


@pytest.mark.soak
def test_a_disk_that_turns_read_only(
    own_broker: Mosquitto, make_faulty: MakeFaulty, loop_disk: LoopDisk
) -> None:
    """As the kernel does at an error of the file system; it takes an unmount to end it."""
    daemon = make_faulty(loop_disk.root)
    daemon.start(within_s=60)
    with new_meter(own_broker) as meter, Feeder(meter, RATE) as feeder:
        meter.wait_ack(3)
        loop_disk.turn_read_only()
        assert "storage" in daemon.wait_unready()
        time.sleep(1)
        covered, cpu_s = meter.covered(), daemon.cpu_s()
        with LoopProbe(daemon.url) as probe:
            time.sleep(3)
        assert meter.covered() == covered
        assert daemon.cpu_s() - cpu_s < 1.5
        assert probe.percentile(0.95) < LAG_S
        assert_acks_are_kept(daemon, meter)
        daemon.terminate(within_s=10)
        loop_disk.unmount()
        loop_disk.mount()
        daemon.start(within_s=60)
        assert wait_healed(meter) < HEALED_S
        feeder.stop()
        meter.wait_covered(within_s=60)
        daemon.terminate(within_s=10)
        assert_all_once(daemon.database, "kitchen", feeder.sent)
    assert "Traceback" not in daemon.log()
