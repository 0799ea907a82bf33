"""The linked firmware: same bytes, a map that leads back, and a meter that does the same."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest

from simulation.chain import Chain
from simulation.firmware_files import Launch, Runner, launch
from simulation.fleet import Fleet, Setup
from simulation.sources import Load, SteadySource, Wire
from tests.firmware_esp32.test_model import HOURS, random_gaussian
from tests.support.bundle_rig import KEYS, Gateway
from tests.support.firmware import FIRMWARE, ROOT, needs_vm, vm
from tests.support.gateway_stub import GatewayStub, until
from tests.support.mosquitto import Mosquitto
from tinymodels.detect.device_file import pack
from tools.firmware_linker import interpreter
from tools.link_firmware import LOADER, build

CHANNELS = ("grid", "load1")
TRIES = 5
AGAIN = """
import pathlib, sys
from tools.link_firmware import FIRMWARE, build
build(FIRMWARE, pathlib.Path(sys.argv[1]), ["esp32"])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the project's firmware is built into."""
    folder = tmp_path_factory.mktemp("linked")
    build(FIRMWARE, folder, ["esp32", "vm"])
    return folder


def test_same_sources_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", AGAIN, str(tmp_path)]
    # Sets of names are in another order there.
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=100)
    for path in sorted([*(built / "esp32").rglob("*.*"), built / "firmware.map"]):
        again = tmp_path / path.relative_to(built)
        assert path.read_bytes() == again.read_bytes()


def test_the_slot_holds_the_linked_files_and_the_root_the_loader_as_it_is(built: Path) -> None:
    names = {path.stem for path in (built / "esp32").glob("*.mpy")}
    assert {"app", "board"} <= names
    assert names.isdisjoint({"main", "link", "mqtt", "ring"})
    for name in LOADER:
        source = (FIRMWARE / f"{name}.py").read_bytes()
        assert (built / "esp32" / "root" / f"{name}.py").read_bytes() == source


def test_the_map_leads_from_a_linked_function_to_its_source(built: Path) -> None:
    linked = {path.name: path.read_text().splitlines() for path in (built / "source").glob("*.py")}
    titles = set()
    for line in (built / "firmware.map").read_text().splitlines():
        place, name, origin, title = line.split()
        file, _, number = place.partition(":")
        assert re.search(rf"(def|class) {name}\b", linked[file][int(number) - 1]), line
        module, _, number = origin.partition(":")
        source = (FIRMWARE / module).read_text().splitlines()[int(number) - 1]
        assert re.search(rf"(def|class) {title.rpartition('.')[2]}\b", source), line
        titles.add(title)
    assert {"Meter.run", "Keeper.take", "main"} <= titles


NAMES = """
import asyncio, array, binascii, collections, errno, gc, hashlib, io, json, math, micropython, os
import random, select, socket, ssl, struct, sys, time, asyncio.core
def g(): yield
async def a(): pass
modules = [asyncio, array, binascii, collections, errno, gc, hashlib, io, json, math, micropython]
modules += [os, random, select, socket, ssl, struct, sys, time, asyncio.core]
kinds = [getattr(m, n) for m in modules for n in dir(m)]
kinds = [one for one in kinds if isinstance(one, type)]
objects = [1, 1.0, "", b"", bytearray(), memoryview(b""), [], (), {}, set(), frozenset(), g, g()]
objects += [a(), OSError(1), socket.socket(), hashlib.sha256(), select.poll(), array.array("i")]
objects += [collections.deque((), 1), io.BytesIO(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)]
objects += [asyncio.Event(), asyncio.Lock(), asyncio.StreamReader(None), asyncio.core.Task(a())]
for one in modules + kinds + objects:
    for name in dir(one):
        print(name)
"""


@needs_vm
def test_the_linker_knows_the_names_of_the_interpreters_objects() -> None:
    names = {name for name in vm(NAMES, heap="1M").split() if not name.startswith("__")}
    assert {"append", "ticks_ms", "wait_for", "out_buf"} <= names
    assert {name for name in names if not name[0].isupper()} <= interpreter.ATTRIBUTES


