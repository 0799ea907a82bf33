"""Commands from the cloud: sent twice, late, unauthorised, malformed; and crashes in between."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.adapters.memory_commands import MemoryCommandBox, MemoryCommandLog
from gateway.adapters.store.cloud_commands import SqlCommandLog
from gateway.adapters.store.database import opened
from gateway.domain.errors import BadInputError, NotFoundError, TransientError
from gateway.services.remote_commands import CommandLog, RemoteCommands
from gateway.services.remote_forms import ARGS, NEEDS, Kind, RemoteResult, State, read_command
from tests.gateway.services.notify.rig import NOON_MS, Clock

RELAY = {"meter": "kitchen", "on": True}


def fields(command_id: str = "command-1", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {
        "v": 1, "id": command_id, "kind": "relay", "args": RELAY, "uid": "u-ada",
        "who": "ada@example.org", "role": "admin", "created_ms": NOON_MS,
        "expires_ms": NOON_MS + 60_000, **changes,
    }  # fmt: skip


@dataclass
class Gateway:
    """Counts what is done; raises what it is told to."""

    calls: list[tuple[str, dict[str, object], str]] = field(default_factory=list)
    error: Exception | None = None

    async def call(self, name: str, args: dict[str, object], who: str) -> dict[str, object]:
        self.calls.append((name, args, who))
        if self.error is not None:
            raise self.error
        return {"ok": True, "error": None, "data": {"relay": True}}


@pytest.fixture(params=["sql", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CommandLog]:
    if request.param == "memory":
        yield MemoryCommandLog()
        return
    with opened(tmp_path / "c.db") as database:
        yield SqlCommandLog(database)


class Rig:
    """A service over the in-memory collection."""

    def __init__(self, log: CommandLog) -> None:
        self.box = MemoryCommandBox(
            members={"u-ada": "admin", "u-otto": "operator"}, server_ms=NOON_MS + 1000
        )
        self.gateway = Gateway()
        self.log = log
        self.start()

    def start(self) -> None:
        self.service = RemoteCommands(self.box, self.log, self.gateway.call, Clock())

    async def step(self) -> bool:
        done = await self.service.step()
        await self.service.settle()
        return done

    def state(self, command_id: str = "command-1") -> tuple[str, Any]:
        document = self.box.documents[command_id]
        result: Any = document.get("result", {})
        return str(document["state"]), result.get("error")


@pytest.fixture
def rig(log: CommandLog) -> Rig:
    return Rig(log)


async def test_a_command_is_done_once_and_answered(rig: Rig) -> None:
    rig.box.put("command-1", fields())
    await rig.step()
    ((name, args, who),) = rig.gateway.calls
    assert (name, who) == ("meters.command", "cloud:ada@example.org")
    assert args == {
        "id": "kitchen", "kind": "relay", "args": {"on": True}, "ttl_ms": 10_000,
        "command_id": "command-1",
    }  # fmt: skip
    assert rig.state() == ("done", None)
    assert await rig.log.unwritten() == []


async def test_sent_twice_it_has_one_effect(rig: Rig) -> None:
    for _ in range(3):
        rig.box.put("command-1", fields())
        await rig.step()
    assert len(rig.gateway.calls) == 1
    assert rig.state() == ("done", None)


async def test_two_steps_at_once_do_it_once(rig: Rig) -> None:
    rig.box.put("command-1", fields())
    await rig.service.step()
    await rig.service.step()
    await rig.service.settle()
    assert len(rig.gateway.calls) == 1


async def test_late_it_has_none(rig: Rig) -> None:
    rig.box.server_ms = NOON_MS + 60_001
    rig.box.put("command-1", fields())
    with capture_logs() as logs:
        await rig.step()
    assert rig.gateway.calls == []
    assert rig.state() == ("expired", "it came too late and was not done")
    assert [entry["event"] for entry in logs] == ["command_expired"]


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "u-mallory"},
        {"uid": "u-otto", "role": "operator"},
        {"uid": "u-otto", "role": "admin"},
        {"uid": "u-otto", "role": "operator", "kind": "settings", "args": {"values": {}}},
    ],
)
async def test_unauthorised_it_has_none_and_is_logged(rig: Rig, changes: dict[str, Any]) -> None:
    rig.box.put("command-1", fields(**changes))
    with capture_logs() as logs:
        await rig.step()
    assert rig.gateway.calls == []
    assert rig.state()[0] == "refused"
    assert [entry["event"] for entry in logs] == ["command_refused"]


async def test_a_role_taken_away_meanwhile_counts(rig: Rig) -> None:
    rig.box.members["u-ada"] = "viewer"
    rig.box.put("command-1", fields())
    await rig.step()
    assert rig.gateway.calls == []
    assert rig.state()[0] == "refused"


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"id": "another-1"},
        {"kind": "explode"},
        {"kind": "wifi"},
        {"args": {}},
        {"args": {"meter": "kitchen", "on": 1}},
        {"args": {"meter": "kitchen", "on": True, "more": 1}},
        {"args": {"meter": "../etc", "on": True}},
        {"args": "on"},
        {"role": "root"},
        {"uid": ""},
        {"expires_ms": NOON_MS + 3_600_001},
        {"expires_ms": NOON_MS},
        {"expires_ms": "soon"},
        {"kind": "snooze", "args": {"alert": "a", "minutes": 10**9}},
        {"kind": "identify", "args": {"meter": "kitchen", "seconds": 0}},
    ],
)
async def test_malformed_it_has_none_and_says_why(rig: Rig, changes: dict[str, Any]) -> None:
    rig.box.put("command-1", fields(**changes))
    with capture_logs() as logs:
        await rig.step()
    assert rig.gateway.calls == []
    state, error = rig.state()
    assert state == "refused"
    assert error.startswith("malformed: ")
    assert [entry["event"] for entry in logs] == ["command_refused"]


async def test_a_document_of_nothing_is_refused(rig: Rig) -> None:
    rig.box.put("command-1", {})
    rig.box.put("x", fields("x"))
    await rig.step()
    assert (rig.state()[0], rig.state("x")[0]) == ("refused", "refused")


@pytest.mark.parametrize(
    ("kind", "args", "name", "given"),
    [
        ("acknowledge", {"alert": "a1"}, "alerts.acknowledge", {"id": "a1"}),
        ("snooze", {"alert": "a1", "minutes": 5}, "alerts.snooze", {"id": "a1", "minutes": 5}),
        ("settings", {"values": {"log.level": "debug"}}, "settings.change",
         {"values": {"log.level": "debug"}}),
    ],
)  # fmt: skip
async def test_what_else_may_be_asked(
    rig: Rig, kind: str, args: dict[str, Any], name: str, given: dict[str, Any]
) -> None:
    rig.box.put("command-1", fields(kind=kind, args=args))
    await rig.step()
    assert rig.gateway.calls == [(name, given, "cloud:ada@example.org")]


async def test_a_viewer_s_phone_is_registered_in_the_viewer_s_own_name(rig: Rig) -> None:
    rig.box.members["u-vera"] = "viewer"
    phone = {"token": "fcm-token-1", "platform": "android"}
    rig.box.put("command-1", fields(
        kind="device", args=phone, uid="u-vera", role="viewer", who="vera@example.org"
    ))  # fmt: skip
    await rig.step()
    assert rig.gateway.calls == [
        ("devices.add", {**phone, "name": "", "language": "en"}, "vera@example.org")
    ]


@pytest.mark.parametrize(
    "error",
    [BadInputError("no relay"), NotFoundError("no meter 'kitchen'"), TransientError("is offline")],
)
async def test_what_the_gateway_refuses_is_told(rig: Rig, error: Exception) -> None:
    rig.gateway.error = error
    rig.box.put("command-1", fields())
    await rig.step()
    assert rig.state() == ("failed", str(error))


async def test_a_crash_before_the_answer_answers_without_doing_it_again(rig: Rig) -> None:
    command = read_command("command-1", fields())
    await rig.log.begin(command, NOON_MS)
    await rig.log.finish("command-1", RemoteResult(State.DONE, ok=True))
    rig.box.put("command-1", fields())
    rig.start()
    await rig.step()
    assert rig.gateway.calls == []
    assert rig.state() == ("done", None)


async def test_a_crash_while_it_was_done_does_it_under_the_same_id(rig: Rig) -> None:
    await rig.log.begin(read_command("command-1", fields()), NOON_MS)
    rig.box.put("command-1", fields())
    await rig.step()
    assert [args["command_id"] for _, args, _ in rig.gateway.calls] == ["command-1"]


async def test_begun_and_too_late_by_now_it_is_not_done(rig: Rig) -> None:
    await rig.log.begin(read_command("command-1", fields()), NOON_MS)
    rig.box.server_ms = NOON_MS + 60_001
    rig.box.put("command-1", fields())
    await rig.step()
    assert rig.gateway.calls == []
    state, error = rig.state()
    assert state == "failed"
    assert "look whether it was done" in error


async def test_an_answer_the_cloud_did_not_take_is_written_later(rig: Rig) -> None:
    rig.box.put("command-1", fields())
    await rig.service.step()
    rig.box.down = "no way"  # the effect is had, the answer cannot be written
    await rig.service.settle()
    rig.box.down = ""
    rig.start()
    await rig.step()
    await rig.step()
    assert len(rig.gateway.calls) <= 1
    assert rig.state()[0] == "done"
    assert await rig.log.unwritten() == []


async def test_done_ones_are_forgotten_after_a_month(log: CommandLog) -> None:
    for name in ("command-1", "command-2"):
        await log.begin(read_command(name, fields(name)), 1000)
        await log.finish(name, RemoteResult(State.DONE, ok=True, data={"a": 1}))
    await log.written("command-1")
    await log.forget_before(1001)
    assert [key for key, _ in await log.unwritten()] == ["command-2"]
    assert not await log.known("command-1")
    assert (await log.unwritten())[0][1].data == {"a": 1}


def test_every_kind_has_its_arguments_and_its_role() -> None:

    assert set(ARGS) == set(NEEDS) == set(Kind)
