"""The contract of the commands collection, held by Firestore and by the in-memory twin."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from cloud_sync.command_box import FirestoreCommandBox
from cloud_sync.errors import CloudDownError
from gateway.adapters.memory_commands import MemoryCommandBox, MemoryCommandLog
from gateway.services.remote_commands import CommandBox, RemoteCommands
from gateway.services.remote_forms import RemoteResult, State
from tests.cloud_sync.conftest import PROJECT
from tests.gateway.services.notify.rig import Clock
from tests.gateway.services.test_remote_commands import Gateway, fields
from tests.support.firestore_rig import Fault, FirestoreRig

DONE = RemoteResult(State.DONE, ok=True, data={"relay": True})


class Cloud:
    """A site's collection, and what the function and people do to it."""

    def __init__(self, box: CommandBox, db: firestore.Client | None, site: str) -> None:
        self.box = box
        self._db = db
        self._site = site

    def put(self, command_id: str, body: dict[str, Any]) -> None:
        if self._db is None:
            assert isinstance(self.box, MemoryCommandBox)
            self.box.put(command_id, body)
        else:
            document = {**body, "state": "new", "created": firestore.SERVER_TIMESTAMP}
            self._db.document(f"sites/{self._site}/commands/{command_id}").set(document)

    def join(self, uid: str, role: str) -> None:
        if self._db is None:
            assert isinstance(self.box, MemoryCommandBox)
            self.box.members[uid] = role
        else:
            self._db.document(f"sites/{self._site}/members/{uid}").set({"role": role})

    def read(self, command_id: str) -> dict[str, Any]:
        if self._db is None:
            assert isinstance(self.box, MemoryCommandBox)
            return self.box.documents[command_id]
        found = self._db.document(f"sites/{self._site}/commands/{command_id}").get().to_dict()
        assert found is not None
        return found


@pytest.fixture(params=["firestore", "memory"])
async def cloud(request: pytest.FixtureRequest, db: firestore.Client) -> AsyncIterator[Cloud]:
    site = f"site-{uuid.uuid4().hex[:6]}"
    if request.param == "memory":
        yield Cloud(MemoryCommandBox(), None, site)
        return
    box = FirestoreCommandBox(
        lambda: firestore.Client(project=PROJECT, credentials=AnonymousCredentials()), site
    )
    yield Cloud(box, db, site)
    await box.close()


async def test_what_nobody_answered_is_pending_with_its_fields(cloud: Cloud) -> None:
    assert await cloud.box.pending(10) == []
    cloud.put("command-1", fields())
    cloud.put("command-2", fields("command-2"))
    first, second = await cloud.box.pending(10)
    assert (first.id, first.fields) == ("command-1", fields())
    assert second.id == "command-2"
    assert len(await cloud.box.pending(1)) == 1
    await cloud.box.answer("command-1", DONE)
    assert [arrival.id for arrival in await cloud.box.pending(10)] == ["command-2"]
    answered = cloud.read("command-1")
    assert answered["state"] == "done"
    assert answered["result"] == {"ok": True, "error": None, "data": {"relay": True}}
    assert answered["uid"] == "u-ada", "the rest stays"


async def test_an_answer_to_a_document_that_is_gone_is_no_error(cloud: Cloud) -> None:
    await cloud.box.answer("command-9", DONE)
    assert await cloud.box.pending(10) == []


async def test_a_role_is_that_of_today(cloud: Cloud) -> None:
    assert await cloud.box.role_of("u-ada") is None
    assert await cloud.box.role_of("../x") is None
    cloud.join("u-ada", "admin")
    assert await cloud.box.role_of("u-ada") == "admin"
    cloud.join("u-ada", "viewer")
    assert await cloud.box.role_of("u-ada") == "viewer"


async def test_a_command_is_heard_of_without_asking(cloud: Cloud) -> None:
    await cloud.box.pending(1)
    await cloud.box.wait(1.0)  # the first snapshot
    waiting = asyncio.create_task(cloud.box.wait(20.0))
    await asyncio.sleep(0.2)
    began_s = time.monotonic()
    await asyncio.to_thread(cloud.put, "command-1", fields())
    await waiting
    assert time.monotonic() - began_s < 5


async def test_the_whole_way_once(cloud: Cloud) -> None:
    gateway, clock = Gateway(), Clock(ms=time.time_ns() // 1_000_000)
    service = RemoteCommands(cloud.box, MemoryCommandLog(), gateway.call, clock)
    cloud.join("u-ada", "admin")
    running = asyncio.create_task(service.run())
    now: dict[str, Any] = {"created_ms": clock.ms, "expires_ms": clock.ms + 60_000}
    await asyncio.sleep(0.3)
    for _ in range(2):
        await asyncio.to_thread(cloud.put, "command-1", fields(**now))
        deadline_s = time.monotonic() + 15
        while (await asyncio.to_thread(cloud.read, "command-1"))["state"] == "new":
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
    running.cancel()
    assert len(gateway.calls) == 1
    assert (await asyncio.to_thread(cloud.read, "command-1"))["state"] == "done"


async def test_a_cloud_that_fails_is_an_error_of_ours_and_mends(
    rig: FirestoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", rig.host)
    box = FirestoreCommandBox(
        lambda: firestore.Client(project=PROJECT, credentials=AnonymousCredentials()), "s"
    )
    rig.faults.add(Fault("RunQuery", grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(CloudDownError):
        await box.pending(1)
    assert await box.pending(1) == []
    await box.close()
