"""A meter in a heap of given size, as fast as it runs, through outage, command and bundle.

The linked firmware lies in the meter's slot `a` and runs from the ROM partition, as on a board.
Its gateway acks at once: a meter that runs sixty times as fast must not wait for real seconds.
"""

import base64
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from simulation.canned import CannedChain
from simulation.firmware_files import Runner
from simulation.fleet import Fleet, Setup
from simulation.sources import Load, SteadySource, Wire
from tests.support.gateway_stub import GatewayStub
from tests.support.mosquitto import Mosquitto
from tests.support.signing import Signer
from tinymodels.detect.device_file import pack
from tinymodels.detect.device_model import DeviceGaussian

METER: Final = "kitchen"
RELEASE: Final = Signer(1)
CHANNELS: Final = ("grid", "load1", "load2")
WATTS: Final = (1500.0, 700.0, 100.0)
FRAME_US: Final = 2000
REST_MS: Final = 5
GAUGE_WINDOWS: Final = 60  # from one line of the meter's gauge to the next
STALL_S: Final = 90.0  # real, without a window
POLL_S: Final = 0.2
RESULTS: Final = 24  # times that a command is given
AGAIN_S: Final = 5.0
_FIELDS: Final = 6
_LARGEST: Final = "max free sz: "  # in a line of micropython.mem_info()
_BLOCK_BYTES: Final = 32  # of the VM's heap


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the meter's gauge (firmware_esp32/host/gauge.py)."""

    windows: int
    free: int
    lowest: int
    median_us: int
    p99_us: int
    largest: int  # free piece, bytes


class DayGateway(GatewayStub):
    """Acks each message at once and counts windows; holds no reading."""

    def __init__(self, port: int) -> None:
        super().__init__(port, METER)
        self.bundle = b""  # what is on offer
        self.stored: dict[int, int] = {}  # by boot: windows 0 … n - 1 without a hole
        self.minutes = 0  # records that stand for more than one window
        self._beyond: dict[int, set[int]] = {}
        self._regs: dict[str, dict[str, float]] = {}

    def _take(self, _client: object, _data: object, message: Any) -> None:  # noqa: ANN401 - paho's
        topic = message.topic.partition(f"{METER}/")[2]
        body = json.loads(message.payload)
        if topic == "bundle/get":
            piece = self.bundle[body["offset"] : body["offset"] + body.pop("length")]
            self.publish("bundle/chunk", {**body, "data": base64.b64encode(piece).decode()})
        elif topic != "readings":
            self.messages.setdefault(topic, []).append(body)
            del self.messages[topic][:-100]
        else:
            for row in body:
                self._store(row)
            self.ack_all(body[-1]["boot"])

    def _store(self, row: dict[str, Any]) -> None:
        boot, last, n = row["boot"], row["seq"], row.get("n", 1)
        self.minutes += n > 1
        beyond = self._beyond.setdefault(boot, set())
        upto = self.stored.setdefault(boot, 0)
        beyond.update(seq for seq in range(last - n + 1, last + 1) if seq >= upto)
        while upto in beyond:
            beyond.remove(upto)
            upto += 1
        self.stored[boot] = upto
        kept = ("wh_in", "wh_out")
        self._regs = {name: {k: ch[k] for k in kept} for name, ch in row["ch"].items()}

    def ack_all(self, boot: int) -> None:
        """Ack what is stored, as the gateway does."""
        more = [{"boot": b, "upto": n - 1} for b, n in self.stored.items() if b != boot]
        upto = self.stored.get(boot, 0) - 1
        ack = {"boot": boot, "upto": upto, "more": more, "now": None, "regs": self._regs}
        self.publish("ack", ack, retain=True)


