"""Devices over HTTP: everybody the own ones, administrators all, tokens never."""

import pytest

from gateway.adapters.memory_notices import MemoryDevices
from gateway.services.notify.devices import Devices, device_operations
from tests.gateway.web.rig import PASSWORD, Rig, assert_problem

PHONE = {"token": "fcm:token-0123456789", "platform": "android", "name": "Phone", "language": "de"}


@pytest.fixture
def store(rig: Rig) -> MemoryDevices:
    store = MemoryDevices({"ada", "otto", "vera"})
    rig.operations.others |= device_operations(Devices(store, now_ms=lambda: rig.now_ms))
    return store


async def test_a_viewer_registers_sees_and_removes_a_phone(rig: Rig, store: MemoryDevices) -> None:
    async with rig.login("vera") as client:
        made = await client.post("/api/v1/devices", json=PHONE)
        assert made.status_code == 201
        assert made.json() == {
            "id": made.json()["id"], "user": "vera", "platform": "android", "name": "Phone",
            "language": "de", "token_end": "456789", "created": rig.now_ms, "seen": rig.now_ms,
        }  # fmt: skip
        rig.now_ms += 1000
        again = await client.post("/api/v1/devices", json={**PHONE, "language": "fr"})
        assert (again.json()["id"], again.json()["language"]) == (made.json()["id"], "fr")
        listed = await client.get("/api/v1/devices")
        assert listed.json() == {"items": [again.json()], "next": None}
        assert PHONE["token"] not in listed.text
        gone = await client.delete(f"/api/v1/devices/{made.json()['id']}")
        assert gone.status_code == 204
        assert_problem(await client.delete(f"/api/v1/devices/{made.json()['id']}"), 404)
    assert store.devices == {}


async def test_people_see_their_own_and_administrators_all(rig: Rig, store: MemoryDevices) -> None:
    async with rig.login("vera") as vera, rig.login("otto") as otto, rig.login("ada") as ada:
        made = (await vera.post("/api/v1/devices", json=PHONE)).json()
        assert (await otto.get("/api/v1/devices")).json()["items"] == []
        assert_problem(await otto.get("/api/v1/devices?all=true"), 403)
        assert_problem(await otto.delete(f"/api/v1/devices/{made['id']}"), 404)
        assert (await ada.get("/api/v1/devices?all=true")).json()["items"] == [made]
        assert (await ada.get("/api/v1/devices")).json()["items"] == []
        assert (await ada.delete(f"/api/v1/devices/{made['id']}")).status_code == 204


@pytest.mark.parametrize(
    "wrong",
    [{"token": "x"}, {"token": "a b" * 9}, {"platform": "fax"}, {"language": "tlh"},
     {"name": "n" * 61}, {"more": 1}],
)  # fmt: skip
async def test_bad_devices_are_refused_and_tokens_not_repeated(
    rig: Rig, store: MemoryDevices, wrong: dict[str, object]
) -> None:
    async with rig.login("vera") as client:
        answer = await client.post("/api/v1/devices", json={**PHONE, **wrong})
        assert_problem(answer, 422)
        assert PHONE["token"] not in answer.text


async def test_nobody_without_a_login_and_no_script(rig: Rig, store: MemoryDevices) -> None:
    async with rig.client() as client:
        assert_problem(await client.post("/api/v1/devices", json=PHONE), 401)
    async with rig.login("ada") as ada:
        body = {"name": "grafana", "role": "operator", "days": 1}
        token = (await ada.post("/api/v1/tokens", json=body)).json()["token"]
    async with rig.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/api/v1/devices", json=PHONE, headers=headers)
        assert_problem(answer, 422)
        assert "belong to people" in answer.json()["detail"]
    assert PASSWORD not in str(store.devices)
