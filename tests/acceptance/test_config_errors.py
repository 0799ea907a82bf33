"""Configuration errors: exit status 2 with one clear line, or a retry that says why."""

import contextlib
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.api import write_secret
from tests.support.daemon import Daemon, run_cli
from tests.support.exports import assert_stored_once, export_rows
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

MISTAKES = {
    "unknown section": ("[mqqt]\nhost = 'x'\n", "mqqt"),
    "unknown key": ("[mqtt]\nhots = 'x'\n", "hots"),
    "wrong type": ("[mqtt]\nport = 'many'\n", "port"),
    "out of range": ("[mqtt]\nport = 70000\n", "port"),
    "bad site id": ("[site]\nid = 'My Home'\n", "id"),
    "unknown time zone": ("[site]\ntimezone = 'Mars/Olympus'\n", "timezone"),
    "bad log level": ("[log]\nlevel = 'loud'\n", "level"),
    "not TOML": ("[mqtt\nhost = \n", "config.toml"),
    "missing password file": (
        "[mqtt]\nusername = 'gateway'\npassword_file = '/nonexistent/secret'\n",
        "/nonexistent/secret",
    ),
    "missing CA file": ("[mqtt]\nca_file = '/nonexistent/ca.crt'\n", "/nonexistent/ca.crt"),
}


def assert_refused(done: subprocess.CompletedProcess[str], named: str) -> None:
    """Fail unless a command ended with 2 and one clear line that names the culprit."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert any(named in line for line in lines), done.stderr
    assert len(lines) <= 4, done.stderr  # click may add its usage lines


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(command: str, mistake: str, short_path: Path) -> None:
    text, named = MISTAKES[mistake]
    config = short_path / "config.toml"
    config.write_text(text + f"\n[storage]\npath = '{short_path}/w.db'\n")
    assert_refused(run_cli([command, "--config", str(config)], short_path, 20), named)


@pytest.mark.parametrize("command", [["run"], ["check-config"], ["alerts", "list"]])
def test_a_missing_file_is_named(command: list[str], short_path: Path) -> None:
    missing = short_path / "nowhere.toml"
    done = run_cli([*command, "--config", str(missing)], short_path, 20)
    assert_refused(done, "nowhere.toml")


def test_a_good_configuration_passes(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    done = daemon.cli("check-config")
    assert done.returncode == 0, done.stderr


def test_an_unknown_option_is_wrong_usage(short_path: Path) -> None:
    done = run_cli(["run", "--colour"], short_path, 20)
    assert done.returncode == 2
    assert "--colour" in done.stderr


def test_a_password_file_others_can_read_is_refused(
    make_daemon: Callable[..., Daemon], short_path: Path
) -> None:
    secret = write_secret(short_path / "mqtt", "hush")
    secret.chmod(0o644)
    settings = {"mqtt": {"username": "gateway", "password_file": str(secret)}}
    done = make_daemon(settings=settings).cli("run", within_s=20)
    assert_refused(done, str(secret))


def test_a_database_of_a_newer_version_is_refused(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    with daemon:
        daemon.terminate(within_s=6)
    with contextlib.closing(sqlite3.connect(daemon.database)) as db:
        make_newer(db)
    assert_refused(daemon.cli("run", within_s=20), "wattwarden.db")
    with contextlib.closing(sqlite3.connect(daemon.database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def make_newer(db: sqlite3.Connection) -> None:
    """Leave the marks a future version's migration would: a version, a migration."""
    tables = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%migrations%'"
    )
    for (table,) in tables.fetchall():
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        last = db.execute(f"SELECT * FROM {table}").fetchone()  # noqa: S608
        row = dict(zip(columns, last, strict=True)) | {"name": "m9999_from_the_future"}
        row = {key: value for key, value in row.items() if key != "id"}
        marks = ",".join("?" * len(row))
        names = ",".join(row)
        db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))  # noqa: S608
    db.execute("PRAGMA user_version = 9999")
    db.commit()


def test_a_database_that_is_a_directory_is_named(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.database.mkdir()
    done = daemon.cli("run", within_s=20)
    assert done.returncode in {1, 2}
    assert "wattwarden.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_web_port_in_use_is_named(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    """The web server waits for its port; intake needs no web server."""
    own_broker.stop()  # the first daemon must not take the readings
    other = make_daemon("first")
    other.launch()
    wait_for_log(other, str(own_broker.port))
    second = make_daemon("second", settings={"web": {"port": other.web_port}})
    second.launch()
    wait_for_log(second, str(other.web_port))
    assert "Traceback" not in second.log()
    other.kill()
    own_broker.start()
    readings = recent_house(windows=5, boot=4).take(5)
    with MeterClient("kitchen", own_broker.port, boot=4, resend_after_s=2) as meter:
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(second, "kitchen"), readings)


def test_a_broker_that_is_not_there_yet_is_waited_for(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    own_broker.stop()
    daemon = make_daemon()
    daemon.launch()
    wait_for_log(daemon, str(own_broker.port))
    assert daemon.running
    wait_for_log(daemon, "web_listening")
    assert httpx.get(f"{daemon.url}/healthz", timeout=5).status_code == 200
    assert not daemon.ready()
    assert "Traceback" not in daemon.log()

    own_broker.start()
    daemon.wait_ready(within_s=75)
    readings = recent_house(windows=5, boot=4).take(5)
    with MeterClient("kitchen", own_broker.port, boot=4) as meter:
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, "kitchen"), readings)


def test_a_broker_that_refuses_the_password_is_said_clearly(
    tmp_path: Path, short_path: Path
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", passwords, "gateway", "right"], check=True)
    options = {"allow_anonymous": "false", "password_file": str(passwords)}
    secret = write_secret(short_path / "mqtt", "wrong")
    settings = {"mqtt": {"username": "gateway", "password_file": str(secret)}}
    with Mosquitto(tmp_path / "m", options=options) as broker:
        daemon = Daemon(short_path / "d", mqtt_port=broker.port, settings=settings)
        try:
            daemon.launch()
            wait_for_log(daemon, "uthori", "efused")
            assert daemon.running  # it retries: the operator may mend the broker
            assert not daemon.ready()
            assert "wrong" not in daemon.log()  # the secret is never told
            assert "Traceback" not in daemon.log()
        finally:
            daemon.__exit__()


def wait_for_log(daemon: Daemon, *wanted: str, within_s: float = 20.0) -> None:
    """Block until the log holds one of the words."""
    deadline = time.monotonic() + within_s
    while not any(word in daemon.log() for word in wanted):
        assert time.monotonic() < deadline, daemon.log_tail()
        time.sleep(0.1)