class Kitchen(GatewayStub):
    """The gateway of one meter: acks its readings, and gives it the bundles on its shelf."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "kitchen")
        self.shelf = Gateway()

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        topic = message.topic.partition("kitchen/")[2]
        body = json.loads(message.payload)
        if topic == "bundle/get":
            self.publish("bundle/chunk", self.shelf.answer(**body))
        elif topic != "readings":
            self.messages.setdefault(topic, []).append(body)
        else:
            self.readings.extend(body)
            self._have.update(row["seq"] for row in body)
            self.ack(boot=body[0]["boot"])

    def told(self, topic: str, **parts: object) -> list[dict[str, Any]]:
        """Return the messages on a topic that hold these parts."""
        found = self.messages.get(topic, [])
        return [one for one in found if parts.items() <= one.items()]


class Home:
    """A broker, a gateway and one meter, whose firmware may be another one, on its wires."""

    def __init__(self, folder: Path, launch: Launch) -> None:
        (folder / "broker").mkdir(parents=True)
        self.broker = Mosquitto(folder / "broker", persistence=False)
        self.gateway = Kitchen(self.broker.port)
        self.fleet = Fleet(folder / "fleet", runner=Runner.VM)
        self.fleet.launch = launch
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(self.broker)
        self._held.enter_context(self.gateway)
        self._held.enter_context(self.fleet)
        self.gateway.ack()  # retained: the meter need not wait for one
        keys = {kind: [b64encode(key).decode() for key in known] for kind, known in KEYS.items()}
        mqtt = {"host": "127.0.0.1", "port": self.broker.port}
        config = {
            "meter": "kitchen",
            "wifi": [],
            "mqtt": mqtt,
            "channels": list(CHANNELS),
            "keys": keys,
        }
        source = SteadySource(Wire(), [Load(500.0)], [Load(1500.0)])
        setup = Setup(config=config, speed=0.0, start_unix_ms=1_790_000_000_000)
        chain = Chain(3, clamps=len(CHANNELS))
        self.meter = self.fleet.add("kitchen", source, chain, setup)
        self.fleet.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def readings(self, count: int) -> list[dict[str, Any]]:
        """Return the first readings, without what differs from boot to boot."""
        try:
            until(lambda: self.gateway.upto >= count, within_s=20)
        except TimeoutError:
            raise AssertionError(self.meter.log()) from None
        rows = {row["seq"]: row for row in self.gateway.readings}
        return [{k: v for k, v in rows[seq].items() if k != "boot"} for seq in range(count)]


@contextmanager
def home_from_the_first_second(
    directory: Path, how: Launch
) -> Iterator[tuple["Home", list[dict[str, Any]]]]:
    """Give a home and its first 20 windows; one that a busy machine began late is left."""
    for attempt in range(TRIES):
        with Home(directory / str(attempt), how) as home:
            rows = home.readings(20)
            if rows[0]["up"] == 1000:
                yield home, rows
                return
    pytest.fail(f"{TRIES} times the first window came late")


@needs_vm
def test_a_linked_meter_does_what_an_unlinked_one_does(built: Path, tmp_path: Path) -> None:
    plain = launch(Runner.VM, heap="1M")
    with home_from_the_first_second(tmp_path / "plain", plain) as (_, expected):
        assert [row["seq"] for row in expected] == list(range(20))
    linked = launch(Runner.VM, heap="1M", firmware=built / "vm")
    with home_from_the_first_second(tmp_path / "linked", linked) as (home, rows):
        assert rows == expected
        gateway = home.gateway
        relay = {"id": "r1", "kind": "relay", "args": {"on": True}, "ttl": 60_000}
        gateway.publish("cmd", relay)
        until(lambda: gateway.told("result", id="r1", ok=True), within_s=10)
        assert "relay on" in home.meter.log()
        model = pack(7, {"grid": random_gaussian(4)}, hours=HOURS)
        gateway.publish("desired", {"bundles": [gateway.shelf.put("model", 7, model)]})
        until(lambda: gateway.told("events", kind="model", version=7, ok=True), within_s=15)
        assert home.meter.crashes == []
        assert "failed" not in home.meter.log()
