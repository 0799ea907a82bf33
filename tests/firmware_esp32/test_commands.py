"""Commands: done once, in time, answered."""

import asyncio
import json
from pathlib import Path

import actions
import commands as commands_module
import pytest

from tests.support.command_rig import SUMS, Rig, running


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
