"""What hands out what the cloud lacks: on SQLite and in memory alike."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from cloud_sync.ports import Feed
from cloud_sync.uploader import KINDS
from gateway.adapters.memory_cloud_feed import MemoryCloudFeed
from gateway.adapters.store import rollups
from gateway.adapters.store.alerts import write_changes
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.cloud_due import read_backlog
from gateway.adapters.store.database import Database, opened
from gateway.domain.alerts import Alert, AlertState, HistoryEntry
from gateway.pipeline.alert_book import Change
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import (
    DAY_MS,
    HOUR_MS,
    QUARTER_MS,
    DeadDocument,
    Due,
    DueKind,
    DueQuery,
    MeterFacts,
    Usage,
)
from gateway.services.effects import RollupPart
from gateway.services.snapshots import Snapshot
from tests.support.cloud import DAY_START_MS, UTC, alert, bucket

QUARTER = DueKind.QUARTER
LATER_MS = DAY_START_MS + 6 * HOUR_MS
EVER_MS = 2**52  # noted before that, whatever the machine's clock says


class House(Protocol):
    """A store with one meter, kitchen (1), whose channel grid is number 1."""

    feed: Feed

    def add(self, bucket: Bucket) -> None:
        """Store a minute."""

    def change(self, alert: Alert, *, renewal: bool = False) -> None:
        """Store an alert's change; one that only lasts on has no new history."""


class SqlHouse:
    def __init__(self, database: Database) -> None:
        self._database = database
        sql = SqlCloudFeed(database, UTC)
        sql.arm_now(KINDS, 0)
        self.feed: Feed = sql
        for statement in (
            "INSERT INTO meters (no, id, registered_ms) VALUES (1, 'kitchen', 0)",
            "INSERT INTO channels VALUES (1, 1, 'grid', 'grid', NULL)",
        ):
            database.write_now(lambda db, text=statement: db.execute(text).rowcount)  # type: ignore[misc]
        state = msgspec.msgpack.encode(Snapshot({}, b""))
        judged = "INSERT INTO judged VALUES (1, 0, ?, ?)"
        database.write_now(lambda db: db.execute(judged, (LATER_MS, state)).rowcount)

    def add(self, bucket: Bucket) -> None:
        part = RollupPart(1, "1m", bucket)
        self._database.write_now(lambda db: rollups.add_parts(db, [part]))

    def change(self, alert: Alert, *, renewal: bool = False) -> None:
        history = () if renewal else (HistoryEntry(alert.updated_ms, "system", "opened"),)
        change = Change(alert, history, is_new=not renewal)
        self._database.write_now(lambda db: write_changes(db, [change]))


class MemoryHouse:
    def __init__(self) -> None:
        self._memory = MemoryCloudFeed(lambda: LATER_MS)
        self._memory.meter_facts[1] = MeterFacts(1, "kitchen", "", {"grid": "grid"}, LATER_MS)
        self.feed: Feed = self._memory

    def add(self, bucket: Bucket) -> None:
        self._memory.add_minutes(1, "grid", [bucket])

    def change(self, alert: Alert, *, renewal: bool = False) -> None:
        opened = HistoryEntry(alert.updated_ms, "system", "opened")
        self._memory.add_alert(alert, [] if renewal else [opened], renewal=renewal)


