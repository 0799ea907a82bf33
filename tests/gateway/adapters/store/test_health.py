"""The database's health: a check after an unclean stop, and the space beside it."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from gateway.adapters.metrics import registry_of
from gateway.adapters.store import health as health_module
from gateway.adapters.store.health import HealthCheck
from gateway.adapters.store.quarantine import open_or_replace
from gateway.domain.alerts import AlertKind
from gateway.domain.errors import StorageError
from gateway.supervise import Board
from tests.gateway.services.site_rig import Site, windows
from tests.gateway.services.test_operations import Office

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own


async def moment() -> None:
    await asyncio.sleep(0.01)


def leave_open(path: Path) -> None:
    """Use a database and end without closing it."""
    code = (
        "import os, pathlib, sys\n"
        "from gateway.adapters.store.database import Database\n"
        "Database(pathlib.Path(sys.argv[1]))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)


def set_aside(folder: Path) -> list[Path]:
    return list(folder.glob("s.db.damaged-*Z"))


async def run_for(check: HealthCheck, seconds: float) -> None:
    task = asyncio.ensure_future(check.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_full_disk_is_told_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "LOOK_S", 0.01)
    free = [50_000_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free[0]))
    with Site(tmp_path / "s.db") as site:
        await site.deriver.load()
        task = asyncio.ensure_future(HealthCheck(site.database, site.deriver, site.now).run())
        async with asyncio.timeout(5):
            while not site.deriver.desk.book.open_alerts:
                await moment()
        (alert,) = site.deriver.desk.book.open_alerts
        assert alert.key == ("", "", AlertKind.STORAGE)
        assert "50 MB" in alert.detail
        free[0] = 10**9
        async with asyncio.timeout(5):
            while site.query("SELECT state, count FROM alerts") != [("resolved", 1)]:
                await moment()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert site.deriver.desk.book.open_alerts == ()


async def test_a_sound_database_after_an_unclean_stop_is_no_news(tmp_path: Path) -> None:
    leave_open(tmp_path / "s.db")
    with Site(tmp_path / "s.db") as site:
        assert site.database.was_unclean
        await site.deriver.load()
        await run_for(HealthCheck(site.database, site.deriver, site.now), 0.3)
        assert site.deriver.desk.book.open_alerts == ()


async def test_damage_found_at_the_start_ends_the_process_for_the_next_to_set_it_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_quick_check", lambda _: "row 7 missing from index x")
    monkeypatch.setattr(health_module, "LOOK_S", 0.01)
    path = tmp_path / "s.db"
    with Site(path) as site:
        await site.deriver.load()
        async with asyncio.timeout(5):
            with pytest.raises(StorageError, match="row 7 missing"):
                await HealthCheck(site.database, site.deriver, site.now).run()
    database, note = open_or_replace(path)
    database.close()
    assert "row 7 missing" in note
    assert len(set_aside(tmp_path)) == 1


async def test_a_suspect_that_a_check_finds_sound_is_kept(tmp_path: Path) -> None:
    with Site(tmp_path / "s.db") as site:
        site.database.condemn("a page that a second look finds whole")
    database, note = open_or_replace(tmp_path / "s.db")
    database.close()
    assert note == ""
    assert set_aside(tmp_path) == []


async def test_an_alert_of_an_earlier_database_stays_until_a_person_resolves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "LOOK_S", 0.01)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**11))
    for note in ("The database was damaged (x).", ""):
        with Site(tmp_path / "s.db") as site:
            await site.deriver.load()
            await run_for(HealthCheck(site.database, site.deriver, site.now, note), 0.3)
            (alert,) = site.deriver.desk.book.open_alerts
            assert "damaged" in alert.detail


async def test_commits_that_fail_are_told_as_soon_as_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "LOOK_S", 0.01)
    monkeypatch.setattr(health_module, "CALM_S", 0.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**11))
    with Site(tmp_path / "s.db") as site:
        await site.deriver.load()
        task = asyncio.ensure_future(HealthCheck(site.database, site.deriver, site.now).run())

        def fail(_: object) -> None:
            msg = "disk I/O error"
            raise sqlite3.OperationalError(msg)

        with pytest.raises(StorageError):
            await site.database.write(fail)
        assert "disk I/O error" in site.database.trouble
        async with asyncio.timeout(5):
            while site.query("SELECT state FROM alerts") != [("resolved",)]:
                await moment()
        assert site.database.trouble == ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_metrics_tell_what_the_services_know(tmp_path: Path) -> None:
    with Site(tmp_path / "s.db") as site:
        site.send(windows(0, 9))
        office = Office(site)
        await office.load()
        board = Board()
        board.of("intake").state = "running"
        board.of("web").state = "retrying"
        office.intake.counters.dead_letters["not_json"] = 3
        registry = registry_of(office.intake, site.deriver, board, lambda: True)
        text = generate_latest(registry).decode()
        for line in (
            'wattwarden_dead_letters_total{reason="not_json"} 3.0',
            "wattwarden_meters 1.0",
            "wattwarden_connected 0.0",
            "wattwarden_clock_trusted 1.0",
            "wattwarden_judge_backlog 10.0",
            'wattwarden_service_up{service="intake"} 1.0',
            'wattwarden_service_up{service="web"} 0.0',
            'wattwarden_open_alerts{severity="critical"} 0.0',
        ):
            assert line in text.splitlines()
        await site.derive()
        assert "wattwarden_judge_backlog 0.0" in generate_latest(registry).decode().splitlines()
        assert "process_resident_memory_bytes" in text
