"""Pushes of a gateway without a service account: through the function, as if it were Google."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import firebase_admin
import httpx
import pytest
from google.auth.transport.requests import Request

from cloud_sync.firebase_app import APP, open_app
from cloud_sync.identity import Identity, identity_credentials
from cloud_sync.login import Project, forget, log_in
from cloud_sync.push import FcmRoad
from gateway.adapters.memory_notices import MemoryDevices
from gateway.services.notify.ports import SENT, Device, Message, Platform, Result
from tests.functions.conftest import PROJECT
from tests.support.auth_rig import KEY, PASSWORD, AuthRig
from tests.support.fcm_stub import QUOTA, UNREGISTERED, Fault, FcmStub
from tests.support.functions_rig import FunctionsRig

pytestmark = pytest.mark.filterwarnings("ignore:Message.token is deprecated")
MESSAGE = Message("alert-1", "Critical", "276.2 V", critical=True, loud=True, data={"a": "b"})


@pytest.fixture(scope="module")
def identity(auth: AuthRig, functions: FunctionsRig) -> Identity:
    auth.sign_up("ada@push.example")
    return log_in(Project(PROJECT, KEY, functions.address, "pushing"), "ada@push.example", PASSWORD)


@pytest.fixture
async def road(functions: FunctionsRig, identity: Identity) -> AsyncIterator[FcmRoad]:
    devices = MemoryDevices({"ada"})
    await devices.save_device(Device("one", "ada", "token-one", Platform.WEB, "", "de", 1, 1), 9)
    road = FcmRoad(
        devices, lambda: open_app(PROJECT, identity_credentials(identity)), functions.url("push")
    )
    yield road
    await road.close()
    await asyncio.to_thread(firebase_admin.delete_app, firebase_admin.get_app(APP))


async def test_a_push_goes_through_as_it_is(road: FcmRoad, fcm: FcmStub) -> None:
    assert await road.send("one", MESSAGE) == SENT
    assert fcm.taken[-1].tag == "alert-1"
    assert fcm.taken[-1].message["notification"]["body"] == "276.2 V"


async def test_google_s_errors_come_through_as_they_are(road: FcmRoad, fcm: FcmStub) -> None:
    fcm.faults["token-one"] = [QUOTA, UNREGISTERED]
    outcome = await road.send("one", MESSAGE)
    assert (outcome.result, outcome.wait_s) == (Result.LATER, 2)
    assert (await road.send("one", MESSAGE)).result is Result.GONE


async def test_an_answer_that_is_no_json_is_an_error_in_google_s_form(
    road: FcmRoad, fcm: FcmStub
) -> None:
    fcm.faults["token-one"] = [Fault(503, retry_after="3", page="<html>No backend</html>")]
    outcome = await road.send("one", MESSAGE)
    assert (outcome.result, outcome.wait_s) == (Result.LATER, 3)
    assert "no JSON" in outcome.reason


def test_only_gateways_and_only_to_one_device(
    functions: FunctionsRig, identity: Identity, auth: AuthRig, fcm: FcmStub
) -> None:
    credentials = identity_credentials(identity)
    credentials.refresh(Request())
    gateway, person = str(credentials.token), auth.sign_in("ada@push.example")["idToken"]
    before = len(fcm.taken)
    for token, message, status in (
        (person, {"token": "t"}, 403),
        ("forged", {"token": "t"}, 401),
        (gateway, {"topic": "all"}, 400),
        (gateway, {"token": "t", "condition": "'a' in topics"}, 400),
        (gateway, {"token": "t", "data": {"x": "y" * 9000}}, 400),
    ):
        answer = httpx.post(
            functions.url("push"), json={"message": message}, timeout=30,
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == status
    assert len(fcm.taken) == before


async def test_a_forgotten_gateway_is_blocked_and_told_to_log_in(
    functions: FunctionsRig, auth: AuthRig, tmp_path: Path
) -> None:
    auth.sign_up("eva@push.example")
    identity = log_in(
        Project(PROJECT, KEY, functions.address, "forgotten"), "eva@push.example", PASSWORD
    )
    await asyncio.to_thread(forget, Project(PROJECT, KEY, functions.address, "forgotten"), identity)
    devices = MemoryDevices({"ada"})
    await devices.save_device(Device("one", "ada", "token-two", Platform.WEB, "", "de", 1, 1), 9)
    road = FcmRoad(
        devices, lambda: open_app(PROJECT, identity_credentials(identity)), functions.url("push")
    )
    outcome = await road.send("one", MESSAGE)
    await road.close()
    await asyncio.to_thread(firebase_admin.delete_app, firebase_admin.get_app(APP))
    assert outcome.result is Result.BLOCKED
    assert "log in" in outcome.reason
