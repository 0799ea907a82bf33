"""Serves the codes of many simulated meters over loopback TCP, burst by burst.

A meter says who it is in one line of JSON and gets "ok" and its board's linear table
(4096 unsigned 16-bit values). Then it asks by `<BHQ`: what, an argument, and its own
time in µs since boot; only a burst is answered, in blocks of up to 50 frames, since a meter
has little memory: each frame's tick (unsigned 32-bit) and then the codes of each input
(unsigned 16-bit), one input after the other.
All values are little-endian, as both sides of a loopback here are.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from simulation.chain import Chain
from simulation.sources import Source

BURST, RELAY, IDENTIFY = 0, 1, 2
MOST_FRAMES = 500
BLOCK_FRAMES = 50
_REQUEST = struct.Struct("<BHQ")
_HELLO_BYTES = 1024
_HELLO_S = 5.0
_BOOT_US = 1_000_000  # what a boot takes from an accelerated meter's time


@dataclass
class SuppliedMeter:
    """What one meter is connected to. `source` and the chain's faults may be changed any time.

    `relay` and `identify` are what the meter last set (None: not yet), `served_us` the
    end of its last burst on the source's axis, `boots` how often it has connected.
    """

    source: Source
    chain: Chain
    relay: bool | None = None
    identify: bool | None = None
    served_us: int = 0
    boots: int = 0
    # One board cannot sample twice at a time; a killed one may still be being served.
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Supply:
    """A server on a free loopback port; use as a context manager, or close it.

    The axis of the sources starts with the supply. A meter that runs in real time is
    put where real time is when it boots; an accelerated one goes on where it was.
    """

    def __init__(self) -> None:
        self._meters: dict[str, SuppliedMeter] = {}
        self._began_s = time.monotonic()
        self._links: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name="supply", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, source: Source, chain: Chain) -> SuppliedMeter:
        """Connect a meter's board to its wires; a name again replaces the former."""
        meter = SuppliedMeter(source, chain)
        self._meters[name] = meter
        return meter

    def meter(self, name: str) -> SuppliedMeter:
        """Return a meter's connections. KeyError for an unknown name."""
        return self._meters[name]

    def address(self, name: str) -> Mapping[str, object]:
        """Return what belongs under "supply" in the meter's SIM.json."""
        return {"host": self.host, "port": self.port, "meter": name}

    def now_us(self) -> int:
        """Return the present on the sources' axis, for meters in real time."""
        return int((time.monotonic() - self._began_s) * 1e6)

    def close(self) -> None:
        """Stop serving; meters that still run fail with an error."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            links = list(self._links)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._guard:
                self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        try:
            with link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(link)
        except OSError:
            pass  # it was killed, or we are closed
        finally:
            with self._guard:
                self._links.discard(link)

    def _talk(self, link: socket.socket) -> None:
        link.settimeout(_HELLO_S)
        hello, refusal = self._greeting(link)
        if refusal:
            link.sendall(f"{refusal}\n".encode())
            return
        link.settimeout(None)
        meter = self._meters[hello["meter"]]
        meter.boots += 1
        link.sendall(b"ok\n" + meter.chain.linear.astype("<u2").tobytes())
        origin_us = self._origin_us(meter, hello["speed"])
        while request := _exactly(link, _REQUEST.size):
            what, argument, start_us = _REQUEST.unpack(request)
            if what == BURST:
                link.sendall(_burst(meter, origin_us + start_us, argument))
            elif what == RELAY:
                meter.relay = bool(argument)
            elif what == IDENTIFY:
                meter.identify = bool(argument)

    def _greeting(self, link: socket.socket) -> tuple[dict[str, Any], str | None]:
        """Return what a meter says of itself, and why it is refused."""
        try:
            hello = json.loads(_line(link))
            meter = self._meters.get(hello["meter"])
            if meter is None:
                return hello, f"no simulated meter {hello['meter']!r} here"
            chain, speed = meter.chain, float(hello["speed"])
            ours = (chain.clamps, chain.frame_us, chain.read_us)
            theirs = (hello["clamps"], hello["frame_us"], hello["read_us"])
        except (ValueError, KeyError, TypeError) as error:
            return {}, f"bad greeting: {error!r}"
        if ours != theirs:
            return hello, f"clamps, frame_us, read_us are {ours} here, not {theirs}"
        return {**hello, "speed": speed}, None

    def _origin_us(self, meter: SuppliedMeter, speed: float) -> int:
        """Return where on the sources' axis a meter boots."""
        with meter.lock:
            if speed:
                return max(int(self.now_us() * speed), meter.served_us)
            return meter.served_us + _BOOT_US if meter.boots > 1 else 0


def _burst(meter: SuppliedMeter, start_us: int, frames: int) -> bytes:
    """Return the answer to one request."""
    with meter.lock:
        frames = min(frames, MOST_FRAMES)
        ticks, codes = meter.chain.codes(meter.source, start_us * 1e-6, frames)
        meter.served_us = start_us + frames * meter.chain.frame_us
    answer = bytearray()
    for first in range(0, frames, BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        answer += ticks[block].astype("<u4").tobytes()
        answer += np.ascontiguousarray(codes[block].T, dtype="<u2").tobytes()
    return bytes(answer)


def _line(link: socket.socket) -> bytes:
    """Return the first line, which alone is sent before our answer."""
    got = b""
    while not got.endswith(b"\n") and len(got) < _HELLO_BYTES:
        piece = link.recv(_HELLO_BYTES)
        if not piece:
            break
        got += piece
    return got


def _exactly(link: socket.socket, size: int) -> bytes | None:
    """Return so many bytes, or None at the end."""
    got = b""
    while len(got) < size:
        piece = link.recv(size - len(got))
        if not piece:
            return None
        got += piece
    return got
