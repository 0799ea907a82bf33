"""Rule D of the contract through a real broker, the real services and the real database."""

import asyncio
import sqlite3
from pathlib import Path

from gateway.app import Parts, run_gateway
from gateway.settings import Settings
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

BOOT = 77


def settings(folder: Path, port: int) -> Settings:
    return Settings.model_validate(
        {
            "storage": {"path": folder / "w.db"},
            "mqtt": {"port": port},
            "web": {"enabled": False},
            "clock": {"trust": "always"},
        }
    )


async def moment() -> None:
    await asyncio.sleep(0.02)


async def gateway(folder: Path, port: int, stop: asyncio.Event) -> asyncio.Task[None]:
    """Run the gateway in this loop; return once it is connected."""
    parts: list[Parts] = []
    task = asyncio.ensure_future(run_gateway(settings(folder, port), stop, started=parts.append))
    async with asyncio.timeout(15):
        while not task.done() and not (parts and parts[0].intake.connected):
            await moment()
    return task


def stored(folder: Path) -> list[int]:
    with sqlite3.connect(f"file:{folder / 'w.db'}?mode=ro", uri=True) as db:
        return [seq for (seq,) in db.execute("SELECT seq FROM readings ORDER BY seq")]


async def test_rule_d_what_is_acked_is_stored_through_kills_of_the_broker(
    own_broker: Mosquitto, short_path: Path
) -> None:
    readings = recent_house(windows=600, boot=BOOT).take(600)
    stop = asyncio.Event()
    task = await gateway(short_path, own_broker.port, stop)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=5, resend_after_s=1) as meter:
        for first in range(0, 600, 200):
            await asyncio.to_thread(meter.send, readings[first : first + 200])
            await asyncio.to_thread(own_broker.kill_and_restart)
            assert set(stored(short_path)) >= set(range(meter.covered() + 1))
        await asyncio.to_thread(meter.wait_covered, within_s=30)
    stop.set()
    await asyncio.wait_for(task, 10)
    assert stored(short_path) == list(range(600))


async def test_rule_d_a_stop_commits_and_answers_what_has_come(
    own_broker: Mosquitto, short_path: Path
) -> None:
    readings = recent_house(windows=100, boot=BOOT).take(100)
    stop = asyncio.Event()
    task = await gateway(short_path, own_broker.port, stop)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=10) as meter:
        await asyncio.to_thread(meter.send, readings)
        stop.set()
        await asyncio.wait_for(task, 5)
        covered = meter.covered()
        assert set(stored(short_path)) >= set(range(covered + 1))
        again = asyncio.Event()
        task = await gateway(short_path, own_broker.port, again)
        await asyncio.to_thread(meter.wait_covered, within_s=20)
        again.set()
        await asyncio.wait_for(task, 5)
    assert stored(short_path) == list(range(100))
