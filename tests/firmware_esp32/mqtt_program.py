"""Runs the meter's MQTT client on the host it is started on (VM or CPython) and prints JSON."""

import micropython  # noqa: F401, I001 - on CPython it installs the ticks first
import asyncio
import gc
import json
import sys

from errors import LinkError
from mqtt import Client
from trust import tls_context
from net import RefusedError
from ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WARM_UP = 200  # messages until the heap has its shape


def free() -> int:
    """Return free bytes of the VM's heap; 0 on CPython."""
    gc.collect()
    mem_free = getattr(gc, "mem_free", None)
    return int(mem_free()) if mem_free is not None else 0


class Echo:
    """Publishes to itself and counts what comes back."""

    def __init__(self, job: "dict[str, Any]") -> None:
        self.job = job
        self.received = 0
        self.largest = 0
        self.sent = 0
        tls = tls_context(job["ca"]) if job.get("ca") else None
        self.client = Client(
            "127.0.0.1",
            job["port"],
            client_id="meter-1",
            user=job.get("user"),
            password=job.get("password"),
            keepalive_s=job.get("keepalive_s", 30),
            will_topic="ww/v1/meter-1/state",
            will_payload='{"online":false}',
            ssl=tls,
            server_hostname=job.get("name", "localhost"),
            on_message=self.heard,
        )

    def heard(self, _topic: str, payload: memoryview, _retained: object) -> None:
        """Count one message."""
        self.received += 1
        self.largest = max(self.largest, len(payload))

    async def work(self) -> "dict[str, Any]":
        """Publish all; return figures."""
        job = self.job
        await self.client.subscribe(["ww/v1/meter-1/readings"])
        payload = "x" * job["bytes"]
        before = free()
        started = ticks_ms()
        for n in range(job["messages"]):
            await self.client.publish("ww/v1/meter-1/readings", payload)
            self.sent += 1
            if n == WARM_UP:
                before = free()
        elapsed_ms = ticks_diff(ticks_ms(), started)
        await asyncio.sleep(0.3)
        return {
            "sent": self.sent,
            "received": self.received,
            "largest": self.largest,
            "free_before": before,
            "free_after": free(),
            "elapsed_ms": elapsed_ms,
        }


async def until_lost(client: Client, ended: "list[LinkError]") -> None:
    """Run the client; MicroPython complains of a task that ends with an error."""
    try:
        await client.run()
    except LinkError as error:
        ended.append(error)


async def session(job: "dict[str, Any]") -> "dict[str, Any]":
    """Connect, work, and say how it ended."""
    started = ticks_ms()
    echo = Echo(job)
    result: dict[str, Any] = {}
    try:
        await echo.client.connect()
        ended: list[LinkError] = []
        reading = asyncio.create_task(until_lost(echo.client, ended))
        if job["messages"]:
            result = await echo.work()
            await echo.client.close()
        await reading
        raise ended[0]
    except RefusedError as error:
        result["refused"] = str(error)
    except LinkError as error:
        result["lost"] = str(error)
    result["took_ms"] = ticks_diff(ticks_ms(), started)
    result["sent"] = echo.sent
    return result


print(json.dumps(asyncio.run(session(json.loads(sys.argv[1])))))
