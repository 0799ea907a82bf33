"""Commands: done once by their id, sent again to who was away, each end said in words."""

import asyncio
import json
from typing import Any

import pytest

from gateway.adapters.memory_care import MemoryCommands
from gateway.domain.errors import BadInputError, NotFoundError, TransientError
from gateway.domain.meters import MeterInfo
from gateway.services.commands import Commands, command_operation
from gateway.services.ledger import Ledger, Meter
from tests.gateway.services.site_rig import FakeNow


class Rig:
    """Commands with a meter that answers what `answers` says, unless it is silent."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        for number, info in enumerate((MeterInfo("kitchen"), MeterInfo("tape", recorded=True))):
            self.ledger.meters[info.id] = Meter(number, info)
        self.store = MemoryCommands()
        self.sent: list[dict[str, Any]] = []
        self.audit: list[str] = []
        self.broker, self.silent = True, False
        self.commands = Commands(self.store, self._send, lambda: self.ledger, FakeNow(), self._note)

    async def _note(self, who: str, what: str, detail: str) -> None:
        self.audit.append(f"{who} {what} {detail}")

    def _send(self, meter: str, tail: str, payload: bytes) -> bool:
        assert (meter, tail) == ("kitchen", "cmd")
        if not self.broker:
            return False
        self.sent.append(json.loads(payload))
        if not self.silent:
            asyncio.get_running_loop().call_soon(self.answer, self.sent[-1]["id"])
        return True

    def answer(self, name: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        body = {"id": name, "ok": True, "error": None, "data": {"n": len(self.sent)}, **more}
        self.commands.heard("kitchen", json.dumps(body).encode())

    async def report(self, name: str | None = None) -> dict[str, object]:
        return (await self.commands.send("kitchen", "report", {}, by="ada", command_id=name)).data


async def test_the_same_id_is_sent_once_and_answered_from_the_store() -> None:
    rig = Rig()
    assert await rig.report("x") == {"n": 1}
    assert await rig.report("x") == {"n": 1}
    assert [one["id"] for one in rig.sent] == ["x"]
    one, other = await asyncio.gather(rig.report("y"), rig.report("y"))
    assert one == other == {"n": 2}
    assert len(rig.sent) == 2
    assert rig.audit == []  # it changed nothing
    await rig.commands.send("kitchen", "identify", {"seconds": 3}, by="ada")
    assert rig.audit == ["ada meters.command kitchen: identify seconds=3"]
    with pytest.raises(BadInputError, match="another command"):
        await rig.commands.send("kitchen", "reboot", {}, by="ada", command_id="x")


async def test_one_without_an_answer_is_asked_again_under_its_id() -> None:
    rig = Rig()
    rig.silent = True
    with pytest.raises(TransientError, match="did not answer report within"):
        await asyncio.wait_for(
            rig.commands.send("kitchen", "report", {}, 1, by="a", command_id="z"), 6
        )
    rig.silent = False
    assert await rig.report("z") == {"n": 2}
    assert [one["id"] for one in rig.sent] == ["z", "z"]


async def test_who_was_away_is_told_again() -> None:
    rig = Rig()
    rig.silent = True
    waiting = asyncio.create_task(rig.report("q"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rig.commands.online("kitchen", here=False)
    with pytest.raises(TransientError, match="is offline"):
        await rig.report()
    rig.commands.online("kitchen", here=True)
    rig.commands.linked()
    assert [one["id"] for one in rig.sent] == ["q"] * 3
    rig.answer("q")
    rig.answer("q", ok=False)  # the first one counts
    assert await waiting == {"n": 3}
    rig.broker = False
    with pytest.raises(TransientError, match="broker is not connected"):
        await rig.report()


async def test_more_than_a_meter_takes_at_once_is_refused() -> None:
    rig = Rig()
    rig.silent = True
    tasks = [asyncio.create_task(rig.report(f"n{k}")) for k in range(4)]
    await asyncio.sleep(0.01)
    with pytest.raises(TransientError, match="4 commands to do already"):
        await rig.report("n4")
    for k in range(4):
        rig.answer(f"n{k}")
    assert len(await asyncio.gather(*tasks)) == 4


@pytest.mark.parametrize(
    "payload",
    [
        b"{", b"[]", b'{"id":1,"ok":true}', b'{"id":"x"}', b"x" * 20_000,
        b'{"id":"x","ok":true,"data":' + b"[" * 900,
    ],
)  # fmt: skip
async def test_results_that_are_none_are_ignored(payload: bytes) -> None:
    rig = Rig()
    rig.commands.heard("kitchen", payload)
    rig.answer("never-asked")
    assert await rig.report() == {"n": 1}


async def test_what_nobody_can_be_told() -> None:
    rig = Rig()
    send = rig.commands.send
    with pytest.raises(NotFoundError):
        await send("cellar", "report", {}, by="a")
    with pytest.raises(BadInputError, match="recording"):
        await send("tape", "report", {}, by="a")
    wrong: list[tuple[str, dict[str, object], str]] = [
        ("dance", {}, "kind"), ("relay", {"on": 1}, "args.on"), ("report", {"a": 1}, "knows no"),
        ("calibrate", {"seconds": 601}, "args.seconds"), ("wifi", {"ssid": ""}, "args.ssid"),
        ("wifi", {"ssid": "a", "password": "x" * 65}, "args.password"),
    ]  # fmt: skip
    for kind, args, said in wrong:
        with pytest.raises(BadInputError, match=said):
            await send("kitchen", kind, args, by="a")
    with pytest.raises(BadInputError, match="ttl_ms"):
        await send("kitchen", "report", {}, 0, by="a")
    with pytest.raises(BadInputError, match="command_id"):
        await send("kitchen", "report", {}, by="a", command_id="ä")


async def test_a_password_is_neither_stored_nor_audited() -> None:
    rig = Rig()
    args = {"ssid": "home", "password": "hunter2-hunter2"}
    await rig.commands.send("kitchen", "wifi", args, by="ada")
    assert "hunter2" not in repr(rig.store.rows) + repr(rig.audit)
    assert "ssid=home" in rig.audit[0]


async def test_the_operation_checks_its_arguments() -> None:
    rig = Rig()
    call = command_operation(rig.commands)
    done = await call({"id": "kitchen", "kind": "report"}, "ada")
    assert done == {"ok": True, "error": None, "data": {"n": 1}}
    for wrong in ({}, {"id": "kitchen", "kind": "report", "args": 1}, {"id": "kitchen", "kind": 1},
                  {"id": "kitchen", "kind": "report", "command_id": 1}):  # fmt: skip
        with pytest.raises(BadInputError):
            await call(wrong, "ada")
