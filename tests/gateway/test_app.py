"""The wiring: one gateway a database, readiness, and an end in order."""

import asyncio
from pathlib import Path

import pytest

from gateway import app as app_module
from gateway.app import Parts, run_gateway
from gateway.domain.errors import AlreadyRunningError
from gateway.settings import Settings
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port


async def moment() -> None:
    await asyncio.sleep(0.02)


def settings(folder: Path, port: int) -> Settings:
    return Settings.model_validate(
        {
            "storage": {"path": folder / "w.db"},
            "mqtt": {"port": port},
            "web": {"enabled": False},
            "clock": {"trust": "always"},
        }
    )


async def begun(config: Settings, stop: asyncio.Event) -> tuple[Parts, asyncio.Task[None]]:
    """Run a gateway in this loop; return its parts once it has loaded."""
    parts: list[Parts] = []
    task = asyncio.ensure_future(run_gateway(config, stop, started=parts.append))
    async with asyncio.timeout(15):
        while not task.done() and not (parts and parts[0].deriver.loaded.is_set()):
            await moment()
    return parts[0], task


async def test_ready_means_connected_and_loaded(broker: Mosquitto, short_path: Path) -> None:
    stop = asyncio.Event()
    parts, task = await begun(settings(short_path, broker.port), stop)
    async with asyncio.timeout(10):
        while parts.unready():
            await moment()
    runtime = parts.runtime()
    assert runtime.clock_trusted
    assert all(health.state == "running" for health in runtime.services.values())
    assert {"intake", "judging", "control", "watching"} <= set(runtime.services)
    stop.set()
    await asyncio.wait_for(task, 5)
    assert all(health.state == "stopped" for health in parts.board.services.values())


async def test_without_a_broker_it_waits_says_so_and_still_ends_in_order(short_path: Path) -> None:
    stop = asyncio.Event()
    parts, task = await begun(settings(short_path, free_port()), stop)
    async with asyncio.timeout(10):
        while parts.board.of("intake").retries == 0:
            await moment()
    assert "broker 127.0.0.1" in parts.unready()["intake"]
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_the_embedded_broker_serves_where_there_is_none(short_path: Path) -> None:
    stop = asyncio.Event()
    base = settings(short_path, free_port())
    embedded = base.model_copy(update={"mqtt": base.mqtt.model_copy(update={"embedded": True})})
    parts, task = await begun(embedded, stop)
    async with asyncio.timeout(15):
        while parts.unready():
            await moment()
    stop.set()
    await asyncio.wait_for(task, 8)


async def test_a_second_gateway_on_the_same_database_is_refused(
    broker: Mosquitto, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "LOCK_PATIENCE_S", 0.3)
    stop = asyncio.Event()
    config = settings(short_path, broker.port)
    _, task = await begun(config, stop)
    with pytest.raises(AlreadyRunningError):
        await run_gateway(config, asyncio.Event())
    stop.set()
    await asyncio.wait_for(task, 5)
