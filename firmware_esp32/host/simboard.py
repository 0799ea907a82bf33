"""The board page of a simulated meter: codes come from the supply's TCP server."""

import asyncio
import gc
import json
import os
import socket
import struct
import sys
from array import array

from micropython import const
from simclock import SimClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Never

_MOST_FRAMES = const(500)
_BLOCK_FRAMES = const(50)  # the supply sends so many at a time: a meter has little memory
_CODES = const(4096)  # what the supply tells the meaning of
_STEP = const(16)  # codes from one knot of `linear` to the next, see linear.py
_RESET_STATUS = const(3)  # whoever started this process starts it again
_LOST_STATUS = const(4)
_GONE = "the connection is closed"
_BURST = const(0)
_RELAY = const(1)
_IDENTIFY = const(2)
_REQUEST = "<BHQ"  # what, its argument (frames, or 0/1), µs since boot
# The VM's socket module has no names for them.
_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)


def say(what: str) -> None:
    """Leave a line in the log of whoever started this process."""
    sys.stdout.write(what + "\n")


class SupplyError(SystemExit):
    """The supply refused this meter or has gone: its process ends, whatever it was doing."""

    def __init__(self, reason: str) -> None:
        say("supply: " + reason)
        super().__init__(_LOST_STATUS)


def load(path: str) -> "dict[str, Any]":
    """Return the parameters in a SIM.json."""
    with open(path) as file:
        params: dict[str, Any] = json.load(file)
    return params