class MemorySite:
    """Broker, gateway and the meter; a context manager. `firmware` is a linked build for the VM.

    With `pieces` the heap is in pieces of so many bytes after the gauge's first line.
    """

    def __init__(
        self, place: Path, firmware: Path, heap: str, windows: int, pieces: int = 0
    ) -> None:
        self.broker = Mosquitto(place / "b", persistence=False)
        self.gateway = DayGateway(self.broker.port)
        self.fleet = Fleet(place / "f", runner=Runner.VM, heap=heap, firmware=firmware)
        config = {
            "meter": METER,
            "channels": list(CHANNELS),
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
            "keys": {"release": [base64.b64encode(RELEASE.public).decode()]},
        }
        setup = Setup(
            config=config,
            speed=0.0,
            start_unix_ms=int(time.time() - windows) * 1000,
            gauge=GAUGE_WINDOWS,
            pieces=pieces,
            rest_ms=REST_MS,
            installed=True,
        )
        loads = [[Load(watts)] for watts in WATTS]
        # A second's burst: one of them a window instead of eight, so hours pass sooner.
        chain = CannedChain(1, clamps=len(CHANNELS), frame_us=FRAME_US)
        self.meter = self.fleet.add(METER, SteadySource(Wire(), *loads), chain, setup)
        self.lines: dict[int, Line] = {}
        self.memory_errors: set[str] = set()
        self._version = 6
        self._commands = 0
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.gateway, self.fleet):
                stack.enter_context(part)
            self.gateway.ack_all(0)  # retained: the meter need not wait for one
            self.meter.start()
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def follow(self) -> int:
        """Read what the meter said; return how many windows its gauge has seen."""
        largest = 0
        for text in self.meter.log().splitlines():
            words = text.split()
            if _LARGEST in text:
                largest = int(words[-1]) * _BLOCK_BYTES
            elif words[:1] == ["gauge"] and len(words) == _FIELDS:
                line = Line(*(int(word) for word in [*words[1:], str(largest)]))
                self.lines.setdefault(line.windows, line)
            elif "MemoryError" in text or "memory allocation failed" in text:
                self.memory_errors.add(text)
        return max(self.lines, default=0)

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something holds. AssertionError when no window comes meanwhile."""
        # Counted, not timed: a machine that stood still meanwhile is no meter that stalls.
        seen, polls = self.follow(), 0
        while not true():
            time.sleep(POLL_S)
            now, polls = self.follow(), polls + 1
            if now != seen:
                seen, polls = now, 0
            assert polls * POLL_S < STALL_S, self.meter.log()[-3000:]

    def until_window(self, windows: int) -> None:
        """Wait until so many windows were measured."""
        self.until(lambda: self.follow() >= windows)

    def outage(self, windows: int) -> None:
        """Take the broker, and with it the gateway, away for so many windows."""
        self.broker.kill()
        self.until_window(self.follow() + windows)
        self.broker.start()

    def command(self) -> dict[str, Any]:
        """Give the command `report` until it is answered; return its result's data.

        Given anew under a new id while the meter is not there: a broker keeps none for it.
        """
        for _ in range(RESULTS):
            self._commands += 1
            name = f"c{self._commands}"
            order = {"id": name, "kind": "report", "args": {}, "ttl": 86_400_000}
            self.gateway.publish("cmd", order)
            again_s = time.monotonic() + AGAIN_S
            self.until(partial(self._answered, name, again_s))
            told = self._told("result", id=name)
            if told:
                assert told[0]["ok"], told
                data: dict[str, Any] = told[0]["data"]
                return data
        raise AssertionError(self.meter.log()[-3000:])

    def bundle(self) -> None:
        """Bring in a model, and wait until it is confirmed."""
        self._version += 1
        version = self._version
        self.gateway.bundle = model(version)
        announced = RELEASE.announce("model", version, self.gateway.bundle)
        self.gateway.publish("desired", {"bundles": [announced]}, retain=True)
        self.until(lambda: self._told("events", kind="model", version=version))
        told = self._told("events", kind="model", version=version)
        assert told[0]["ok"], told

    def events(self, **parts: object) -> list[dict[str, Any]]:
        """Wait for an event of these parts; return all there are."""
        self.until(lambda: self._told("events", **parts))
        return self._told("events", **parts)

    def drained(self) -> int:
        """Wait until the gateway has what was measured by now; return how many windows."""
        measured = self.follow()
        self.until(lambda: sum(self.gateway.stored.values()) >= measured)
        return measured

    def _answered(self, name: str, until_s: float) -> bool:
        return bool(self._told("result", id=name)) or time.monotonic() > until_s

    def _told(self, topic: str, **parts: object) -> list[dict[str, Any]]:
        found = self.gateway.messages.get(topic, [])
        return [one for one in found if parts.items() <= one.items()]


def model(version: int) -> bytes:
    """Return a model like a fitted one: three channels, two classes of hours, five features."""
    random = np.random.default_rng(5)
    names = ("voltage", "frequency", "power", "reactive", "step")
    mean = np.array([[230.0, 50.0, 3.0, 0.2, 0.0]] * 2)
    scale = np.array([[9.0, 0.6, 3.0, 2.0, 3.0]] * 2) * random.uniform(0.9, 1.1, (2, 5))
    correlation = np.full((5, 5), 0.1) + 0.9 * np.eye(5)
    factor = np.linalg.cholesky(correlation).astype(np.float64)
    plain = DeviceGaussian(names, mean, scale, factor, np.zeros(2))
    gaussian = plain._replace(log_eps=plain.peak() - 18.0)
    return pack(version, dict.fromkeys(CHANNELS, gaussian), hours=[0] * 7 + [1] * 17)
