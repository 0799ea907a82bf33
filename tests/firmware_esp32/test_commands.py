"""Commands: done once, in time, answered; the meter reboots once and never loses its Wi-Fi."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import actions
import commands as commands_module
import pytest
from checked import Checked
from clock import ACK, Clock
from commands import Commands
from config import load_config
from errors import FlashError, MeterError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.firmware import needs_vm, vm

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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_module, "REBOOT_AFTER_S", 0)
    monkeypatch.setattr(actions, "POLL_S", 0)


async def test_relay_is_switched_and_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("a1", "relay", {"on": True})
        await rig.settle()
        assert rig.switched == [True]
        assert rig.answers == [{"id": "a1", "ok": True, "error": None, "data": {"on": True}}]


async def test_relay_is_refused_where_there_is_none(tmp_path: Path) -> None:
    async with running(tmp_path, lambda rig: setattr(rig.config, "relay", False)) as rig:
        await rig.say("a1", "relay", {"on": True})
        await rig.settle()
        assert not rig.switched
        assert not rig.answer()["ok"]
        assert "no relay" in rig.answer()["error"]


async def test_repeats_are_answered_and_not_done_again(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for k in range(16):
            await rig.say(f"id{k}", "relay", {"on": k % 2 == 0})
            await rig.settle()
        first = rig.answers[0]
        await rig.say("id0", "relay", {"on": True})
        await rig.settle()
        assert rig.answer() == first
        assert len(rig.switched) == 16
        # The seventeenth pushes the first out; it would be done again.
        await rig.say("id16", "report")
        await rig.settle()
        await rig.say("id0", "relay", {"on": True})
        await rig.settle()
        assert len(rig.switched) == 17


async def test_repeat_of_a_waiting_command_is_answered_once(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("a1", "relay", {"on": True})
        await rig.say("a1", "relay", {"on": True})
        await rig.settle()
        assert rig.switched == [True]
        assert len(rig.answers) == 1


async def test_late_command_has_no_effect(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        received_ms = rig.now_ms
        rig.now_ms += 3000
        cmd = {"id": "a1", "kind": "relay", "args": {"on": True}, "ttl": 2000}
        await rig.commands.handle(cmd, received_ms)
        await rig.settle()
        assert rig.answer() == {"id": "a1", "ok": False, "error": "expired", "data": {}}
        assert not rig.switched


async def test_queue_is_bounded_and_a_refused_command_may_come_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for k in range(6):
        await rig.say(f"id{k}", "relay", {"on": True})
    assert [a["id"] for a in rig.answers] == ["id4", "id5"]
    assert all("busy" in a["error"] for a in rig.answers)
    task = asyncio.create_task(rig.commands.run())
    await rig.settle()
    await rig.say("id5", "relay", {"on": False})
    await rig.settle()
    assert rig.switched == [True] * 4 + [False]
    task.cancel()


@pytest.mark.parametrize(
    ("kind", "args", "ttl", "said"),
    [
        ("explode", {}, 5000, "kind: one of relay"),
        (None, {}, 5000, "kind"),
        ([], {}, 5000, "kind"),
        ("relay", {"on": 1}, 5000, "args.on"),
        ("relay", None, 5000, "args.on"),
        ("relay", [], 5000, "args: an object"),
        ("relay", {"on": True}, None, "ttl"),
        ("relay", {"on": True}, 0, "ttl"),
        ("relay", {"on": True}, True, "ttl"),
        ("identify", {"seconds": 0}, 5000, "seconds"),
        ("identify", {"seconds": 1.5}, 5000, "seconds"),
        ("identify", {"seconds": True}, 5000, "seconds"),
        ("calibrate", {"seconds": 601}, 5000, "600"),
        ("calibrate", {}, 5000, "seconds"),
        ("wifi", {"ssid": "", "password": "x"}, 5000, "ssid"),
        ("wifi", {"ssid": "ä" * 17, "password": "x"}, 5000, "32 bytes"),
        ("wifi", {"ssid": "a"}, 5000, "password"),
        ("wifi", {"ssid": "a", "password": "x" * 65}, 5000, "password"),
    ],
)
async def test_wrong_commands_are_told_what_is_wrong(
    tmp_path: Path, kind: object, args: object, ttl: object, said: str
) -> None:
    async with running(tmp_path) as rig:
        await rig.say("a1", kind, args, ttl)
        await rig.settle()
        assert not rig.answer()["ok"]
        assert said in rig.answer()["error"]
        assert rig.commands.kept.refused == 1
        assert not rig.switched


@pytest.mark.parametrize("cmd", [None, [], "x", {}, {"id": 7}, {"id": ""}, {"id": "x" * 65}])
async def test_command_without_an_id_cannot_be_answered(tmp_path: Path, cmd: object) -> None:
    async with running(tmp_path) as rig:
        await rig.commands.handle(cmd, 0)
        await rig.settle()
        assert not rig.answers
        assert rig.commands.kept.refused == 1


async def test_identify_shines_for_its_time(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("a1", "identify", {"seconds": 3})
        await rig.settle()
        assert rig.answer()["ok"]
        assert rig.lit == [True]
        rig.now_ms += 3001
        await rig.settle()
        assert rig.lit == [True, False]


async def test_calibrate_answers_with_the_sums_and_holds_nothing_up(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("c1", "calibrate", {"seconds": 10}, 60_000)
        await rig.settle()
        await rig.say("c2", "calibrate", {"seconds": 10})
        await rig.say("a1", "relay", {"on": True})
        await rig.settle()
        assert [a["id"] for a in rig.answers] == ["c2", "a1"]
        assert "calibration is running" in rig.answers[0]["error"]
        rig.collecting.set()
        await rig.settle()
        assert rig.answer() == {
            "id": "c1",
            "ok": True,
            "error": None,
            "data": {**SUMS, "asked": 10},
        }
        rig.sums = {**SUMS, "windows": 0}
        await rig.say("c3", "calibrate", {"seconds": 1})
        await rig.settle()
        assert "no mains voltage" in rig.answer()["error"]


async def test_report_tells_state_and_counters(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.commands.actions.add_report("late", lambda: 4)
        await rig.say("r1", "report", {})
        await rig.settle()
        data = rig.answer()["data"]
        assert data["clock"] == "ack"
        assert abs(data["t"] - 1_763_760_000_000) < 60_000
        assert (data["heap"], data["rssi"], data["backlog"], data["late"]) == (81_234, -61, 3, 4)
        assert data["have"] == [{"boot": 1, "bootn": 1, "from": 0}]
        json.dumps(data, allow_nan=False)


async def test_defect_in_a_command_is_answered_and_the_next_one_is_done(tmp_path: Path) -> None:
    def broken() -> int:
        return 1 // 0

    async with running(tmp_path) as rig:
        rig.commands.actions.add_report("odd", broken)
        await rig.say("r1", "report")
        await rig.say("a1", "relay", {"on": True})
        await rig.settle()
        assert "internal: ZeroDivisionError" in rig.answers[0]["error"]
        assert rig.switched == [True]


async def test_reboot_happens_once_also_when_asked_again_after_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("b1", "reboot", {})
        await rig.settle()
        assert rig.answer() == {"id": "b1", "ok": True, "error": None, "data": {}}
        assert (rig.resets, rig.saved) == (1, 1)
        assert rig.flushed == [rig.clock.offset_ms]
    async with running(tmp_path) as again:
        await again.say("b1", "reboot", {})
        await again.settle()
        assert again.answer() == {"id": "b1", "ok": True, "error": None, "data": {}}
        assert again.resets == 0
        await again.say("b2", "reboot", {})
        await again.settle()
        assert again.resets == 1


async def test_no_reboot_that_could_not_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, _data: bytes) -> None:
        msg = "full"
        raise FlashError(msg)

    monkeypatch.setattr("checked.Checked.save", full)
    async with running(tmp_path) as rig:
        await rig.say("b1", "reboot", {})
        await rig.settle()
        assert "flash" in rig.answer()["error"]
        assert rig.resets == 0


async def test_reboot_goes_on_where_saving_or_the_goodbye_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    def full(_offset_ms: int | None) -> None:
        msg = "full"
        raise FlashError(msg)

    monkeypatch.setattr(actions, "GOODBYE_S", 0.01)
    async with running(tmp_path) as rig:
        monkeypatch.setattr(rig, "close", hang)
        monkeypatch.setattr(rig, "flush", full)
        await rig.say("b1", "reboot", {})
        await asyncio.sleep(0.05)
        assert rig.resets == 1


async def test_wifi_is_saved_only_once_the_gateway_is_reached(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.say("w1", "wifi", {"ssid": "new", "password": "secret-9"}, 60_000)
        await rig.settle()
        assert rig.answer() == {"id": "w1", "ok": True, "error": None, "data": {"ssid": "new"}}
        assert rig.networks == [("new", "secret-9"), None]
        known = load_config(str(tmp_path)).wifi
        assert known == [("new", "secret-9"), ("old", "old-secret")]
    async with running(tmp_path) as again:
        await again.say("w1", "wifi", {"ssid": "new", "password": "secret-9"})
        await again.settle()
        assert again.answer()["ok"]
        assert not again.networks
    assert "secret-9" not in json.dumps(rig.answers)


async def test_wifi_falls_back_after_a_minute_without_the_gateway(tmp_path: Path) -> None:
    async with running(tmp_path, lambda rig: rig.reachable.remove("new")) as rig:
        await rig.say("w1", "wifi", {"ssid": "new", "password": "secret-9"}, 60_000)
        await rig.settle()
        assert not rig.answers
        rig.now_ms += 59_000
        await rig.settle()
        assert not rig.answers
        rig.now_ms += 1000
        await rig.settle()
        assert "no gateway over new within 60 s; back on the old" in rig.answer()["error"]
        assert rig.networks == [("new", "secret-9"), None]
        assert rig.connected_since_ms is not None
        assert load_config(str(tmp_path)).wifi == [("old", "old-secret")]


async def test_wifi_that_cannot_be_saved_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28)

    monkeypatch.setattr("config.os.rename", full)
    async with running(tmp_path) as rig:
        await rig.say("w1", "wifi", {"ssid": "new", "password": "secret-9"}, 60_000)
        await rig.settle()
        assert "could not be saved" in rig.answer()["error"]
        assert rig.config.wifi == [("old", "old-secret")]


async def test_stored_results_stay_small(tmp_path: Path) -> None:
    """Sixteen reboots with the longest ids: the record stays within its bound and loads."""
    for k in range(20):
        rig = Rig(tmp_path)
        task = asyncio.create_task(rig.commands.run())
        await rig.say(f"{k:064d}", "reboot", {})
        await rig.settle()
        task.cancel()
    assert rig.resets == 1
    again = Rig(tmp_path)
    await again.say(f"{19:064d}", "reboot", {})
    assert again.answer()["ok"]
    assert max(stored_bytes(tmp_path)) < 4096


@given(st.binary(max_size=100))
def test_damaged_stored_results_do_no_harm(data: bytes) -> None:
    """Whatever an older firmware may have stored, commands work."""
    with tempfile.TemporaryDirectory() as name:
        Checked(name, "commands").save(data)
        rig = Rig(Path(name))
        asyncio.run(rig.say("a1", "nothing"))
        assert rig.answer()["id"] == "a1"


def test_errors_of_actions_are_the_meters() -> None:
    assert issubclass(actions.ActionError, MeterError)


PROGRAM = """
import asyncio, json, sys
import commands
from checked import Checked
from clock import Clock
from config import load_config
root = sys.argv[1]
commands.REBOOT_AFTER_S = 0
class Part:
    connected_since_ms = 1
    def up_ms(self): return 1000
    def relay(self, on): print("relay", on)
    def identify(self, on): print("identify", on)
    def reset(self): print("reset")
    def free_heap(self): return 1
    def rssi(self): return None
    def chip(self): return "vm"
    async def reconnect(self, network=None): print("network", network)
    async def close(self): print("close")
    def flush(self, offset_ms): print("flush", offset_ms)
    def have(self): return []
    def backlog(self): return 0
    async def collect(self, seconds): return {"windows": seconds}
