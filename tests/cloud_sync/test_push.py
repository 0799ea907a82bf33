"""The road to phones, with firebase-admin itself against a stub of Google's servers."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path

import firebase_admin
import httpx
import pytest
from firebase_admin import exceptions
from firebase_admin.exceptions import FirebaseError
from google.auth.credentials import AnonymousCredentials

from cloud_sync.firebase_app import APP, open_app
from cloud_sync.identity import account_credentials
from cloud_sync.push import FcmRoad, outcome_of, retry_after_s
from gateway.adapters.memory_notices import MemoryDevices
from gateway.domain.errors import ConfigError
from gateway.services.notify.ports import (
    SENT,
    Device,
    Message,
    Platform,
    Result,
    UnknownTargetError,
)
from tests.support.accounts import service_account
from tests.support.fcm_stub import (
    BAD_TOKEN,
    QUOTA,
    SENDER,
    UNAVAILABLE,
    UNREGISTERED,
    Fault,
    FcmStub,
)

# A registration token is what apps have; Google calls it by another name in newer clients.
pytestmark = pytest.mark.filterwarnings("ignore:Message.token is deprecated")
MESSAGE = Message(
    "alert-1", "Critical: kitchen", "276.2 V", critical=True, loud=True, data={"alert": "alert-1"}
)


@pytest.fixture
def fcm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FcmStub]:
    with FcmStub() as stub:
        monkeypatch.setenv("FCM_EMULATOR_HOST", stub.host)
        yield stub


@pytest.fixture
async def road(fcm: FcmStub, tmp_path: Path) -> AsyncIterator[FcmRoad]:
    key = service_account(tmp_path / "key.json", token_uri=f"http://{fcm.host}/token")
    devices = MemoryDevices({"ada"})
    for name in ("one", "two"):
        device = Device(name, "ada", f"token-{name}", Platform.ANDROID, "", "de", 1, 1)
        await devices.save_device(device, 9)
    road = FcmRoad(devices, lambda: open_app("demo-x", account_credentials(key)))
    yield road
    await road.close()
    with contextlib.suppress(ValueError):  # no app was needed
        await asyncio.to_thread(firebase_admin.delete_app, firebase_admin.get_app(APP))


async def test_a_push_carries_its_tag_on_every_platform(road: FcmRoad, fcm: FcmStub) -> None:
    assert await road.targets() == {"one": "de", "two": "de"}
    assert await road.send("one", MESSAGE) == SENT
    (taken,) = fcm.taken
    message = taken.message
    assert message["token"] == "token-one"
    assert message["notification"] == {"title": "Critical: kitchen", "body": "276.2 V"}
    assert message["android"]["notification"]["tag"] == "alert-1"
    assert message["android"]["priority"] == "high"
    assert message["apns"]["headers"]["apns-collapse-id"] == "alert-1"
    assert message["apns"]["payload"]["aps"]["interruption-level"] == "time-sensitive"
    assert message["webpush"]["notification"]["tag"] == "alert-1"
    assert message["data"] == {"alert": "alert-1", "tag": "alert-1"}
    assert "topic" not in message
    assert len(json.dumps(message)) < 4096
    assert fcm.tokens_given == 1, "a real grant for a real signature"


def test_what_google_may_have_taken_without_an_answer() -> None:
    late = exceptions.DeadlineExceededError("late", httpx.ReadTimeout("no answer"))
    no_line = exceptions.DeadlineExceededError("late", httpx.ConnectTimeout("no line"))
    cut = exceptions.UnknownError("cut", httpx.ReadError("reset"))
    busy = exceptions.UnavailableError("busy")
    found = [outcome_of(error) for error in (late, no_line, cut, busy)]
    assert {outcome.result for outcome in found} == {Result.LATER}
    assert [outcome.maybe for outcome in found] == [True, False, True, False]


async def test_a_token_that_google_knows_no_more_is_gone(road: FcmRoad, fcm: FcmStub) -> None:
    for number, fault in enumerate((UNREGISTERED, SENDER, BAD_TOKEN)):
        fcm.faults["token-one"] = [fault]
        assert (await road.send("one", MESSAGE)).result is Result.GONE, number
    await road.forget("one")
    assert set(await road.targets()) == {"two"}
    with pytest.raises(UnknownTargetError):
        await road.send("one", MESSAGE)


@pytest.mark.parametrize(
    ("fault", "wait_s"),
    [
        (QUOTA, 2),
        (UNAVAILABLE, 2),
        (Fault(429, "QUOTA_EXCEEDED"), 60),
        (Fault(503, "UNAVAILABLE"), 0),
        (Fault(500, "INTERNAL"), 0),
    ],
)
async def test_a_busy_google_is_asked_once_and_left_alone(
    road: FcmRoad, fcm: FcmStub, fault: Fault, wait_s: float
) -> None:
    fcm.faults["token-one"] = [fault]
    began_s = time.monotonic()
    outcome = await road.send("one", MESSAGE)
    assert (outcome.result, outcome.wait_s) == (Result.LATER, wait_s)
    assert fcm.asked["token-one"] == 1, "the library repeats by itself no more"
    assert time.monotonic() - began_s < 5
    assert await road.send("one", MESSAGE) == SENT


async def test_a_refused_account_says_who_must_act(road: FcmRoad, fcm: FcmStub) -> None:
    fcm.revoked = True
    outcome = await road.send("one", MESSAGE)
    assert outcome.result is Result.BLOCKED
    assert "renew cloud.credentials_file" in outcome.reason
    fcm.revoked = False
    assert await road.send("one", MESSAGE) == SENT, "mended without a restart"


async def test_an_expired_access_token_is_renewed_at_once(road: FcmRoad, fcm: FcmStub) -> None:
    assert await road.send("one", MESSAGE) == SENT
    fcm.known_access.clear()
    assert await road.send("one", MESSAGE) == SENT
    assert fcm.tokens_given == 2


async def test_a_revoked_key_is_told_apart_from_a_broken_line(road: FcmRoad, fcm: FcmStub) -> None:
    fcm.token_fault = 400
    outcome = await road.send("one", MESSAGE)
    assert outcome.result is Result.BLOCKED
    assert "invalid_grant" in outcome.reason


async def test_a_bad_day_of_google_s_tokens_passes(road: FcmRoad, fcm: FcmStub) -> None:
    fcm.token_fault = 503
    assert (await road.send("one", MESSAGE)).result is Result.LATER
    fcm.token_fault = 0
    assert await road.send("one", MESSAGE) == SENT


async def test_permission_missing_and_unknown_project_block(road: FcmRoad, fcm: FcmStub) -> None:
    for fault, said in ((Fault(403), "role"), (Fault(404), "cloud.project")):
        fcm.faults["token-one"] = [fault]
        outcome = await road.send("one", MESSAGE)
        assert outcome.result is Result.BLOCKED
        assert said in outcome.reason


async def test_a_message_google_refuses_is_dropped(road: FcmRoad, fcm: FcmStub) -> None:
    fcm.faults["token-one"] = [Fault(400, "INVALID_ARGUMENT", text="bad payload")]
    assert (await road.send("one", MESSAGE)).result is Result.REFUSED


async def test_nobody_there_is_tried_again(
    road: FcmRoad, fcm: FcmStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCM_EMULATOR_HOST", "127.0.0.1:9")
    assert (await road.send("one", MESSAGE)).result is Result.LATER
    assert fcm.taken == []


async def test_the_gateway_s_loop_never_waits_for_the_library(road: FcmRoad, fcm: FcmStub) -> None:
    await road.warm()
    fcm.faults["token-one"] = [Fault(503, delay_s=1.5)]
    task, turns = asyncio.create_task(road.send("one", MESSAGE)), 0
    while not task.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 30, "a loop that waits turns not at all, a starved machine's some times"


async def test_many_that_open_the_app_at_once_get_the_same_one() -> None:
    def open_it() -> firebase_admin.App:
        return open_app("demo-x", AnonymousCredentials())

    apps = await asyncio.gather(*(asyncio.to_thread(open_it) for _ in range(16)))
    assert len(set(map(id, apps))) == 1
    await asyncio.to_thread(firebase_admin.delete_app, apps[0])


async def test_an_emulator_asks_for_nobody(fcm: FcmStub) -> None:
    devices = MemoryDevices({"ada"})
    await devices.save_device(Device("one", "ada", "t", Platform.WEB, "", "en", 1, 1), 9)
    road = FcmRoad(devices, lambda: open_app("demo-x", AnonymousCredentials()))
    await road.warm()
    assert await road.send("one", MESSAGE) == SENT
    await road.close()
    await asyncio.to_thread(firebase_admin.delete_app, firebase_admin.get_app(APP))


async def test_without_credentials_it_says_what_to_do(fcm: FcmStub) -> None:
    def open_nothing() -> firebase_admin.App:
        msg = "no credentials: run something"
        raise ConfigError(msg)

    devices = MemoryDevices({"ada"})
    await devices.save_device(Device("one", "ada", "t", Platform.WEB, "", "en", 1, 1), 9)
    road = FcmRoad(devices, open_nothing)
    outcome = await road.send("one", MESSAGE)
    assert (outcome.result, outcome.reason) == (Result.BLOCKED, "no credentials: run something")
    await road.close()


def test_retry_after_may_be_a_date() -> None:
    def error(said: str) -> FirebaseError:
        answer = httpx.Response(503, headers={"Retry-After": said})
        return FirebaseError("UNAVAILABLE", "later", http_response=answer)

    assert 85 <= retry_after_s(error(formatdate(time.time() + 90, usegmt=True))) <= 91
    assert retry_after_s(error("7")) == 7.0
    assert retry_after_s(error("soon")) == 0.0
