"""`wattwarden backup` and `wattwarden restore`: nothing half done, everything to be undone."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from tests.gateway.cli.rig import Site, fill, finding, make_site
from tests.support.daemon import Daemon
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    (tmp_path / "db").mkdir()
    made = make_site(tmp_path / "db")
    await fill(made, finding("kitchen"))
    return made


def meters_of(site: Site) -> list[str]:
    return [one["id"] for one in json.loads(site.ok("meters", "list", "--json"))["items"]]


def test_there_and_back(site: Site, tmp_path: Path) -> None:
    site.ok("meters", "add", "kitchen")
    file = tmp_path / "b.db"
    assert "checked" in site.ok("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b.db"]
    site.ok("meters", "add", "cellar")

    said = site.run("restore", str(file), "--yes")
    assert said.status == 0, said
    assert "1 meters" in said.err
    assert meters_of(site) == ["kitchen"]
    assert site.database.stat().st_mode & 0o777 == 0o600
    (aside,) = site.database.parent.glob("w.db.before-restore-*")
    assert str(aside) in said.out
    assert not list(site.database.parent.glob("*.restoring*"))

    site.ok("restore", str(aside), "--yes")
    assert meters_of(site) == ["cellar", "kitchen"]
    assert len(json.loads(site.ok("alerts", "list", "--json"))["items"]) == 1


def test_what_the_wal_still_holds_is_kept_aside(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "b.db"
    site.ok("backup", str(file))
    crashed = sqlite3.connect(site.database, isolation_level=None)
    crashed.execute("PRAGMA wal_autocheckpoint = 0")
    crashed.execute("INSERT INTO meta VALUES ('last words', 'x')")
    wal = site.database.with_name("w.db-wal").read_bytes()
    main = site.database.read_bytes()
    crashed.close()  # checkpoints: put the state of the crash back
    site.database.write_bytes(main)
    site.database.with_name("w.db-wal").write_bytes(wal)

    site.ok("restore", str(file), "--yes")
    (aside,) = site.database.parent.glob("w.db.before-restore-*")
    for path, words in ((aside, 1), (site.database, 0)):
        with contextlib.closing(sqlite3.connect(path)) as db:
            query = "SELECT count(*) FROM meta WHERE key = 'last words'"
            assert db.execute(query).fetchone() == (words,)


def test_nothing_is_overwritten_unasked(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "b.db"
    file.write_text("precious")
    said = site.run("backup", str(file))
    assert (said.status, file.read_text()) == (2, "precious")
    assert "--force" in said.err
    site.ok("backup", str(file), "--force")
    assert file.read_bytes().startswith(b"SQLite format 3")
    for own in (site.database, site.database.with_name("w.db.lock")):
        assert site.run("backup", str(own), "--force").status == 2
    assert meters_of(site) == []


@pytest.mark.parametrize("target", [".", "nowhere/b.db"])
def test_a_target_that_cannot_be(site: Site, tmp_path: Path, target: str) -> None:
    said = site.run("backup", str(tmp_path / target))
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "FILE" in said.err


def test_a_damaged_source_is_saved_as_far_as_it_goes(site: Site, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(site.database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users'").fetchone()[0]
    with site.database.open("r+b") as stream:
        stream.seek((root - 1) * 4096)
        stream.write(os.urandom(4096))
    said = site.run("backup", str(tmp_path / "b.db"))
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "damaged" in said.err
    assert (tmp_path / "b.db.damaged").exists()
    assert not (tmp_path / "b.db").exists()
    refused = site.run("restore", str(tmp_path / "b.db.damaged"), "--yes")
    assert (refused.status, "damaged" in refused.err) == (2, True)


def test_only_a_known_database_is_restored(site: Site, tmp_path: Path) -> None:
    before = site.database.read_bytes()
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE recipes (x)")
    text = tmp_path / "text.db"
    text.write_text("no database" * 100)
    newer = tmp_path / "newer.db"
    site.ok("backup", str(newer))
    with contextlib.closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    for file, word in (
        (other, "not a wattwarden"), (text, "no readable"), (newer, "newer version"),
        (tmp_path / "none.db", "no file"), (site.database, "itself"),
    ):  # fmt: skip
        said = site.run("restore", str(file), "--yes")
        assert (said.status, word in said.err) == (2, True), said
    assert site.run("restore", str(newer)).status == 2  # nobody to ask
    assert site.database.read_bytes() == before
    assert not list(site.database.parent.glob("*before-restore*"))


def test_onto_an_empty_machine(site: Site, tmp_path: Path) -> None:
    site.ok("meters", "add", "kitchen")
    site.ok("backup", str(tmp_path / "b.db"))
    (tmp_path / "new").mkdir()
    fresh = make_site(tmp_path / "new")
    said = fresh.ok("restore", str(tmp_path / "b.db"), "--yes")
    assert "undo" not in said
    assert meters_of(fresh) == ["kitchen"]


def last_of(daemon: Daemon) -> object:
    """Return the time of the only meter's last reading."""
    (kitchen,) = json.loads(daemon.cli_ok("meters", "list", "--json"))["items"]
    return kitchen["last"]["t"]


def test_beside_a_busy_daemon(own_broker: Mosquitto, daemon: Daemon, tmp_path: Path) -> None:
    readings = recent_house(windows=3000, boot=9).take(3000)
    file = tmp_path / "b.db"
    with MeterClient("kitchen", own_broker.port, boot=9) as meter:
        meter.send(readings[:1500])
        meter.wait_covered()
        copying = daemon.spawn("backup", str(file))
        meter.send(readings[1500:])
        assert copying.wait(timeout=30) == 0, copying.communicate()
        meter.wait_covered()
        refused = daemon.cli("restore", str(file), "--yes")
        assert refused.returncode != 0
        assert "systemctl stop wattwarden" in refused.stderr
        assert refused.stderr.count("\n") == 1
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows, last = db.execute("SELECT count(*), max(seq) FROM readings").fetchone()
        assert rows == last + 1 >= 1500
        runs = db.execute("SELECT first, last FROM runs").fetchall()
        assert runs == [(0, last)]

    daemon.terminate()
    daemon.cli_ok("restore", str(file), "--yes")
    daemon.start()
    # What the backup lacks is taken once when it comes again.
    with MeterClient("kitchen", own_broker.port, boot=9, array=60) as again:
        again.send(readings)
        again.wait_covered()
    # What is acknowledged is safe, and told of as soon as it is judged.
    until(lambda: last_of(daemon) == readings[-1]["t"], within_s=30)
    assert "Traceback" not in daemon.log()
