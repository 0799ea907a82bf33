"""Commands that outlive a restart: the meter reboots once and never loses its Wi-Fi."""

import asyncio
import json
import tempfile
from pathlib import Path

import actions
import commands as commands_module
import pytest
from checked import Checked
from config import load_config
from errors import FlashError, MeterError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command_rig import Rig, running, stored_bytes
from tests.support.firmware import needs_vm, vm


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_module, "REBOOT_AFTER_S", 0)
    monkeypatch.setattr(actions, "POLL_S", 0)


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
