"""A store that has lost rows: what the cloud and the archive hold of them stays."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_sync.governor import Governor, Limits, Span
from cloud_sync.memory_cloud import MemoryCloud
from cloud_sync.planner import Planner, beside
from cloud_sync.reading import Row, merge
from cloud_sync.uploader import KINDS, Uploader
from gateway.adapters.store import cloud_due, rollups, salvage_job
from gateway.adapters.store.backup import backup
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import Database, opened, suspect_path
from gateway.adapters.store.quarantine import open_or_replace
from gateway.adapters.store.restore import restore
from gateway.adapters.store.retention import SqlRetentionStore
from gateway.adapters.store.salvage_job import Salvage
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import DAY_MS, DueKind, DueQuery
from gateway.services.effects import RollupPart
from tests.gateway.services.site_rig import START_MS, Site, windows
from tests.support.cloud import UTC, FakeClock
from tests.support.pages import leaves, zero_pages

ROWS = 6_000  # an hour and 40 minutes: six quarters, and one that is open


class House:
    """A house's database, and a cloud that outlives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cloud = MemoryCloud()
        self.clock = FakeClock(START_MS + DAY_MS)

    async def fill(self, count: int = ROWS, *, first: int = 0) -> None:
        """Store and judge windows first … count - 1 of one meter."""
        with Site(self.path) as site:
            SqlCloudFeed(site.database, UTC).arm_now(KINDS, 0)
            for number in range(first, count, 60):
                readings = windows(number, number + 59)
                site.now.wall = readings[-1]["t"] + 40
                site.send(readings)
            await site.derive()
            await site.deriver.drain()

    async def send(self, database: Database) -> int:
        """Send all that is due, as a daemon that has just started; return how many documents."""
        feed = SqlCloudFeed(database, UTC)
        await asyncio.to_thread(feed.arm_now, KINDS, 0)
        planner = Planner(feed, "home", UTC, self.clock, 0)
        uploader = Uploader(feed, self.cloud, planner, Governor(Limits(10_000, 10**9)))
        uploader.hurry()
        while await uploader.step():
            pass
        return uploader.state.confirmed

    def rows(self) -> dict[Row, object]:
        """Return every minute that the cloud holds."""
        packed = [f for path, f in self.cloud.documents.items() if "/minutes/" in path]
        return dict(merge(packed))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage_job, "PAUSE_S", 0.0)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "w.db")


@pytest.fixture
def damaged(house: House) -> Iterator[Database]:
    """Give a fresh database in place of one whose minutes and readings are partly zeroed."""
    asyncio.run(_send_all(house))
    zero_pages(house.path, [leaves(house.path, "rollup_1m")[1], *leaves(house.path, "readings")])
    suspect_path(house.path).write_text("checked: many pages")
    database, _ = open_or_replace(house.path)
    yield database
    database.close()


async def _send_all(house: House) -> None:
    await house.fill()
    with opened(house.path) as database:
        assert await house.send(database) > 6
        await database.write(
            lambda db: db.execute("DELETE FROM cloud_due WHERE kind != 'quarter'").rowcount
        )


