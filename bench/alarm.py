"""How long after the reading that shows a fault its alert stands in the database.

Fifty meters send windows of 100 ms, 500 readings a second in all; one after the other has a
swell (1.2 times the nominal voltage), which the gateway must tell once it has lasted 3 s. The clock
starts when the window that completes those 3 s is published: the alert names its time.
"""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

from bench.common import Figures, percentile
from bench.latency import WARM_UP_S
from bench.load import METERS, VOLTS, close, connect, meter_name, payload, register_wh

WINDOW_MS = 100
SWELL_V = 1.2 * 230
EVERY_S = 0.2  # the next meter's swell
LAST_S = 6.0  # the last one's 3 s, and time to tell it
POLL_S = 0.01
FOUND = "SELECT meter, opened_ms FROM alerts WHERE kind = 'over_voltage'"


class AlertWatcher(threading.Thread):
    """Looks into the database every 10 ms and notes when (monotonic s) an alert is there."""

    def __init__(self, database: Path) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, tuple[int, float]] = {}  # meter → opened, ms; seen at
        self._uri = f"file:{database}?mode=ro"
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Look until asked to stop."""
        with contextlib.closing(sqlite3.connect(self._uri, uri=True, timeout=10)) as db:
            while not self._stop_asked.wait(POLL_S):
                rows = db.execute(FOUND).fetchall()
                now = time.monotonic()
                for meter, opened_ms in rows:
                    self.seen.setdefault(meter, (opened_ms, now))

    def stop(self) -> None:
        """End the thread."""
        self._stop_asked.set()
        self.join(timeout=10)


def measure_alerts(port: int, database: Path) -> Figures:
    """Measure one swell of each meter."""
    watcher = AlertWatcher(database)
    watcher.start()
    start_ms, sent = publish_swells(port)
    watcher.stop()
    late_ms = [
        (seen_at - sent[meter, (opened_ms - start_ms) // WINDOW_MS - 1]) * 1000
        for meter, (opened_ms, seen_at) in watcher.seen.items()
    ]
    return {
        "alert_p50_ms": percentile(late_ms, 0.5) if late_ms else float("inf"),
        "alert_p99_ms": percentile(late_ms, 0.99) if late_ms else float("inf"),
        "alerts_missing": METERS - len(late_ms),
    }


def publish_swells(port: int) -> tuple[int, dict[tuple[str, int], float]]:
    """Publish in a steady rhythm; return the start and when each (meter, seq) was sent."""
    client = connect(port, "bench-latency")
    start_ms, began = int(time.time() * 1000), time.monotonic()
    sent: dict[tuple[str, int], float] = {}
    windows = int((WARM_UP_S + METERS * EVERY_S + LAST_S) * 1000 / WINDOW_MS)
    for seq in range(windows):
        register = register_wh(seq, WINDOW_MS)
        for index in range(METERS):
            due = began + (seq + index / METERS) * WINDOW_MS / 1000
            time.sleep(max(0.0, due - time.monotonic()))
            swells = seq * WINDOW_MS / 1000 >= WARM_UP_S + index * EVERY_S
            volts = SWELL_V if swells else VOLTS
            body = payload(seq, start_ms, register, WINDOW_MS, volts)
            sent[meter_name(index), seq] = time.monotonic()
            client.publish(f"ww/v1/{meter_name(index)}/readings", body, qos=1)
    time.sleep(1.0)
    close(client)
    return start_ms, sent
