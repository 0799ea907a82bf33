"""The linked firmware does what its modules do, and what cannot be linked is refused."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest

from simulation import virtual_meter
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
from tools import link_firmware
from tools.firmware_linker import interpreter
from tools.firmware_linker.source import LinkError
from tools.link_firmware import build, link

CHANNELS = ("grid", "load1")
AGAIN = """
import pathlib, sys
from tools.link_firmware import FIRMWARE, build
build(FIRMWARE, pathlib.Path(sys.argv[1]), ["esp32"])
"""


# -- small programs ----------------------------------------------------------------------


def written(folder: Path, modules: Mapping[str, str]) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def run(folder: Path, modules: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Link modules, run `app.main()` of the result under CPython, return what it gives."""
    linked = link(written(folder, modules))
    for one in linked:
        monkeypatch.delitem(sys.modules, one.name, raising=False)
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / f"{one.name}.py").write_text(one.text)
    monkeypatch.setattr(sys, "path", [str(folder / "out"), *sys.path])
    try:
        main: Any = __import__("app").main
        return main()
    finally:
        for one in linked:
            sys.modules.pop(one.name, None)


CASES: dict[str, tuple[dict[str, str], object]] = {
    "names that collide": (
        {
            "a": "def f():\n    return 'a'\n",
            "b": "from a import f as other\ndef f():\n    return 'b' + other()\n",
            "app": "import a\nfrom b import f\ndef main():\n    return a.f() + f()\n",
        },
        "aba",
    ),
    "a local name like another module's": (
        {
            "a": "def table(rows):\n    return [row + 1 for row in rows]\n",
            "app": "import a\ndef main():\n    table = [1]\n    return a.table(table)\n",
        },
        [2],
    ),
    "constants": (
        {
            "a": "A, B = 2, 3\nC = A * B - 10\nD = (A, 'x')\nE = 'long enough to stay'\n",
            "app": "import a\nfrom a import C as X\n"
            "def main(k=a.B):\n    C = 1\n    return k, X, C, a.D, a.E + a.E[:0], -X ** 2\n",
        },
        (3, -4, 1, (2, "x"), "long enough to stay", -16),
    ),
    "a name that is bound twice is no constant": (
        {"app": "N = 1\nN += 1\nfor K in range(3):\n    pass\ndef main():\n    return N, K\n"},
        (2, 2),
    ),
    "comprehensions, lambdas and closures": (
        {
            "a": "x = 5\ny = 'y'\n",
            "app": "from a import x, y\n"
            "def main(rows=(1, 2)):\n"
            "    add = lambda y, k=x: y + k\n"
            "    rows = [rows for rows in rows if rows]\n"
            "    def inner(y):\n"
            "        return {x: y for x in rows}\n"
            "    return [add(x) for x in rows], inner(y), [y for _ in rows], x\n",
        },
        ([6, 7], {1: "y", 2: "y"}, ["y", "y"], 5),
    ),
    "classes, their attributes and class bodies": (
        {
            "a": "size = 3\nclass Base:\n    height = size + 1\n    depth = height\n"
            "    kind = 'base'\n"
            "    def __init__(self, first, second=2):\n"
            "        self._first = first\n        self.second = second\n"
            "    def total(self):\n        return self._first + self.second + self.depth\n",
            "b": "from a import Base\nclass Base2(Base):\n    def __init__(self):\n"
            "        super().__init__(1, second=5)\n        self._own = 100\n"
            "    def total(self):\n        return super().total() + self._own\n",
            "app": "from b import Base2\ndef main():\n    one = Base2()\n    one.later = 7\n"
            "    return one.total(), one.later, getattr(one, 'kind')\n",
        },
        (110, 7, "base"),
    ),
    "attributes of the interpreter's objects": (
        {
            "app": "class Row:\n    def __init__(self):\n        self.index = 1\n"
            "    def append(self, value):\n        self.value = value\n        return self\n"
            "def main():\n    rows = []\n    rows.append(2)\n"
            "    return rows, Row().append(3).value, Row().index, rows.index(2)\n",
        },
        ([2], 3, 1, 0),
    ),
    "names given in a call": (
        {
            "a": "def f(value, *, limit, unit='W'):\n    return value, limit, unit\n",
            "app": "from a import f\ndef main():\n    return f(1, limit=2), f(value=3, limit=4)\n",
        },
        ((1, 2, "W"), (3, 4, "W")),
    ),
    "errors, conditions and texts": (
        {
            "a": "class OddError(Exception):\n    def __init__(self, what, name=''):\n"
            "        super().__init__(what)\n        self.name2 = name\n",
            "app": "from a import OddError\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n"
            "    from nowhere import nothing\nelse:\n    LEVEL = 4\n"
            "try:\n    import no_such_module\nexcept ImportError as error:\n"
            "    no_such_module = None\n"
            "def main(text: 'nothing' = 'x'):\n    try:\n        raise OddError('odd', 'n')\n"
            "    except OddError as error:\n"
            "        return f'{error!r} {error.name2:>3} {{}} {LEVEL}', no_such_module\n",
        },
        ("OddError('odd')   n {} 4", None),
    ),
    "modules loaded while it runs": (
        {
            "core": "def base():\n    return 40\n",
            "below": "from core import base\ndef more():\n    return base() + 1\n",
            "rare": "import below\nfrom core import base\nKIND = 'rare'\n"
            "def work():\n    return below.more() + 1\n",
            "named": "class Judge:\n    def work(self):\n        return 'judged'\n",
            "app": "import sys\nimport core\ndef load(name):\n    return __import__(name)\n"
            "def main():\n    import rare\n    from rare import work, base as again\n"
            "    judge = load('named').Judge()\n"
            "    loaded = [sys.modules.pop(name).__name__ for name in ('rare', 'named')]\n"
            "    return rare.work(), work(), again(), rare.KIND, judge.work(), loaded\n",
        },
        (42, 42, 40, "rare", "judged", ["rare", "named"]),
    ),
    "what two of those share is a file of its own": (
        {
            "shared": "LIST = []\ndef put(x):\n    LIST.append(x)\n    return len(LIST)\n",
            "one": "from shared import put\ndef work():\n    return put('one')\n",
            "two": "import shared\ndef work():\n    return shared.put('two')\n",
            "app": "def main():\n    from one import work\n    first = work()\n"
            "    from two import work\n    return first, work()\n",
        },
        (1, 2),
    ),
    "what is not used": (
        {
            "a": "EFFECTS = []\ndef note(x):\n    EFFECTS.append(x)\n    return x\n"
            "USED = note('used')\nUNUSED = note('unused')\nDROPPED = 'dropped'\n"
            "def never():\n    return never2()\ndef never2():\n    return never()\n"
            "class Kept:\n    def __len__(self):\n        return 3\n    def gone(self):\n"
            "        return 1\n",
            "app": "import a\ndef main():\n    return a.EFFECTS, len(a.Kept())\n",
        },
        (["used", "unused"], 3),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_linked_programs_do_what_the_modules_do(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, expected = CASES[case]
    plain = tmp_path / "plain"
    plain.mkdir()
    written(plain, modules)
    assert run(tmp_path, modules, monkeypatch) == expected
    # And these modules by themselves: the test expects nothing that they do not do.
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(plain), *sys.path])
        for name in modules:
            patch.delitem(sys.modules, name, raising=False)
        main: Any = __import__("app").main
        assert main() == expected
        for name in modules:
            sys.modules.pop(name, None)


def test_what_is_not_used_is_left_out(tmp_path: Path) -> None:
    [app] = link(written(tmp_path, CASES["what is not used"][0]), short=False)
    for name in ("never", "never2", "DROPPED", "gone"):
        assert not re.search(rf"\b{name}\b", app.text), app.text


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"app": "def main(:\n"}, "app.py does not compile"),
        ({"other": "x = 1\n"}, "no app.py"),
        ({"a": "x = 1\n", "app": "import a\ndef main():\n    print(a)\n"}, "app.py:3: module a"),
        ({"a": "x = 1\n", "app": "import a\ndef main():\n    a.x = 2\n"}, "app.py:3: a.x"),
        ({"a": "x = 1\n", "app": "from a import y\n"}, "app.py:1: a has no y"),
        ({"app": "x = 1\ndef main():\n    global x\n    x = 2\n"}, "app.py:3: `global`"),
        ({"app": "from os import *\n"}, "app.py:1: import *"),
        ({"app": "x = 1\nclass A:\n    x = x\n"}, "app.py:3: x is"),
        ({"app": "import re\ndef main():\n    return re.match\n"}, "module re: its names"),
        ({"app": "import os.path\n"}, "app.py:1: import os.path"),
    ],
)
def test_what_cannot_be_linked_is_told_with_its_place(
    modules: dict[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, modules)
    with pytest.raises(LinkError, match=re.escape(told)):
        link(tmp_path)
    words = ["--firmware", str(tmp_path), "--into", str(tmp_path / "out")]
    assert link_firmware.main(words) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -- the project's firmware ----------------------------------------------------------------


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
    for name in ("main", "bootslot", "checked", "errors"):
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


@needs_vm
def test_a_linked_meter_does_what_an_unlinked_one_does(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = launch(Runner.VM, heap="1M")
    with Home(tmp_path / "plain", plain) as home:
        expected = home.readings(20)
    assert [row["seq"] for row in expected] == list(range(20))
    code = built / "vm"
    monkeypatch.setattr(virtual_meter, "run_meter", lambda: code / "host" / "run_meter.py")
    path = {"MICROPYPATH": f".frozen:{code}:{code / 'host'}"}
    linked = replace(plain, environment={**plain.environment, **path})
    with Home(tmp_path / "linked", linked) as home:
        assert home.readings(20) == expected
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