class Board:
    """A simulated board, see typings/hardware.pyi; `params` is SIM.json as a dict.

    `path` is where SIM.json lies: its "networks" are read anew whenever Wi-Fi is asked
    for, so that a test may change them. SupplyError when the supply knows no such meter.
    """

    def __init__(self, params: "dict[str, Any]", path: "str | None" = None) -> None:
        self.clamps: int = params["clamps"]
        self.frame_us: int = params["frame_us"]
        self.read_us: int = params["read_us"]
        self.root: str = params["root"]
        self.start_unix_ms: int | None = params.get("start_unix_ms")
        self._speed: float = params["speed"]
        self._rest_ms: int = params.get("rest_ms", 0)  # after each burst, however far behind
        self._path = path
        self._networks: dict[str, str] = params["networks"]
        self._clock = SimClock(self._speed)
        # From ranges: what bytes of that length are made into is in RAM twice for a moment.
        self._ticks = array("I", range(_BLOCK_FRAMES))
        self._codes = [array("H", range(_BLOCK_FRAMES)) for _ in range(self.clamps + 1)]
        self._left = 0  # frames of the burst that are still to come
        self._request = bytearray(struct.calcsize(_REQUEST))
        self.linear = array("H", range(_CODES // _STEP + 1))
        self._connect(params["supply"])

    def _connect(self, supply: "dict[str, Any]") -> None:
        address = socket.getaddrinfo(supply["host"], supply["port"])[0][-1]
        self._socket = socket.socket()
        try:
            self._socket.connect(address)
        except OSError as error:
            msg = f"nobody at {supply['host']}:{supply['port']}"
            raise SupplyError(msg) from error
        self._socket.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        self._stream: Any = self._socket.makefile("rb")
        hello = {
            "meter": supply["meter"],
            "clamps": self.clamps,
            "frame_us": self.frame_us,
            "read_us": self.read_us,
            "speed": self._speed,
        }
        self._socket.sendall(json.dumps(hello).encode() + b"\n")
        answer = self._stream.readline()
        if answer != b"ok\n":
            raise SupplyError(answer.decode().strip() or "the supply gave no answer")
        piece = array("H", bytes(2 * _STEP))
        for knot in range(_CODES // _STEP):
            self._fill(piece, _STEP, 2)
            self.linear[knot] = piece[0]
        last = piece[_STEP - 1]
        self.linear[_CODES // _STEP] = min(last + (last - piece[0]) // (_STEP - 1), 65535)

    def _fill(self, items: "array[int]", count: int, item_bytes: int) -> None:
        """Read items; both interpreters' readinto goes on until all is there."""
        try:
            got = self._stream.readinto(memoryview(items)[:count])
        except OSError as error:
            raise SupplyError(_GONE) from error
        if got != count * item_bytes:
            raise SupplyError(_GONE)

    def _tell(self, what: int, argument: int, start_us: int = 0) -> None:
        struct.pack_into(_REQUEST, self._request, 0, what, argument, start_us)
        try:
            self._socket.sendall(self._request)
        except OSError as error:
            raise SupplyError(_GONE) from error

    def open(self, frames: int) -> None:
        """Fetch the codes of the next burst. SupplyError when the supply has gone."""
        if not 0 < frames <= _MOST_FRAMES:
            msg = "frames: 1 to 500"
            raise ValueError(msg)
        while self._left:
            self._next_block()  # nobody read them
        self._left = frames
        self._tell(_BURST, frames, self._clock.take(frames * self.frame_us))

    def _next_block(self) -> int:
        """Fetch the next frames; return how many."""
        frames = min(self._left, _BLOCK_FRAMES)
        self._left -= frames
        self._fill(self._ticks, frames, 4)
        for codes in self._codes:
            self._fill(codes, frames, 2)
        return frames

    def _read_ticks(self) -> "Iterator[int]":
        """Yield each frame's tick; at the end of a block fetches the codes of the next."""
        while self._left:
            for frame in range(self._next_block()):
                yield self._ticks[frame]

    @staticmethod
    def _read_codes(codes: "array[int]") -> "Iterator[int]":
        """Yield the codes of one input, block after block."""
        while True:
            yield from codes

    def readers(self) -> "tuple[Callable[[], int], ...]":
        """Return the tick's and each input's reader; a frame's tick must be read first."""
        readers = [self._read_codes(codes).__next__ for codes in self._codes]
        readers.insert(0, self._read_ticks().__next__)
        return tuple(readers)

    async def pace(self) -> None:
        """Let others run, until real time has caught up with what was sampled."""
        await asyncio.sleep(max(self._clock.ahead_ms(), self._rest_ms) / 1000)

    def up_ms(self) -> int:
        """Return ms since boot by the clock of the samples; see SimClock."""
        return self._clock.now_us() // 1000

    def feed(self) -> None:
        """Do nothing: no watchdog bites here, a process that hangs is seen by who started it."""

    def reset(self) -> "Never":
        """End with the status that asks for a new start; CPython ends at once."""
        say("reset")
        if hasattr(os, "_exit"):
            sys.stdout.flush()
            os._exit(_RESET_STATUS)
        raise SystemExit(_RESET_STATUS)

    def relay(self, on: bool) -> None:
        """Tell the supply, which switches what hangs on the relay."""
        say("relay on" if on else "relay off")
        self._tell(_RELAY, int(on))

    def identify(self, on: bool) -> None:
        """Tell the supply that the lamp blinks or has stopped."""
        say("identify on" if on else "identify off")
        self._tell(_IDENTIFY, int(on))

    def random32(self) -> int:
        """Return 32 unpredictable bits."""
        return int(struct.unpack("<I", os.urandom(4))[0])

    def free_heap(self) -> int:
        """Return free bytes: of the VM's heap, or of the machine under CPython."""
        if hasattr(gc, "mem_free"):
            return int(gc.mem_free())
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def rssi(self) -> "int | None":
        """Return None: there is no radio."""
        return None

    async def wifi(self, ssid: str, password: str) -> bool:
        """Tell whether such a network is there and takes the password."""
        await asyncio.sleep(0)
        if self._path:
            self._networks = load(self._path)["networks"]
        return self._networks.get(ssid) == password

    def chip(self) -> str:
        """Return what runs this."""
        return "sim-" + sys.implementation.name