@pytest.fixture(params=["sql", "memory"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    if request.param == "memory":
        yield MemoryHouse()
        return
    with opened(tmp_path / "w.db") as database:
        yield SqlHouse(database)


def asked(limit: int = 10, now_ms: int | None = LATER_MS) -> DueQuery:
    """Return a question for quarters that were noted at any time."""
    return DueQuery(QUARTER, limit, now_ms, EVER_MS)


def minute(number: int) -> Bucket:
    return bucket(DAY_START_MS + number * 60_000)


async def test_minutes_make_their_quarter_due_once_the_oldest_first(house: House) -> None:
    for number in (31, 2, 3, 16):
        house.add(minute(number))
    found = await house.feed.due(asked())
    assert found == [Due(QUARTER, 1, DAY_START_MS + k * QUARTER_MS) for k in range(3)]
    assert await house.feed.due(asked(limit=2)) == found[:2]
    span = (DAY_START_MS, DAY_START_MS + QUARTER_MS)
    assert await house.feed.due_between(QUARTER, 1, span) == found[:1]
    assert (await house.feed.backlog()).waiting["quarter"] == 3


async def test_a_quarter_that_is_not_over_waits(house: House) -> None:
    house.add(minute(6 * 60 - 3))
    assert await house.feed.due(asked()) == []
    assert len(await house.feed.due(asked(now_ms=LATER_MS + HOUR_MS))) == 1
    house.add(minute(0))
    assert len(await house.feed.due(asked(now_ms=None))) == 1  # by the meter's own time


async def test_what_is_confirmed_is_forgotten_and_its_kind_known(house: House) -> None:
    house.add(minute(17))
    entry = (await house.feed.due(asked()))[0]
    await house.feed.take([entry])
    assert await house.feed.due(asked()) == [entry]  # a crash now repeats it
    await house.feed.confirm([(entry, 2)], (), [Usage(9, "minutes", 1, 700)])
    assert await house.feed.due(asked()) == []
    spans = await house.feed.spans(1, DAY_START_MS // DAY_MS)
    assert (spans[0], spans[1], sum(spans)) == (0, 2, 2)
    assert await house.feed.usage(9, 9) == [Usage(9, "minutes", 1, 700)]


async def test_what_changes_while_it_is_sent_stays_due(house: House) -> None:
    house.add(minute(1))
    entries = await house.feed.due(asked())
    await house.feed.take(entries)
    house.add(minute(2))
    await house.feed.confirm([(entry, 1) for entry in entries], (), ())
    assert await house.feed.due(asked()) == entries


async def test_minutes_are_read_as_they_were_stored(house: House) -> None:
    for number in (4, 2, 90):
        house.add(minute(number))
    found = await house.feed.minutes(1, DAY_START_MS, DAY_START_MS + HOUR_MS)
    assert found == {"grid": [minute(2), minute(4)]}
    assert await house.feed.minutes(1, LATER_MS, LATER_MS + 1) == {}


async def test_alerts_come_in_the_order_of_their_changes(house: House) -> None:
    house.change(alert(2))
    house.change(alert(1))
    found = await house.feed.alerts(10)
    assert [entry.alert.id for entry in found] == ["alert-2", "alert-1"]
    assert found[0].history[0].what == "opened"
    await house.feed.confirm((), found[:1], ())
    assert [entry.alert.id for entry in await house.feed.alerts(10)] == ["alert-1"]


async def test_an_alert_that_changed_again_stays_due(house: House) -> None:
    house.change(alert(1))
    before = await house.feed.alerts(10)
    house.change(replace(alert(1), state=AlertState.ACKNOWLEDGED))
    await house.feed.confirm((), before, ())
    assert [entry.alert.state for entry in await house.feed.alerts(10)] == ["acknowledged"]


async def test_an_alert_that_only_lasts_on_is_no_news(house: House) -> None:
    house.change(alert(1))
    await house.feed.confirm((), await house.feed.alerts(10), ())
    for count in (2, 3):
        house.change(replace(alert(1), count=count), renewal=True)
    assert await house.feed.alerts(10) == []
    assert (await house.feed.backlog()).waiting["alert"] == 0
    assert await house.feed.renewals(10, EVER_MS, EVER_MS) == []
    (renewal,) = await house.feed.renewals(10, EVER_MS, 0)
    assert renewal.alert.count == 3
    await house.feed.confirm((), [renewal], ())
    assert await house.feed.renewals(10, EVER_MS, 0) == []


async def test_news_take_a_renewal_along(house: House) -> None:
    house.change(alert(1))
    house.change(replace(alert(1), count=2), renewal=True)
    (entry,) = await house.feed.alerts(10)
    assert entry.alert.count == 2
    await house.feed.confirm((), [entry], ())
    house.change(replace(alert(1), count=3), renewal=True)
    house.change(replace(alert(1), count=3, state=AlertState.RESOLVED))
    assert await house.feed.renewals(10, EVER_MS, 0) == []
    assert [entry.alert.state for entry in await house.feed.alerts(10)] == ["resolved"]


async def test_a_refused_document_is_noted_and_its_entry_gone(house: House) -> None:
    house.add(minute(1))
    entries = await house.feed.due(asked())
    await house.feed.take(entries)
    dead = DeadDocument(0, 5, "sites/a/b", "too large", 2_000_000)
    await house.feed.bury(entries, (), dead)
    await house.feed.bury(entries, (), dead._replace(at_ms=6))
    found = await house.feed.dead(10)
    assert [entry[1:] for entry in found] == [(6, "sites/a/b", "too large", 2_000_000)]
    assert await house.feed.due(asked()) == []


async def test_counts_add_up_by_day_and_kind(house: House) -> None:
    await house.feed.count([Usage(3, "latest", 1, 10), Usage(3, "latest", 2, 20, 1)])
    await house.feed.count([Usage(4, "day", 1, 5)])
    assert await house.feed.usage(3, 4) == [Usage(3, "latest", 3, 30, 1), Usage(4, "day", 1, 5)]
    assert await house.feed.usage(5, 9) == []


async def test_digests_are_kept(house: House) -> None:
    assert await house.feed.digest("x") == b""
    await house.feed.keep_digest("x", b"1")
    await house.feed.keep_digest("x", b"2")
    assert await house.feed.digest("x") == b"2"
    await house.feed.keep_digest("a_b/c", b"3")
    await house.feed.keep_digest("aXb/c", b"4")
    assert await house.feed.digests("a_b/") == {"a_b/c": b"3"}


async def test_meters_are_told_with_their_newest_reading(house: House) -> None:
    found = await house.feed.meters()
    assert [(facts.id, facts.channels, facts.newest_ms) for facts in found] == [
        ("kitchen", {"grid": "grid"}, LATER_MS)
    ]


async def test_a_removed_meter_is_told_as_such(tmp_path: Path) -> None:
    with opened(tmp_path / "w.db") as database:
        house = SqlHouse(database)
        assert [facts.removed for facts in await house.feed.meters()] == [False]
        removing = "UPDATE meters SET removed_ms = 5"
        await database.write(lambda db: db.execute(removing).rowcount)
        assert [facts.removed for facts in await house.feed.meters()] == [True]


def test_what_was_stored_before_the_cloud_is_due_when_it_is_switched_on(tmp_path: Path) -> None:
    with opened(tmp_path / "w.db") as database:
        feed = SqlCloudFeed(database, UTC)
        for statement in (
            "INSERT INTO meters (no, id, registered_ms) VALUES (1, 'kitchen', 0)",
            "INSERT INTO channels VALUES (1, 1, 'grid', 'grid', NULL)",
        ):
            database.write_now(lambda db, text=statement: db.execute(text).rowcount)  # type: ignore[misc]
        old, new = Bucket(DAY_START_MS - 40 * DAY_MS), Bucket(DAY_START_MS)
        for name in ("1m", "15m", "1h", "1d"):
            parts = [RollupPart(1, name, old), RollupPart(1, name, new)]
            database.write_now(lambda db, own=parts: rollups.add_parts(db, own))  # type: ignore[misc]
        assert database.read_now(lambda db: db.execute("SELECT * FROM cloud_due").fetchall()) == []
        assert feed.arm_now([DueKind.QUARTER, DueKind.HOUR], DAY_START_MS - 30 * DAY_MS) == 2
        assert feed.arm_now([DueKind.QUARTER, DueKind.HOUR], 0) == 0  # it was on
        assert feed.arm_now([DueKind.HOUR], 0) == 0
        assert set(database.read_now(read_backlog).waiting) == {"alert", "hour"}


async def test_a_new_database_does_not_send_again_what_the_cloud_holds(tmp_path: Path) -> None:
    """After damage the cloud may know more than what could be salvaged."""
    with opened(tmp_path / "w.db") as database:
        feed = SqlCloudFeed(database, UTC)
        for statement in (
            "INSERT INTO meters (no, id, registered_ms) VALUES (1, 'kitchen', 0)",
            "INSERT INTO channels VALUES (1, 1, 'grid', 'grid', NULL)",
        ):
            database.write_now(lambda db, text=statement: db.execute(text).rowcount)  # type: ignore[misc]
        starts = [DAY_START_MS + k * QUARTER_MS for k in range(3)]
        parts = [RollupPart(1, "15m", Bucket(start_ms)) for start_ms in starts]
        database.write_now(lambda db: rollups.add_parts(db, parts))
        await feed.confirm([(Due(QUARTER, 1, starts[1]), 1)], (), ())
        assert feed.arm_now(KINDS, 0) == 2
        found = await feed.due(asked())
        assert [due.start_ms for due in found] == [starts[0], starts[2]]
