"""Runs the meter's link with a small keeper on the host it is started on; told by a JSON job.

Prints one JSON object a line: {"what": …}. Readings are numbered; what an ack does not cover
is sent again after a reconnect, as the meter's keeper does it.
"""

import micropython  # noqa: F401, I001 - on CPython it installs the ticks first
import asyncio
import gc
import json
import sys

from clock import Clock

gc.collect()  # compiling leaves garbage; on the board the modules come compiled
from mqtt import Client  # noqa: E402, F401

gc.collect()
from config import parse  # noqa: E402

gc.collect()
import link as link_module  # noqa: E402
from link import Link  # noqa: E402
from ticks import ticks_add, ticks_diff, ticks_ms  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BATCH = 20
RESEND_MS = 2_000  # 10 s in the contract; here tests wait for it


def say(what: str, **more: object) -> None:
    """Print one line for the test."""
    more["what"] = what
    print(json.dumps(more))


class Board:
    """Uptime, chance and heap."""

    def __init__(self) -> None:
        self.seed = 12345
        self.last = ticks_ms()
        self.total_ms = 0
        self.joined: list[str] = []

    def up_ms(self) -> int:
        """Return ms since the start."""
        now = ticks_ms()
        self.total_ms += ticks_diff(now, self.last)
        self.last = now
        return self.total_ms

    def random32(self) -> int:
        """Return a repeatable number (LCG of Numerical Recipes)."""
        self.seed = (self.seed * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.seed >> 8

    def free_heap(self) -> int:
        """Return free bytes; 0 on CPython."""
        gc.collect()
        mem_free = getattr(gc, "mem_free", None)
        return int(mem_free()) if mem_free is not None else 0

    def rssi(self) -> "int | None":
        """Return a usual signal."""
        return -60 if self.joined else None

    async def wifi(self, ssid: str, password: str) -> bool:
        """Join `home` networks that have the right password."""
        say("wifi", ssid=ssid)
        await asyncio.sleep(0.01)
        if ssid.startswith("home") and password == "right":
            self.joined = [ssid]
            return True
        return False


class Keeper:
    """Readings as numbers: one each 100 ms, and `backlog` of them from the start."""

    def __init__(self, backlog: int, every_ms: int) -> None:
        self.made = backlog
        self.backlog_to = backlog
        self.every_ms = every_ms
        self.upto = -1
        self.next_old = 0
        self.next_live = backlog
        self.due = self.heard = ticks_ms()

    @property
    def seq(self) -> int:
        """Return the newest one's number."""
        return self.made - 1

    def connected(self) -> None:
        """Send again what is uncovered."""
        self.next_old = self.upto + 1
        self.backlog_to = self.next_live = self.made

    def covered(self, ack: "dict[str, Any]") -> None:
        """Take an ack."""
        if ack["upto"] > self.upto:
            self.heard = ticks_ms()
            self.upto = ack["upto"]

    def take(self, now_ms: int, offset_ms: "int | None") -> "tuple[str, str] | None":
        """Return what is due, live first."""
        while ticks_diff(ticks_ms(), self.due) >= 0:
            self.due = ticks_add(self.due, self.every_ms)
            self.made += 1
        if ticks_diff(ticks_ms(), self.heard) > RESEND_MS and self.upto < self.made - 1:
            self.heard = ticks_ms()
            self.connected()
        if self.next_live < self.made:
            first, kind = self.next_live, "live"
            self.next_live = self.made
            last = self.made - 1
        elif self.next_old < self.backlog_to:
            first, kind = self.next_old, "backlog"
            last = min(first + BATCH, self.backlog_to) - 1
            self.next_old = last + 1
        else:
            return None
        t = None if offset_ms is None else now_ms + offset_ms
        rows = [
            {"seq": n, "kind": kind, "up": now_ms, "t": t, "pad": "x" * 100}
            for n in range(first, last + 1)
        ]
        return json.dumps(rows), kind

    def have(self) -> "list[dict[str, Any]]":
        """Return what is held."""
        return [{"boot": 7, "bootn": 1, "from": self.upto + 1}]

    def backlog(self) -> int:
        """Return how many are uncovered."""
        return self.made - 1 - self.upto

    def dropped(self) -> "list[tuple[int, int, int]]":
        """Return nothing: this one loses nothing."""
        return []

    def reported(self, ok: object) -> None:
        """Never needed."""


class Meter:
    """The link with handlers that say what they got."""

    def __init__(self, job: "dict[str, Any]") -> None:
        self.board = Board()
        self.clock = Clock(self.board)
        self.keeper = Keeper(job.get("backlog", 0), job.get("every_ms", 100))
        self.link = Link(
            parse(job["config"]),
            self.board,
            self.keeper,
            self.clock,
            {"cmd": self.cmd, "desired": self.desired, "chunk": self.chunk},
            self.about,
        )

    def about(self) -> "dict[str, Any]":
        """Return what the app knows."""
        return {"fw": "1.0.0", "model": 1, "cal": 2, "boot": 7, "bootn": 1}

    async def cmd(self, message: "dict[str, Any]", receipt_ms: int) -> None:
        """Do what the test asks for."""
        say("cmd", id=message["id"], receipt_ms=receipt_ms)
        if message["kind"] == "defect":
            raise KeyError(message["id"])
        if message["kind"] == "wifi":
            await self.link.reconnect((message["ssid"], message["password"]))
        if message["kind"] == "slow":
            await asyncio.sleep(2)
        if message["kind"] == "events":
            for n in range(100):
                self.link.send_event({"kind": "anomaly", "n": n})
        result = {"id": message["id"], "ok": True, "error": None, "data": {}}
        result["data"] = {"heap": self.board.free_heap(), "joined": self.board.joined}
        self.link.send_result(result)

    async def desired(self, message: "dict[str, Any]") -> None:
        """Download all of it, one chunk after the other."""
        say("desired", size=message["size"])
        await self.link.request_chunk("model", 1, 0, 2048)

    async def chunk(self, message: "dict[str, Any]") -> None:
        """Ask for the next piece."""
        offset = message["offset"] + 2048
        if message.get("last"):
            say("downloaded", offset=offset)
        else:
            await self.link.request_chunk("model", 1, offset, 2048)


async def main(job: "dict[str, Any]") -> None:
    """Run until killed; report the first ack and, twice a second, how it is."""
    link_module.KEEPALIVE_S = job.get("keepalive_s", link_module.KEEPALIVE_S)
    meter = Meter(job)
    running = asyncio.create_task(meter.link.run())
    ack = await meter.link.first_ack(10)
    say("first_ack", regs=None if ack is None else ack.get("regs"), t=meter.clock.now_ms())
    while not running.done():
        link = meter.link
        say(
            "alive",
            connected=link.connected_since_ms is not None,
            acked=link.acked,
            upto=meter.keeper.upto,
            made=meter.keeper.made,
            t=meter.clock.now_ms(),
            source=meter.clock.source,
            heap=meter.board.free_heap(),
        )
        await asyncio.sleep(0.5)


asyncio.run(main(json.loads(sys.argv[1])))