async def main():
    part = Part()
    made = commands.Commands(load_config(root), part, Clock(part), link=part, meter=part,
        keeper=part, root=root, send_result=lambda r: print(json.dumps(r)))
    task = asyncio.create_task(made.run())
    for text in sys.argv[2:]:
        await made.handle(json.loads(text), 1000)
        for _ in range(20):
            await asyncio.sleep(0)
asyncio.run(main())
"""


@needs_vm
def test_commands_in_the_vm(tmp_path: Path) -> None:
    config = {"meter": "shed-1", "channels": ["grid"], "wifi": [{"ssid": "old", "password": "p"}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    given_commands = [
        {"id": "a", "kind": "relay", "args": {"on": True}, "ttl": 1000},
        {"id": "a", "kind": "relay", "args": {"on": True}, "ttl": 1000},
        {"id": "b", "kind": "calibrate", "args": {"seconds": 3}, "ttl": 1000},
        {"id": "c", "kind": "report", "ttl": 1000},
        {"id": "d", "kind": "wifi", "args": {"ssid": "new", "password": "n"}, "ttl": 1000},
        {"id": "e", "kind": "reboot", "args": {}, "ttl": 1000},
    ]
    texts = [json.dumps(cmd) for cmd in given_commands]
    said = vm(PROGRAM, str(tmp_path), *texts)
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [r["id"] for r in results] == ["a", "a", "b", "c", "d", "e"]
    assert all(r["ok"] for r in results)
    assert said.count("relay True") == 1
    assert said.rstrip().endswith("reset")
    assert load_config(str(tmp_path)).wifi[0] == ("new", "n")
    again = vm(PROGRAM, str(tmp_path), texts[-1])
    assert json.loads(again.splitlines()[0])["ok"]
    assert "reset" not in again
