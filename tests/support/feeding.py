"""A meter that sends at a steady rate in the background, and what the database says of it."""

import contextlib
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Self

from tests.support.meter_client import MeterClient, Reading
from tests.support.readings import House, now_ms

Row = tuple[int, int, int]  # boot, seq, n


class Feeder:
    """Sends windows of a house, `rate` a second, until stopped; a context manager.

    Windows are 100 ms long, so that many a second are plausible. `sent` holds them all.
    """

    def __init__(self, meter: MeterClient, rate: float, *, group: int = 5, seed: int = 1) -> None:
        self.meter = meter
        self.sent: list[Reading] = []
        self._period_s = group / rate
        self._group = group
        start_ms = now_ms() - 3_600_000
        self._house = House(start_ms=start_ms, boot=meter.boot, dt_ms=100, seed=seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_forever, daemon=True)
        meter.array = group

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join(timeout=60)

    def _send_forever(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            readings = self._house.take(self._group)
            self.sent += readings
            self.meter.send(readings)
            due = max(due + self._period_s, time.monotonic() - 1.0)
            self._stop.wait(max(0.0, due - time.monotonic()))


def query(path: Path, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Read a database beside the daemon."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        return db.execute(sql, arguments).fetchall()


def stored(path: Path, meter: str) -> list[Row]:
    """Return what is stored of a meter, in the order of boots and seq."""
    sql = (
        "SELECT b.boot, r.seq, r.n FROM readings r JOIN boots b ON b.no = r.boot_no"
        " JOIN meters m ON m.no = b.meter_no WHERE m.id = ? ORDER BY b.no, r.seq"
    )
    return query(path, sql, meter)


def assert_all_once(path: Path, meter: str, sent: list[Reading]) -> None:
    """Fail unless every reading is stored, once, in a sound database."""
    rows = stored(path, meter)
    wanted = sorted((reading["boot"], reading["seq"], 1) for reading in sent)
    assert len(rows) == len(set(rows)), "stored twice"
    missing = set(wanted) - set(rows)
    assert not missing, (len(missing), sorted(missing)[:5])
    assert sorted(rows) == wanted
    assert_sound(path)


def assert_sound(path: Path) -> None:
    """Fail unless SQLite finds the whole file intact."""
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def storage_alerts(path: Path) -> list[dict[str, Any]]:
    """Return the alerts about storage, oldest first."""
    sql = "SELECT state, detail, evidence FROM alerts WHERE kind = 'storage' ORDER BY opened_ms"
    return [
        {"state": state, "detail": detail, "evidence": json.loads(evidence)}
        for state, detail, evidence in query(path, sql)
    ]