async def take_over(database: Database) -> None:
    task = asyncio.ensure_future(Salvage(database).run())
    async with asyncio.timeout(60):
        while await database.read(_copying):  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _copying(db: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM meta WHERE key = ?"
    return db.execute(query, (cloud_due.TAKING_OVER,)).fetchone() is not None


async def test_copying_a_history_rewrites_nothing(house: House, damaged: Database) -> None:
    before, written = house.rows(), len(house.cloud.order)
    assert await house.send(damaged) == 0
    await take_over(damaged)
    assert await house.send(damaged) <= 2  # the last quarter, and the day's sums
    minutes = [path for path in house.cloud.order[written:] if "/minutes/" in path]
    assert all(path.endswith("_60") for path in minutes)
    assert house.rows() == before


async def test_a_late_minute_leaves_lost_ones_where_they_are(
    house: House, damaged: Database
) -> None:
    before = house.rows()
    await house.send(damaged)
    await take_over(damaged)
    left = {row[0] for row in await damaged.read(_starts)}
    lost_ms = min(start for _, _, start in before if start not in left)
    part = RollupPart(1, "1m", Bucket(lost_ms, 1, 1000, p_sum=7000.0, p_dt=1000))
    await damaged.write(lambda db: rollups.add_parts(db, [part]))
    assert await house.send(damaged) >= 1
    after = house.rows()
    assert after.keys() == before.keys()
    assert [key for key in after if after[key] != before[key]] == [("home", "grid", lost_ms)]


def _starts(db: sqlite3.Connection) -> list[tuple[int]]:
    return db.execute("SELECT start_ms FROM rollup_1m").fetchall()


async def test_what_was_due_and_cannot_be_read_is_due_again(house: House, tmp_path: Path) -> None:
    await house.fill()
    before = house.path
    zero_pages(before, leaves(before, "cloud_due"))
    suspect_path(before).write_text("checked: one page")
    database, _ = open_or_replace(before)
    assert await house.send(database) <= 1
    await take_over(database)
    await house.send(database)
    stored = await database.read(_starts)
    database.close()
    assert {start for _, _, start in house.rows()} >= {row[0] for row in stored}


async def test_a_restored_backup_takes_nothing_away(house: House, tmp_path: Path) -> None:
    await house.fill(ROWS - 300)  # the last quarter is half there
    kept = tmp_path / "kept.db"
    backup(house.path, kept, _no_bar, replace=False)
    await house.fill(ROWS, first=ROWS - 300)
    with opened(house.path) as database:
        await house.send(database)
    before = house.rows()
    restore(kept, house.path, _no_bar)
    with opened(house.path) as database:
        assert await house.send(database) > 0
    assert house.rows() == before


def _no_bar(done: int, total: int) -> None:
    """Show no progress."""


async def _add_minute(database: Database, start_ms: int) -> None:
    part = RollupPart(1, "1m", Bucket(start_ms, 1, 1000, p_sum=7000.0, p_dt=1000))
    await database.write(lambda db: rollups.add_parts(db, [part]))


@pytest.fixture
def full(house: House) -> Iterator[Database]:
    """Give a database whose first day may be thinned, and all of it in the cloud."""
    asyncio.run(_send_all(house))
    with opened(house.path) as database:
        asyncio.run(_add_minute(database, START_MS + 4 * DAY_MS))
        house.clock.now_ms += 5 * DAY_MS
        now_ms = house.clock.now_ms  # the meter is not silent: its last minute is not noted anew
        database.write_now(lambda db: db.execute("UPDATE judged SET at_ms = ?", (now_ms,)).rowcount)
        asyncio.run(house.send(database))
        yield database


async def test_minutes_that_a_full_disk_costs_stay_in_the_cloud(
    house: House, full: Database
) -> None:
    before, written = house.rows(), len(house.cloud.order)
    assert await SqlRetentionStore(full).thin() == 99
    assert await house.send(full) == 0
    assert (house.rows(), house.cloud.order[written:]) == (before, [])


async def test_a_change_that_a_full_disk_overtakes_empties_no_document(
    house: House, full: Database
) -> None:
    before = house.rows()
    await _add_minute(full, START_MS)
    await SqlRetentionStore(full).thin()
    assert await house.send(full) == 0
    assert house.rows() == before


async def test_a_late_minute_of_a_thinned_day_leaves_the_others_where_they_are(
    house: House, full: Database
) -> None:
    before = house.rows()
    late_ms = START_MS - START_MS % 60_000 + 600_000
    await SqlRetentionStore(full).thin()
    await _add_minute(full, late_ms)
    assert await house.send(full) == 1
    after = house.rows()
    assert after.keys() == before.keys()
    assert [key for key in after if after[key] != before[key]] == [("home", "grid", late_ms)]


async def test_a_day_that_is_thinned_while_it_is_being_sent_stays(
    house: House, full: Database
) -> None:
    await _add_minute(full, START_MS)
    feed = SqlCloudFeed(full, UTC)
    planner = Planner(feed, "home", UTC, house.clock, 0)
    units = [unit for unit in await planner.units(Span.QUARTER, 10) if unit.span]
    await SqlRetentionStore(full).thin()
    assert [await planner.build(unit) for unit in units] == [None]
    assert units[0].unchanged


def test_a_document_beside_those_that_exist() -> None:
    codes = bytearray(96)
    assert beside(bytes(codes), 0, Span.HOUR) is Span.HOUR
    codes[1] = Span.HOUR
    assert beside(bytes(codes), 0, Span.HOUR) is Span.SIX_HOURS
    assert beside(bytes(codes), 3_600_000, Span.HOUR) is Span.HOUR
    codes[23] = Span.SIX_HOURS
    assert beside(bytes(codes), 0, Span.HOUR) is Span.DAY
    codes[95] = Span.DAY
    assert beside(bytes(codes), 0, Span.DAY) is Span.DAY


def test_nothing_is_handed_out_of_what_is_being_copied(tmp_path: Path) -> None:
    query = DueQuery(DueKind.QUARTER, 10, START_MS + DAY_MS, START_MS + DAY_MS)
    with opened(tmp_path / "w.db") as database:

        def work(db: sqlite3.Connection) -> list[int]:
            for start_ms in (0, 900_000):
                db.execute("INSERT INTO cloud_due VALUES ('quarter', 1, ?, 0, 0)", (start_ms,))
            cloud_due.mark_doubtful(db, 1, 900_000)
            whole = [due.start_ms for due in cloud_due.find_due(db, query)]
            db.execute("INSERT INTO meta VALUES (?, '')", (cloud_due.TAKING_OVER,))
            return whole + [due.start_ms for due in cloud_due.find_due(db, query)]

        assert database.write_now(work) == [0, 900_000, 900_000]
