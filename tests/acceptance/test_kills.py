"""SIGKILL for the daemon and the broker while data flows: nothing lost, nothing twice."""

import contextlib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.csv_files import write_recording
from tests.support.daemon import Daemon
from tests.support.exports import assert_stored_once, export_csv, export_rows
from tests.support.feeding import query
from tests.support.gateway_stub import until
from tests.support.household import Source, home_a, uci
from tests.support.meter_client import MeterClient, Reading
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

BOOT = 77
SPRING_2025_MS = 1_743_465_600_000


def told(daemon: Daemon, meter: str) -> list[tuple[Any, ...]]:
    """Return what a person was told about a meter: one entry per alert, in order."""
    keys = ("channel", "kind", "severity", "state", "opened", "resolved", "title")
    with Api.logged_in(daemon) as api:
        alerts = api.items("alerts", state="all", meter=meter)
    return sorted(tuple(str(alert[key]) for key in keys) for alert in alerts)


def wait_judged(daemon: Daemon, *, within_s: float = 60.0) -> None:
    """Block until judging has caught up with what is stored."""
    deadline = time.monotonic() + within_s
    with Api.logged_in(daemon, "watcher", "viewer") as api:
        while api.get("status")["backlog"]["judge"]:
            assert time.monotonic() < deadline, daemon.log_tail()
            time.sleep(0.2)


def assert_sound(database: Path) -> None:
    """Fail unless SQLite finds the whole file intact."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def start_replay(daemon: Daemon, source: Source) -> subprocess.Popen[str]:
    """Start `wattwarden replay` of one source."""
    options = [part for pair in source.maps for part in ("--map", pair)]
    return daemon.spawn("replay", str(source.path), "--meter", source.meter, *options)


def finish_replay(process: subprocess.Popen[str], *, within_s: float) -> None:
    """Wait for a replay that must succeed."""
    _, errors = process.communicate(timeout=within_s)
    assert process.returncode == 0, errors[-2000:]
    assert "Traceback" not in errors


def outcome(daemon: Daemon, sources: list[Source]) -> dict[str, tuple[list[Any], str]]:
    """End a daemon in good order; return what was told and stored of each meter."""
    wait_judged(daemon, within_s=300)
    found = {s.meter: (told(daemon, s.meter), export_csv(daemon, s.meter)) for s in sources}
    daemon.terminate(within_s=10)
    assert_sound(daemon.database)
    assert "Traceback" not in daemon.log()
    return found


def undisturbed(daemon: Daemon, sources: list[Source]) -> dict[str, tuple[list[Any], str]]:
    """Replay without any kill; return what was told and stored of each meter."""
    daemon.start()
    for source in sources:
        finish_replay(start_replay(daemon, source), within_s=900)
    return outcome(daemon, sources)


def disturb(
    daemon: Daemon,
    broker: Mosquitto,
    plan: str,
    pause_s: float,
    replays: list[subprocess.Popen[str]],
) -> int:
    """Carry out a plan: `d` kills the daemon, `b` the broker, each started again.

    The next one follows as soon as a reading is stored again: all shall hit work.

    Returns how many of the kills hit while a replay was still going on.
    """
    hits = 0
    for victim in plan:
        time.sleep(pause_s)
        hits += any(replay.poll() is None for replay in replays)
        if victim == "d":
            daemon.kill()
            before = newest_row(daemon)
            daemon.launch()
            until(lambda: newest_row(daemon) > before, within_s=30)  # noqa: B023 - called at once
        else:
            broker.kill_and_restart()
    daemon.wait_ready()
    return hits


def newest_row(daemon: Daemon) -> int:
    """Return the number of the last reading that is stored, 0 where there is none."""
    return int(query(daemon.database, "SELECT coalesce(max(row), 0) FROM readings")[0][0])


@contextlib.contextmanager
def live_meter(broker: Mosquitto, readings: list[Reading]) -> Iterator[None]:
    """Send readings one by one in the background; all are acknowledged at the end."""
    with MeterClient("kitchen", broker.port, boot=BOOT, resend_after_s=3) as meter:

        def send() -> None:
            for reading in readings:
                meter.send([reading])
                time.sleep(0.01)

        sender = threading.Thread(target=send)
        sender.start()
        yield
        sender.join(timeout=120)
        meter.wait_covered(within_s=60)


def test_four_kills_of_the_daemon_and_two_of_the_broker(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    recording = write_recording(tmp_path / "home.csv", rows=20_000, start_ms=SPRING_2025_MS)
    source = Source("cellar", recording.path)
    readings = recent_house(windows=1200, boot=BOOT).take(1200)
    daemon = make_daemon("disturbed")
    daemon.start()
    with live_meter(own_broker, readings):
        replay = start_replay(daemon, source)
        hits = disturb(daemon, own_broker, "ddbdbd", 0.4, [replay])
        finish_replay(replay, within_s=90)
    assert hits >= 3
    assert_stored_once(export_rows(daemon, "kitchen"), readings)
    assert told(daemon, "kitchen") == []

    rows = export_rows(daemon, source.meter)
    assert [row["t"] for row in rows] == [row["t"] for row in recording.rows]
    assert rows[-1]["seq"] == len(recording.rows) + recording.missing - 1

    disturbed = outcome(daemon, [source])
    alerts, _ = disturbed[source.meter]
    assert {alert[1] for alert in alerts} >= {"over_voltage", "under_voltage"}
    assert disturbed == undisturbed(make_daemon("calm"), [source])


@pytest.mark.soak
@pytest.mark.shared
@pytest.mark.timeout(3600)
def test_ten_kills_and_five_of_the_broker_on_two_real_homes(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], tmp_path: Path, shared: Path
) -> None:
    first, _ = uci(shared, tmp_path, days=40)
    second, _ = home_a(shared, tmp_path, start="2020-03-01", end="2020-04-30")
    readings = recent_house(windows=3000, boot=BOOT).take(3000)
    daemon = make_daemon("disturbed")
    daemon.start()
    with live_meter(own_broker, readings):
        replays = [start_replay(daemon, source) for source in (first, second)]
        hits = disturb(daemon, own_broker, "ddbddbddbddbddb", 0.5, replays)
        for replay in replays:
            finish_replay(replay, within_s=1500)
    assert hits >= 12
    assert_stored_once(export_rows(daemon, "kitchen"), readings)
    disturbed = outcome(daemon, [first, second])
    assert all(alerts for alerts, _ in disturbed.values())
    assert disturbed == undisturbed(make_daemon("calm"), [first, second])
