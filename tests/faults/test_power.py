"""Power cuts and kills at random moments of the intake: what was acknowledged is there, once."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFaulty
from tests.support.disks import LoopDisk
from tests.support.faulty import FaultyDaemon
from tests.support.feeding import Feeder, assert_all_once, assert_sound, stored
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.seeds import SEED

RATE = 500.0
STARTED_S = 90.0
LEAN = {"web": {"enabled": False}}  # starts in half the time


def new_meter(broker: Mosquitto) -> MeterClient:
    return MeterClient("kitchen", broker.port, boot=7, resend_after_s=5, window=50_000)


def assert_acked_are_stored(daemon: FaultyDaemon, covered: int) -> None:
    assert_sound(daemon.database)
    seqs = [seq for _, seq, _ in stored(daemon.database, "kitchen")]
    assert len(seqs) == len(set(seqs))
    missing = set(range(covered + 1)) - set(seqs)
    assert not missing, (len(missing), sorted(missing)[:5])


def wait_flowing(daemon: FaultyDaemon, meter: MeterClient) -> None:
    """Block until the intake acknowledges again."""
    before = meter.covered()
    meter.wait(lambda: meter.covered() > before, STARTED_S, "nothing acknowledged")
    assert daemon.running


@pytest.mark.parametrize(
    "cuts",
    [2, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_what_was_acknowledged_survives_a_power_cut(
    own_broker: Mosquitto, make_faulty: MakeFaulty, loop_disk: LoopDisk, cuts: int
) -> None:
    dice = random.Random(SEED)
    daemon = make_faulty(loop_disk.root, settings=LEAN)
    daemon.launch()
    with new_meter(own_broker) as meter, Feeder(meter, RATE, group=10) as feeder:
        for _ in range(cuts):
            wait_flowing(daemon, meter)
            time.sleep(dice.uniform(0.0, 1.0))
            loop_disk.cut()
            time.sleep(dice.uniform(0.0, 0.3))  # the process does not know at once
            daemon.kill()
            covered = meter.covered()
            loop_disk.unmount()
            loop_disk.mount()
            assert_acked_are_stored(daemon, covered)
            daemon.launch()
        wait_flowing(daemon, meter)
        feeder.stop()
        meter.wait_covered(within_s=120)
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)
    daemon.__exit__()


def test_the_cut_is_one(loop_disk: LoopDisk) -> None:
    """The control: without synchronous=FULL a commit does not survive it."""
    lost = {mode: _rows_lost(loop_disk, mode) for mode in ("FULL", "OFF")}
    assert lost["FULL"] == 0
    assert lost["OFF"] > 0


def _rows_lost(disk: LoopDisk, synchronous: str) -> int:
    path = disk.root / f"{synchronous}.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE t (a)")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        for number in range(200):
            db.execute("INSERT INTO t VALUES (?)", (number,))
        disk.cut()
    disk.unmount()
    disk.mount()
    with closing(sqlite3.connect(path)) as db:
        return 200 - int(db.execute("SELECT count(*) FROM t").fetchone()[0])


@pytest.mark.parametrize(
    "kills",
    [2, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_kills_at_random_moments(
    own_broker: Mosquitto, make_faulty: MakeFaulty, kills: int
) -> None:
    dice = random.Random(SEED)
    daemon = make_faulty(settings=LEAN)
    daemon.launch()
    with new_meter(own_broker) as meter, Feeder(meter, RATE, group=10) as feeder:
        for _ in range(kills):
            wait_flowing(daemon, meter)
            time.sleep(dice.uniform(0.0, 1.0))
            daemon.kill()
            assert_acked_are_stored(daemon, meter.covered())
            daemon.launch()
        wait_flowing(daemon, meter)
        feeder.stop()
        meter.wait_covered(within_s=120)
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)
    assert "Traceback" not in daemon.log()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_broker_that_is_killed_and_forgets_everything(
    own_broker: Mosquitto, make_faulty: MakeFaulty
) -> None:
    dice = random.Random(SEED)
    daemon = make_faulty(settings=LEAN)
    daemon.launch()
    with new_meter(own_broker) as meter, Feeder(meter, RATE, group=10) as feeder:
        for _ in range(20):
            time.sleep(dice.uniform(0.5, 3.0))
            own_broker.kill()
            for file in Path(own_broker.directory).glob("*.db*"):
                file.unlink()
            own_broker.start()
            wait_flowing(daemon, meter)
        feeder.stop()
        meter.wait_covered(within_s=120)
    assert daemon.starts == 1
    daemon.terminate(within_s=10)
    assert_all_once(daemon.database, "kitchen", feeder.sent)
    assert "Traceback" not in daemon.log()
