"""Commands' code is loaded when a command comes and let go when nothing is left to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orders
import pytest
from clock import Clock
from collector import Collector
from commands import Commands
from config import load_config
from errors import MeterError
from orders import Kept, Orders

from tests.support.firmware import needs_vm, vm


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds, or raise TimeoutError."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - of whatever it depends on
            await asyncio.sleep(0)


class Part:
    """What commands act on; `shown` is what the relay and the lamp were told."""

    connected_since_ms: int | None = 1

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.now_ms = 1000
        self.calibration: Any = None

    def up_ms(self) -> int:
        return self.now_ms

    def relay(self, on: bool) -> None:  # noqa: FBT001 - as boards have it
        self.shown.append(f"relay {on}")

    def identify(self, on: bool) -> None:  # noqa: FBT001
        self.shown.append(f"lamp {on}")

    def reset(self) -> None:
        self.shown.append("reset")

    def free_heap(self) -> int:
        return 1

    def rssi(self) -> int | None:
        return None

    def chip(self) -> str:
        return "test"

    async def reconnect(self, network: tuple[str, str] | None = None) -> None:
        raise MeterError(str(network))

    async def close(self) -> None:
        """Never needed."""

    def flush(self, offset_ms: int | None) -> None:
        """Never needed."""

    def have(self) -> list[dict[str, int]]:
        return []

    def backlog(self) -> int:
        return 0


class Rig:
    """Orders of a meter; `answers` holds what it said, `made` counts how often it loaded."""

    def __init__(self, root: Path) -> None:
        made = {"meter": "shed-1", "channels": ["grid"]}
        (root / "config.json").write_text(json.dumps(made))
        self.root = root
        self.part = Part()
        self.made = 0
        self.answers: list[dict[str, Any]] = []
        self.orders = Orders(self._make)

    def _make(self, kept: Kept) -> tuple[Commands, Collector]:
        self.made += 1
        part: Any = self.part
        collector = Collector(part, ["grid"])
        commands = Commands(
            load_config(str(self.root)), part, Clock(part), link=part, meter=collector,
            keeper=part, root=str(self.root), send_result=self.answers.append, kept=kept,
        )  # fmt: skip
        return commands, collector

    async def say(self, name: str, kind: str, **args: object) -> None:
        """Give a command and wait until it is answered."""
        count = len(self.answers)
        await self.orders.handle({"id": name, "kind": kind, "args": args, "ttl": 9000}, 1000)
        await until(lambda: len(self.answers) > count)

    async def until_idle(self) -> None:
        """Wait until the code is let go."""
        await until(lambda: not self.orders.loaded)


@asynccontextmanager
async def running(root: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    patch.setattr(orders, "POLL_S", 0.0005)
    patch.setattr(orders, "IDLE_S", 0.01)
    rig = Rig(root)
    task = asyncio.create_task(rig.orders.run())
    yield rig
    task.cancel()


async def test_nothing_is_loaded_until_a_command_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as rig:
        assert (rig.made, rig.orders.loaded) == (0, False)
        await rig.say("a", "relay", on=True)
        assert rig.answers[-1]["ok"]
        assert (rig.made, rig.orders.loaded) == (1, True)
        await rig.until_idle()


async def test_a_repeat_is_answered_after_the_code_was_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as rig:
        await rig.say("a", "relay", on=True)
        await rig.until_idle()
        await rig.say("a", "relay", on=True)
        assert rig.made == 2
        assert rig.part.shown == ["relay True"]
        assert rig.answers[0] == rig.answers[1]
        await rig.until_idle()
        await rig.say("b", "report")
        assert rig.answers[-1]["data"]["relay"] is True


async def test_what_goes_on_keeps_it_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as rig:
        await rig.say("a", "identify", seconds=5)
        await rig.orders.handle(
            {"id": "c", "kind": "calibrate", "args": {"seconds": 600}, "ttl": 9000}, 1000
        )
        await asyncio.sleep(0.05)
        assert rig.orders.loaded
        rig.part.now_ms += 6000
        await until(lambda: "lamp False" in rig.part.shown)
        assert rig.orders.loaded  # the calibration goes on


IN_VM = """
import asyncio, gc, sys
import orders
from orders import Orders
from clock import Clock
orders.IDLE_S, orders.POLL_S = 0.02, 0.005
class Part:
    connected_since_ms = 1
    def up_ms(self): return 1000
    def relay(self, on): pass
    def identify(self, on): pass
class Settings:
    relay = True
part = Part()
def make(kept):
    from collector import Collector
    from commands import Commands
    collector = Collector(part, ["grid"])
    return Commands(Settings(), part, Clock(part), link=part, meter=collector, keeper=part,
        root=sys.argv[1], send_result=lambda r: None, kept=kept), collector
async def main():
    made = Orders(make)
    task = asyncio.create_task(made.run())
    for n in range(12):
        await asyncio.sleep(0)
        command = {"id": str(n % 4), "kind": "relay", "args": {"on": True}, "ttl": 1000}
        await made.handle(command, 1000)
        while made.loaded:
            await asyncio.sleep(0.01)
        for again in range(5):  # what was cancelled has its turn, also on a loaded machine
            await asyncio.sleep(0.01)
        gc.collect()
        print(gc.mem_alloc())
asyncio.run(main())
"""


@needs_vm
def test_memory_comes_back_in_the_vm(tmp_path: Path) -> None:
    after = [int(line) for line in vm(IN_VM, str(tmp_path)).split()]
    assert max(after[5:]) - after[4] <= 200
