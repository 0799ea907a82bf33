"""A TCP proxy on loopback that misbehaves on command, in a thread of its own."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from enum import Enum
from typing import Final, Self

from tests.support.seeds import SEED

PIECE: Final = 4096
TICK_S: Final = 0.02
LATENCY_S: Final = 0.5
SEGMENT: Final = 1460  # bytes of a packet on Ethernet
LOSS: Final = 0.3
RESEND_S: Final = 0.2  # what Linux waits at least before it sends a segment again; then twice that


class Mode(Enum):
    """What the proxy does to what passes."""

    PASS = "pass"
    BLACKHOLE = "blackhole"  # connections stay open and nothing passes
    RESET = "reset"  # new connections and those that send are reset
    LATENCY = "latency"  # half a second each way
    CUT = "cut"  # reset after `cut_after` bytes in one direction
    SLOW = "slow"  # `bits_per_s` each way
    # A proxy cannot lose packets, only do what TCP makes of it: with 30 % of them lost each
    # segment, and all behind it, waits for its repetitions.
    LOSSY = "lossy"


class ChaosProxy:
    """Passes connections on to `upstream` (a port on loopback); a context manager.

    `mode` may be changed at any time and holds for open connections too; `accepted` is the
    monotonic time in s of every connection made so far.
    """

    def __init__(self, upstream: int) -> None:
        self.mode = Mode.PASS
        self.cut_after = 0
        self.bits_per_s = 64_000
        self.accepted: list[float] = []
        self.port = 0
        self._upstream = upstream
        self._dead_before = 0  # of the connections, by their number
        self._dice = random.Random(SEED)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(5):
            msg = "the proxy did not start"
            raise RuntimeError(msg)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=5)

    def forget(self) -> None:
        """Leave every open connection half-open for good: nothing passes, nobody is told."""
        self._dead_before = len(self.accepted)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.accepted)
        self.accepted.append(time.monotonic())
        if self.mode is Mode.RESET:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(writer)
            return
        # Cancelled at the end of the test; asyncio's streams complain of a cancelled server task.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pump(reader, far_writer, writer, number),
                self._pump(far_reader, writer, writer, number),
            )

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        number: int,
    ) -> None:
        passed = 0
        try:
            while piece := await source.read(PIECE):
                while self._is_black(number):  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(TICK_S)
                passed += len(piece)
                if self.mode is Mode.CUT and passed > self.cut_after:
                    sink.write(piece[: max(0, len(piece) - (passed - self.cut_after))])
                    await sink.drain()
                    _reset(client)
                    break
                if self.mode is Mode.RESET:
                    _reset(client)
                    break
                await self._pass_on(piece, sink)
        except OSError:
            pass
        finally:
            sink.close()

    def _is_black(self, number: int) -> bool:
        return self.mode is Mode.BLACKHOLE or number < self._dead_before

    async def _pass_on(self, piece: bytes, sink: asyncio.StreamWriter) -> None:
        if self.mode is Mode.LATENCY:
            await asyncio.sleep(LATENCY_S)
        steps = {Mode.SLOW: int(self.bits_per_s / 8 * TICK_S), Mode.LOSSY: SEGMENT}
        step = steps.get(self.mode, PIECE)
        for start in range(0, len(piece), step):
            if self.mode is Mode.LOSSY:
                await self._repeat()
            sink.write(piece[start : start + step])
            await sink.drain()
            if self.mode is Mode.SLOW:
                await asyncio.sleep(TICK_S)

    async def _repeat(self) -> None:
        """Wait as long as TCP would until a segment has come through."""
        wait_s = RESEND_S
        while self._dice.random() < LOSS:
            await asyncio.sleep(wait_s)
            wait_s *= 2


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST instead of a FIN."""
    plain = writer.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
