"""A meter's parts around its commands, for their tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clock import ACK, Clock
from commands import Commands
from config import load_config

SUMS = {"windows": 5, "f": 50.0, "v": {"rms": 900.0, "mean": 0.1}, "ch": {}, "cal": 2}


class Rig:
    """A meter's parts around its commands; `say` gives one, `answers` holds what it said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / "config.json").exists():
            wifi = [{"ssid": "old", "password": "old-secret"}]
            made = {"meter": "shed-1", "channels": ["grid"], "wifi": wifi}
            (root / "config.json").write_text(json.dumps(made))
        self.config = load_config(str(root))
        self.now_ms = 5000
        self.clock = Clock(self)
        self.clock.set(1_763_760_000_000, ACK)
        self.switched: list[bool] = []
        self.lit: list[bool] = []
        self.resets = 0
        self.saved = 0
        self.flushed: list[int | None] = []
        self.connected_since_ms: int | None = 100
        self.networks: list[tuple[str, str] | None] = []
        self.reachable = {"old", "new"}
        self.collecting = asyncio.Event()
        self.sums: dict[str, Any] = SUMS
        self.answers: list[dict[str, Any]] = []
        self.commands = Commands(
            self.config,
            self,
            self.clock,
            link=self,
            meter=self,
            keeper=self,
            root=str(root),
            send_result=self.answers.append,
        )
        self.commands.before_reset = self._save

    def _save(self) -> None:
        self.saved += 1

    def up_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def relay(self, on: bool) -> None:  # noqa: FBT001 - as boards have it
        self.switched.append(on)

    def identify(self, on: bool) -> None:  # noqa: FBT001
        self.lit.append(on)

    def reset(self) -> None:
        self.resets += 1

    def free_heap(self) -> int:
        return 81_234

    def rssi(self) -> int | None:
        return -61

    def chip(self) -> str:
        return "esp32"

    async def reconnect(self, network: tuple[str, str] | None = None) -> None:
        self.networks.append(network)
        name = network[0] if network else self.config.wifi[0][0]
        self.connected_since_ms = 1 if name in self.reachable else None
        await asyncio.sleep(0)

    async def close(self) -> None:
        await asyncio.sleep(0)

    def flush(self, offset_ms: int | None) -> None:
        self.flushed.append(offset_ms)

    def have(self) -> list[dict[str, int]]:
        return [{"boot": 1, "bootn": 1, "from": 0}]

    def backlog(self) -> int:
        return 3

    async def collect(self, seconds: int) -> dict[str, Any]:
        await self.collecting.wait()
        return {**self.sums, "asked": seconds}

    async def say(
        self, name: object, kind: object, args: object = None, ttl: object = 5000
    ) -> None:
        await self.commands.handle(
            {"id": name, "kind": kind, "args": args, "ttl": ttl}, self.now_ms
        )

    async def settle(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    def answer(self) -> dict[str, Any]:
        return self.answers[-1]


def stored_bytes(root: Path) -> list[int]:
    return [path.stat().st_size for path in root.glob("commands*")]


@asynccontextmanager
async def running(root: Path, change: Callable[[Rig], None] = lambda _: None) -> AsyncIterator[Rig]:
    rig = Rig(root)
    change(rig)
    task = asyncio.create_task(rig.commands.run())
    try:
        yield rig
    finally:
        task.cancel()
