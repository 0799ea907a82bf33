"""How alerts find people, over HTTP: kinds of roads and a test, addresses never."""

import json

from gateway.adapters.memory_notices import MemoryNotices
from gateway.services.notify.checks import notify_operations
from gateway.services.notify.delivery import Delivery
from gateway.services.notify.ports import Outcome, Result
from gateway.services.notify.wording import Wording
from tests.gateway.services.notify.rig import ZONE, Clock, KeepingRoad
from tests.gateway.web.rig import Rig, assert_problem

PATH = "/api/v1/notifications"
FAILED = Outcome(Result.REFUSED, "the topic does not exist")


def offer(rig: Rig) -> tuple[KeepingRoad, KeepingRoad]:
    """Give the API a road to phones and one to addresses."""
    phones = KeepingRoad({"0f3a9c1b2d4e5f60": "de"})
    others = KeepingRoad(
        {"ntfy-1a2b3c4d": "en", "ntfy-5e6f7a8b": "en", "mailto-99aabbcc": "en"},
        {"ntfy-5e6f7a8b": FAILED},
    )
    roads = {"push": phones, "apprise": others}
    store, clock = MemoryNotices(), Clock()
    delivery = Delivery(store, roads, Wording("home", ZONE), clock)
    rig.operations.others |= notify_operations(store, roads, delivery, clock)
    return phones, others


async def test_kinds_of_roads_are_shown_and_no_address(rig: Rig) -> None:
    offer(rig)
    async with rig.login("vera") as client:
        shown = await client.get(PATH)
    found = {road["kind"]: road["targets"] for road in shown.json()["items"]}
    assert found == {"push": 1, "ntfy": 2, "mailto": 1}
    assert "1a2b3c4d" not in shown.text
    async with rig.client() as stranger:
        assert_problem(await stranger.get(PATH), 401)


async def test_pushes_are_told_of_before_there_is_a_device(rig: Rig) -> None:
    phones, _ = offer(rig)
    phones.known.clear()
    async with rig.login("otto") as client:
        roads = (await client.get(PATH)).json()["items"]
    assert roads[0] == {"kind": "push", "targets": 0, "trouble": None}


async def test_a_test_reaches_everybody_and_names_who_was_not(rig: Rig) -> None:
    phones, others = offer(rig)
    async with rig.login("ada") as client:
        tested = (await client.post(f"{PATH}/test")).json()["items"]
        audit = (await client.get("/api/v1/audit")).json()["items"]
    assert len(phones.taken) == 1
    assert len(others.taken) == 2
    wrong = [one for one in tested if one["result"] != "sent"]
    assert wrong == [{"kind": "ntfy", "result": "refused", "reason": FAILED.reason}]
    assert "notifications.test" in json.dumps(audit)
    async with rig.login("otto") as client:
        assert_problem(await client.post(f"{PATH}/test"), 403)
