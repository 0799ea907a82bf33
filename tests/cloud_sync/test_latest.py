"""Newest readings and the status: every six hours, or every five seconds while looked at."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from cloud_sync.documents import GatewayState
from cloud_sync.errors import CloudDownError
from cloud_sync.latest import Home, LatestSender
from cloud_sync.leases import FirestoreLeases, LeaseBook
from cloud_sync.planner import Planner
from gateway.domain.readings import Channel, Stored
from gateway.services.cloud_feed import DAY_MS, HOUR_MS
from tests.support.cloud import DAY_START_MS, UTC, CloudSite

LATEST = "sites/home/latest/kitchen"
STATUS = "sites/home/status/gateway"


def reading(row: int) -> Stored:
    channel = Channel(2.0, 437.0, 1000.5, 0.0, q=-60.0)
    at_ms = DAY_START_MS + row * 1000
    return Stored(row, "kitchen", 1, row, 1, 0, at_ms, at_ms, at_ms, 1000, 0, 230.0, 50.0,
                  {"grid": channel})  # fmt: skip


class Watched:
    """A site whose services a test may stop, and whose meters it may look at."""

    def __init__(self) -> None:
        self.site = CloudSite()
        self.newest: dict[str, Stored] = {"kitchen": reading(1)}
        self.services = {"intake": "running"}
        self.looked_at: set[str] = set()
        home = Home(self.newest, self, self._state, lambda: True)
        planner = Planner(self.site.feed, "home", UTC, self.site.clock)
        self.sender = LatestSender(
            self.site.feed, self.site.cloud, planner, self.site.governor, home
        )

    def active(self) -> set[str]:
        return self.looked_at

    async def _state(self) -> GatewayState:
        return GatewayState("1", "UTC", 0, self.services, {"kitchen": True}, {}, 0,
                            clock_trusted=True)  # fmt: skip

    def sent(self, path: str) -> int:
        return self.site.cloud.order.count(path)


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_every_six_hours_over_restarts(watched: Watched) -> None:
    for _ in range(13):  # half an hour between looks
        await watched.sender.look()
        watched.site.clock.now_ms += HOUR_MS // 2
    assert (watched.sent(LATEST), watched.sent(STATUS)) == (2, 2)
    watched.sender = Watched().sender  # a new process has the same store
    assert watched.sent(LATEST) == 2
    document: dict[str, Any] = watched.site.cloud.documents[LATEST]
    assert document["channels"]["grid"] == {
        "role": "grid", "p": 437.0, "q": -60.0, "v": 230.0, "i": 2.0, "pf": 0.95,
        "wh_in": 1000.5, "wh_out": 0.0,
    }  # fmt: skip


async def test_a_changed_status_goes_out_within_half_an_hour(watched: Watched) -> None:
    await watched.sender.look()
    watched.services["intake"] = "retrying"
    await watched.sender.look()
    assert watched.sent(STATUS) == 1
    watched.site.clock.now_ms += HOUR_MS // 2
    await watched.sender.look()
    assert watched.sent(STATUS) == 2
    document: dict[str, Any] = watched.site.cloud.documents[STATUS]
    assert document["services"] == {"intake": "retrying"}


@pytest.mark.parametrize("undone", [False, True], ids=["removed", "undone with its import"])
async def test_a_meter_that_is_gone_is_told_as_removed_once(
    watched: Watched,
    undone: bool,  # noqa: FBT001 - what is told apart
) -> None:
    known = watched.site.feed.meter_facts[1]
    await watched.sender.look()
    if undone:
        del watched.site.feed.meter_facts[1]
    else:
        watched.site.feed.meter_facts[1] = known._replace(removed=True)
    for _ in range(20):
        await watched.sender.look()
        watched.site.clock.now_ms += HOUR_MS
    assert watched.sent(LATEST) == 2
    document = watched.site.cloud.documents[LATEST]
    assert (document["removed"], document["channels"]) == (True, {})
    watched.site.feed.meter_facts[1] = known
    await watched.sender.look()
    assert "removed" not in watched.site.cloud.documents[LATEST]


async def test_that_a_meter_is_removed_is_told_when_the_cloud_is_back(watched: Watched) -> None:
    await watched.sender.look()
    del watched.site.feed.meter_facts[1]
    watched.site.cloud.failures.append(CloudDownError("down"))
    await watched.sender.look()
    assert "removed" not in watched.site.cloud.documents[LATEST]
    await watched.sender.look()
    assert watched.site.cloud.documents[LATEST]["removed"]


async def test_while_looked_at_every_five_seconds_and_counted_apart(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = watched.site.clock
    watched.looked_at = {"kitchen"}
    watched.site.governor.load(DAY_START_MS // DAY_MS, [])

    async def sleep(_: float) -> None:
        if clock.now_ms >= DAY_START_MS + 62_000:
            raise asyncio.CancelledError
        clock.now_ms += 1000
        watched.newest["kitchen"] = reading((clock.now_ms - DAY_START_MS) // 1000 + 1)

    monkeypatch.setattr("cloud_sync.latest.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await watched.sender.run()
    assert 12 <= watched.sent(LATEST) <= 14
    used = {usage.kind: usage.writes for usage in await watched.site.feed.usage(0, 10**6)}
    assert 11 <= used["lease"] <= 13
    assert used["latest"] == used["status"] == 1


async def test_what_cannot_be_sent_now_is_sent_at_the_next_look(watched: Watched) -> None:
    watched.site.cloud.failures.extend([CloudDownError("down")] * 2)
    await watched.sender.look()
    assert watched.site.cloud.order == []
    await watched.sender.look()
    assert set(watched.site.cloud.order) == {LATEST, STATUS}


def test_a_lease_ends_by_the_monotonic_clock() -> None:
    now_s = [100.0]
    book = LeaseBook(lambda: now_s[0])
    book.take("kitchen", 30, 10.0)
    book.take("workshop", 30, 31.0)
    book.take("garage", 86_400, -5.0)
    for nonsense in (None, "x", b"1"):
        book.take("attic", nonsense, 0.0)
    assert book.active() == {"kitchen", "garage"}
    now_s[0] += 21
    assert book.active() == {"garage"}
    now_s[0] += 100
    assert book.active() == set()


@pytest.fixture
def leases(db: firestore.Client, firestore_host: str) -> Iterator[LeaseBook]:
    """Give a book that follows a Firestore."""
    book = LeaseBook()
    nobody = AnonymousCredentials()
    watching = FirestoreLeases(lambda: firestore.Client(db.project, nobody), "leasing", book)
    watching.keep()
    yield book
    watching.close()


async def test_a_viewer_s_lease_is_heard_of(db: firestore.Client, leases: LeaseBook) -> None:
    db.document("sites/leasing/leases/ada_kitchen").set({"meter": "kitchen", "ttl_s": 60})
    async with asyncio.timeout(20):
        while leases.active() != {"kitchen"}:  # noqa: ASYNC110 - another thread's doing
            await asyncio.sleep(0.05)
