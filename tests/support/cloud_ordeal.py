"""A gateway with a bad line to the cloud, killed again and again; and what must be there after."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pyarrow.dataset
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from cloud_sync.documents import minute_row
from cloud_sync.packing import MinuteRow, rounded
from cloud_sync.reading import Row, merge
from gateway.adapters.store.export import SqlExportStore
from gateway.services.archiving import archive_columns
from gateway.services.exporting import ExportRow, rows
from tests.support.chaos_proxy import ChaosProxy, Mode
from tests.support.daemon import Daemon
from tests.support.firestore_rig import Fault, FirestoreRig
from tests.support.meter_client import MeterClient, Reading
from tests.support.readings import House

UTC = ZoneInfo("UTC")
CLOUD = {"enabled": True, "project": "demo-ordeal", "development": True, "late_wait_s": 1}
SECTIONS: dict[str, dict[str, Any]] = {
    "cloud": CLOUD,
    "archive": {"enabled": True, "late_wait_s": 1},
}
CODES = (
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
)  # fmt: skip
SWELL_V = 281.5


@dataclass(frozen=True)
class Ordeal:
    """How much data, and how many kills. `start_ms` begins both meters' histories."""

    start_ms: int
    windows: int
    dt_ms: int
    kills: int
    pause_s: float = 2.0  # the longest between being ready and the next kill
    feed_s: float = 600.0  # how long the meters may take to bring it all in
    seed: int = 7

    def readings(self, boot: int, seed: int) -> Iterator[Reading]:
        """Yield a meter's windows; one third on its way the voltage is far too high for 30 s."""
        house = House(start_ms=self.start_ms, boot=boot, dt_ms=self.dt_ms, seed=seed)
        swell = range(self.windows // 3, self.windows // 3 + max(3, 30_000 // self.dt_ms))
        for seq in range(self.windows):
            if seq in swell:
                yield house.window(seq, 300.0, SWELL_V)
                house._seq = seq + 1  # noqa: SLF001 - a window given by hand
            else:
                yield house.next()


class Feeding:
    """Two meters that send everything in the background, as fast as it is taken."""

    def __init__(self, ordeal: Ordeal, port: int) -> None:
        self.meters = [MeterClient(name, port, array=60) for name in ("kitchen", "workshop")]
        self._ordeal = ordeal
        self._threads = [
            threading.Thread(target=self._feed, args=(meter, seed), daemon=True)
            for seed, meter in enumerate(self.meters, 1)
        ]

    def start(self) -> None:
        """Begin to send."""
        for meter, thread in zip(self.meters, self._threads, strict=True):
            meter.connect()
            thread.start()

    def _feed(self, meter: MeterClient, seed: int) -> None:
        meter.send(self._ordeal.readings(meter.boot, seed), within_s=self._ordeal.feed_s)

    def finish(self, *, within_s: float) -> None:
        """Wait until the gateway has acknowledged all, and leave."""
        for meter, thread in zip(self.meters, self._threads, strict=True):
            thread.join(within_s)
            meter.wait_covered(within_s=within_s)
            meter.close()


def torment(ordeal: Ordeal, daemon: Daemon, proxy: ChaosProxy, rig: FirestoreRig) -> None:
    """Kill the daemon and spoil its line, each time in another way."""
    chance = random.Random(ordeal.seed)
    modes = [Mode.RESET, Mode.SLOW, Mode.CUT, Mode.PASS, Mode.BLACKHOLE]
    for turn in range(ordeal.kills):
        proxy.mode = modes[turn % len(modes)]
        proxy.cut_after = chance.randrange(2_000, 40_000)
        code = chance.choice(CODES)
        rig.faults.add(Fault("Commit", code, times=2, applied=chance.random() < 0.5))
        time.sleep(chance.uniform(0.2, ordeal.pause_s))
        daemon.kill()
        daemon.launch()
        daemon.wait_ready(within_s=300)


def packed(rig: FirestoreRig, patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return all packed documents that the cloud holds."""
    patch.setenv("FIRESTORE_EMULATOR_HOST", rig.host)
    client = firestore.Client(project="demo-ordeal", credentials=AnonymousCredentials())
    found = [one.to_dict() or {} for one in client.collection("sites/test/minutes").stream()]
    client.close()  # type: ignore[no-untyped-call]
    return found


def local_minutes(database: Path, meters: Sequence[str]) -> dict[Row, MinuteRow]:
    """Return the gateway's own 1-minute rollups."""
    store = SqlExportStore(database, UTC)
    found: dict[Row, MinuteRow] = {}
    for meter in meters:
        target = store.find(meter, "grid")
        for bucket in store.rollups(target, "1m", *store.bounds(target)):
            found[meter, "grid", bucket.start_ms] = rounded(minute_row(bucket))
    store.close()
    return found


def local_readings(database: Path, meters: Sequence[str]) -> list[ExportRow]:
    """Return all raw readings as the archive should hold them, with the meter in front."""
    store = SqlExportStore(database, UTC)
    found: list[ExportRow] = []
    for meter in meters:
        target = store.find(meter, "grid")
        low_ms, high_ms = store.bounds(target)
        found += [(meter, "grid", *row) for row in rows(store, target, "raw", low_ms, high_ms)]
    store.close()
    return sorted(found, key=repr)


def archived_rows(root: Path) -> int:
    """Return how many rows the archive has by now, from its files' footers."""
    if not root.exists():
        return 0
    files = pyarrow.dataset.dataset(root, partitioning="hive", format="parquet")
    return int(files.count_rows()) if files.files else 0


def archived(root: Path) -> list[ExportRow]:
    """Return all rows of the archive, read as any tool would that knows hive's folders."""
    table = pyarrow.dataset.dataset(root, partitioning="hive", format="parquet").to_table()
    columns = [table.column(name).to_pylist() for name in ("meter", *archive_columns("raw"))]
    return sorted(zip(*columns, strict=True), key=repr)


def wait_equal(
    ordeal: Ordeal,
    daemon: Daemon,
    rig: FirestoreRig,
    patch: pytest.MonkeyPatch,
    *,
    within_s: float,
) -> None:
    """Wait until cloud and archive hold what the gateway holds; fail with what differs."""
    meters = ("kitchen", "workshop")
    deadline_s = time.monotonic() + within_s
    daemon.cli("cloud", "drain", "--seconds", str(round(within_s)), within_s=within_s + 60)
    local = local_minutes(daemon.database, meters)
    raw = local_readings(daemon.database, meters)
    assert len(raw) == 2 * ordeal.windows
    while (documents := packed(rig, patch)) and merge(documents) != local:
        assert time.monotonic() < deadline_s, difference(merge(documents), local)
        time.sleep(1)
    assert sum(int(fields["rows"]) for fields in documents) == len(local), "a minute twice"
    root = daemon.directory / "archive"
    while (count := archived_rows(root)) < len(raw):
        assert time.monotonic() < deadline_s, (count, len(raw), daemon.log_tail(5))
        time.sleep(1)
    assert archived(root) == raw


def difference(found: dict[Row, MinuteRow], wanted: dict[Row, MinuteRow]) -> str:
    """Return the first few differences, for a message."""
    missing = sorted(set(wanted) - set(found))
    other = [(key, found[key], wanted[key]) for key in found if found[key] != wanted.get(key)]
    return f"{len(missing)} missing {missing[:3]}; {len(other)} differ {other[:2]}"
