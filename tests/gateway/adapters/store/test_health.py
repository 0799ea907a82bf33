"""The database's health: a check after an unclean stop, and the space beside it."""

import asyncio
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from gateway.adapters.metrics import registry_of
from gateway.adapters.store import health as health_module
from gateway.adapters.store.health import HealthCheck
from gateway.domain.alerts import AlertKind
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
            while site.deriver.desk.book.open_alerts:
                await moment()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert site.query("SELECT state, count FROM alerts") == [("resolved", 1)]


async def test_a_sound_database_after_an_unclean_stop_is_no_news(tmp_path: Path) -> None:
    leave_open(tmp_path / "s.db")
    with Site(tmp_path / "s.db") as site:
        assert site.database.was_unclean
        await site.deriver.load()
        await run_for(HealthCheck(site.database, site.deriver, site.now), 0.3)
        assert site.deriver.desk.book.open_alerts == ()


async def test_a_damaged_database_stays_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_quick_check", lambda _: "row 7 missing from index x")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**11))
    leave_open(tmp_path / "s.db")
    with Site(tmp_path / "s.db") as site:
        await site.deriver.load()
        await run_for(HealthCheck(site.database, site.deriver, site.now), 0.3)
        (alert,) = site.deriver.desk.book.open_alerts
        assert "row 7 missing" in alert.detail


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
