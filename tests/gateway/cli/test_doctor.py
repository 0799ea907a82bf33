"""`wattwarden doctor` on broken and on sound gateways."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.store.schema import SCHEMA_VERSION
from tests.gateway.cli.rig import Said, Site, make_site
from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

Checks = dict[str, dict[str, Any]]


def checks(text: str) -> Checks:
    """Return the checks by name, the worst of each."""
    rank = ["ok", "warning", "error"]
    items = json.loads(text)["checks"]
    return {one["name"]: one for one in sorted(items, key=lambda one: rank.index(one["level"]))}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path)
    made.ok("meters", "add", "kitchen")
    return made


def examined(site: Site, *options: str) -> tuple[Said, Checks]:
    said = site.run("doctor", "--json", *options)
    return said, checks(said.out)


def test_a_stopped_gateway_without_a_broker(site: Site) -> None:
    said, found = examined(site)
    assert said.status == 1
    assert said.err == ""
    assert json.loads(said.out)["ok"] is False
    assert found["settings"]["level"] == "ok"
    assert found["database"]["said"] == f"schema {SCHEMA_VERSION}; quick_check ok"
    assert "systemctl start wattwarden" in found["daemon"]["todo"]
    assert (found["broker"]["level"], "127.0.0.1:1 " in found["broker"]["said"]) == ("error", True)
    assert found["meters"]["said"] == "1 of 1 are well"  # nobody listens: silence means nothing
    assert found["time zone"]["level"] == "ok"
    assert "last stop" not in found
    _, full = examined(site, "--full")
    assert full["database"]["said"] == f"schema {SCHEMA_VERSION}; integrity_check ok"


def test_people_get_lines_with_what_to_do(site: Site) -> None:
    lines = site.run("doctor").out.splitlines()
    assert lines[0].startswith("ok       settings")
    at = next(number for number, line in enumerate(lines) if line.startswith("error    daemon"))
    assert lines[at + 1].strip().startswith("Administrator: systemctl start wattwarden")
    assert lines[-1].endswith((" warning", " warnings"))
    assert "\x1b" not in "".join(lines)


def test_bad_settings_are_reported_and_end_with_2(tmp_path: Path) -> None:
    site = make_site(tmp_path, web={"prot": 80})
    said, found = examined(site)
    assert said.status == 2
    assert "web.prot" in found["settings"]["said"]
    assert said.err.count("\n") == 1


def test_secrets_and_the_database_are_for_their_owner_alone(tmp_path: Path) -> None:
    secret = tmp_path / "word"
    secret.write_text("x\n")
    secret.chmod(0o644)
    site = make_site(tmp_path, mqtt={"username": "gateway", "password_file": str(secret)})
    site.ok("meters", "add", "kitchen")
    site.database.chmod(0o640)
    _, found = examined(site)
    assert found["secret mqtt.password_file"]["level"] == "error"
    assert "chmod 600" in found["secret mqtt.password_file"]["said"]
    assert found["broker"]["level"] == "warning"  # not tried
    assert "chmod 600" in found["database"]["todo"]


def test_a_damaged_database_is_an_error(site: Site) -> None:
    db = sqlite3.connect(site.database, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users'").fetchone()
    db.close()
    with site.database.open("r+b") as stream:
        stream.seek((root - 1) * 4096)
        stream.write(b"\x55" * 4096)
    said, found = examined(site)
    assert said.status == 1
    assert found["database"]["said"].startswith("damaged")
    site.database.write_bytes(b"nothing like it" * 1000)
    assert examined(site)[1]["database"]["level"] == "error"
    site.database.unlink()
    assert "does not exist" in examined(site)[1]["database"]["said"]


def test_a_newer_schema_is_an_error(site: Site) -> None:
    db = sqlite3.connect(site.database, isolation_level=None)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "newer version" in examined(site)[1]["database"]["said"]


def test_a_sound_gateway_and_its_ends(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon()
    daemon.start()
    with MeterClient("kitchen", own_broker.port, boot=3) as meter:
        meter.send(recent_house(windows=20, boot=3).take(20))
        meter.wait_covered()
        said = daemon.cli("doctor", "--json")
    found = checks(said.stdout)
    assert {name for name, one in found.items() if one["level"] == "error"} == set()
    assert said.returncode == 0, said.stdout
    assert found["daemon"]["said"] == "it runs and answers, and says it is ready"
    assert found["broker"]["level"] == "ok"
    assert found["meter kitchen"]["said"].startswith("is not calibrated")  # nothing else is amiss
    assert "service_retrying" not in daemon.log()  # the daemon kept its own connection

    own_broker.stop()
    found = checks(daemon.cli("doctor", "--json").stdout)
    assert found["broker"]["level"] == "error"
    assert found["daemon"]["level"] == "error"
    assert "intake" in found["daemon"]["said"]

    daemon.kill()
    said = daemon.cli("doctor", "--json")
    found = checks(said.stdout)
    assert said.returncode == 1
    assert found["daemon"]["said"].startswith("no daemon is running")
    assert found["last stop"]["level"] == "warning"


def test_a_broker_that_refuses_us(tmp_path: Path) -> None:
    options = {"allow_anonymous": "false"}
    with Mosquitto(tmp_path / "b", persistence=False, options=options) as closed:
        site = make_site(tmp_path, mqtt={"port": closed.port})
        broker = examined(site)[1]["broker"]
    assert broker["level"] == "error"
    assert "uthori" in broker["said"]  # "Not authorised", in MQTT 3.1.1's words
    assert "mqtt.password_file" in broker["todo"]
