"""What is taken over of a database with zeroed pages: everything but what stood on them."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.store import salvage_job
from gateway.adapters.store.database import Database, suspect_path
from gateway.adapters.store.quarantine import open_or_replace
from gateway.adapters.store.salvage_job import Salvage
from tests.gateway.services.site_rig import Site, windows
from tests.support.pages import leaves, zero_pages

ROWS = 12_000
ROLLUPS = ("rollup_1m", "rollup_15m", "rollup_1h", "rollup_1d")
WHOLE = ("meters", "channels", "boots", "gaps", "judged", "models", "alerts", "segments")


def dump(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608 - ours


async def fill(path: Path) -> None:
    """Store and judge three hours of one meter, with an outage in them."""
    with Site(path) as site:
        for first in range(0, ROWS, 120):
            readings = windows(first, first + 119)
            if first == ROWS // 2:
                readings = [reading | {"v": 0.0} for reading in readings]
            site.now.wall = readings[-1]["t"] + 40
            site.send(readings)
        await site.derive()
        await site.deriver.drain()


async def take_over(database: Database) -> None:
    """Copy the history until that is done."""
    task = asyncio.ensure_future(Salvage(database).run())
    query = "SELECT count(*) FROM meta WHERE key = 'salvage'"
    for _ in range(6000):
        if not await database.read(lambda db: db.execute(query).fetchone()[0]):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("not taken over within a minute")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage_job, "PAUSE_S", 0.0)


async def test_only_what_stood_on_the_zeroed_pages_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await fill(path)
    before = {t: dump(path, t) for t in ("readings", "runs", *ROLLUPS, *WHOLE)}
    pages = leaves(path, "readings")
    gone = [pages[len(pages) // 3], pages[2 * len(pages) // 3], *leaves(path, "runs")]
    zero_pages(path, gone)
    suspect_path(path).write_text("checked: three pages")
    database, note = open_or_replace(path)
    try:
        assert "three pages" in note
        await take_over(database)
        after = {t: dump(path, t) for t in ("readings", "runs", *ROLLUPS)}
        whole = {t: dump(path, t) for t in WHOLE}
    finally:
        database.close()
    lost = set(before["readings"]) - set(after["readings"])
    assert set(after["readings"]) <= set(before["readings"])
    assert 10 <= len(lost) <= 120  # two leaves of some fifty rows
    for table in ROLLUPS:
        assert after[table] == before[table], table
    assert {t: whole[t] for t in WHOLE if t != "segments"} == {
        t: before[t] for t in WHOLE if t != "segments"
    }
    # Nothing that was received is asked for again, but what was on the lost pages.
    covered = sum(row[2] - row[1] + 1 for row in after["runs"])
    assert covered == ROWS - len(lost)
    assert len(whole["segments"]) == len(before["segments"])


async def test_intervals_on_a_zeroed_page_are_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await fill(path)
    before = {table: dump(path, table) for table in ROLLUPS}
    zero_pages(path, [leaves(path, "rollup_1m")[1], leaves(path, "rollup_15m")[0]])
    suspect_path(path).write_text("checked: two pages")
    database, _ = open_or_replace(path)
    await take_over(database)
    database.close()
    with Site(path) as site:
        await site.derive()
    for table in ROLLUPS:
        found = {row[:4] for row in dump(path, table)}  # open intervals are written too
        assert found >= {row[:4] for row in before[table]}, table


@pytest.mark.parametrize("cut_after", [1, 3, 9])
async def test_a_taking_over_that_was_cut_off_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_after: int
) -> None:
    monkeypatch.setattr(salvage_job, "CHUNK_ROWS", 50)
    path = tmp_path / "s.db"
    await fill(path)
    before = {table: dump(path, table) for table in ("readings", *ROLLUPS)}
    suspect_path(path).write_text("checked: nothing, in truth")
    for _ in range(4):
        database, _ = open_or_replace(path)
        begun = database.failures
        assert begun == 0
        task = asyncio.ensure_future(Salvage(database).run())
        await asyncio.sleep(0.01 * cut_after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        database.close()
    database, _ = open_or_replace(path)
    await take_over(database)
    database.close()
    for table, rows in before.items():
        assert dump(path, table) == rows, table


async def test_a_start_cut_off_between_moving_and_taking_over_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await fill(path)
    aside = tmp_path / "s.db.damaged-20261122T000000Z"
    path.rename(aside)
    suspect_path(path).write_text(f"set aside as {aside.name}")
    Database(path).close()  # a fresh file, and the power went
    database, note = open_or_replace(path)
    database.close()
    assert aside.name in note
    assert len(dump(path, "meters")) == 1
    assert not suspect_path(path).exists()


async def test_a_schema_page_gone_leaves_a_gateway_that_works(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await fill(path)
    zero_pages(path, [1])
    database, note = open_or_replace(path)
    await take_over(database)
    database.close()
    assert "damaged" in note
    with Site(path) as site:
        assert site.send(windows(0, 5)) is not None
