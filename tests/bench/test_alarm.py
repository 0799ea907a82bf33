"""The alarm and wear benches: what they count, on small databases and devices."""

import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from bench import wear
from bench.alarm import FOUND, SWELL_V, AlertWatcher
from bench.load import VOLTS, payload, register_wh


def test_an_alert_is_noted_once_and_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE alerts (meter TEXT, kind TEXT, opened_ms INTEGER)")
    watcher = AlertWatcher(path)
    watcher.start()
    time.sleep(0.2)
    written_at = time.monotonic()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO alerts VALUES ('m', 'over_voltage', 700), ('m', 'outage', 1)")
    time.sleep(3)  # ten times a slow look: noted anew at each, it would be seen after this
    watcher.stop()
    opened_ms, seen_at = watcher.seen["m"]
    assert list(watcher.seen) == ["m"]
    assert opened_ms == 700
    assert 0 <= seen_at - written_at < 2.5
    assert "over_voltage" in FOUND


def test_a_swell_is_above_what_the_gateway_calls_dangerous() -> None:
    assert SWELL_V > 1.15 * 230 > VOLTS
    assert b'"v":276.0' in payload(0, 0, register_wh(0, 100), 100, SWELL_V)


@pytest.mark.skipif(not wear.can_mount(), reason="loop devices need root")
def test_what_is_written_to_the_device_is_counted(tmp_path: Path) -> None:
    try:
        with wear.loop_device(tmp_path) as (root, device):
            before = wear.written_bytes(device)
            (root / "file").write_bytes(b"x" * 1_000_000)
            written = wear.written_bytes(device) - before
    except subprocess.CalledProcessError as error:  # a container with root, but no devices
        pytest.skip(f"no loop device can be mounted here: {error.stderr}")
    assert 1_000_000 <= written < 2_000_000
    assert not root.is_mount()
