"""Rule L of the contract: what goes when space or time runs out, and what never does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.store.retention import SqlRetentionStore
from gateway.adapters.store.series import read_series
from gateway.adapters.store.views import SqlViews
from gateway.services.retention import MOST_RESERVE_BYTES, Retention, Space
from gateway.services.series import SeriesQuery
from tests.gateway.services.site_rig import START_MS, Site, same_bucket, window, windows
from tests.support.disks import TinyDisk

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MANY = 9000  # two whole segments and some
FOUR_DAYS_OF_MINUTES = 4 * 1440


async def fill(site: Site, *, judge: bool = True) -> None:
    """Store MANY readings; judged to the end and noted so."""
    site.now.wall = START_MS + 3 * HOUR_MS
    for first in range(0, MANY, 120):
        site.plan(windows(first, first + 119))
    site.commit()
    if judge:
        await site.derive()
        await site.deriver.drain()


def retention(site: Site, raw_days: int = 30, max_bytes: int = 10**12) -> Retention:
    return Retention(SqlRetentionStore(site.database), site.now, raw_days, max_bytes)


async def later(site: Site, days: float, keeper: Retention | None = None) -> int:
    """Let days pass while the gateway runs; return how many segments went in the end.

    One reading comes at the end of them.
    """
    keeper = keeper or retention(site)
    await keeper.look()
    for _ in range(int(days)):
        site.now.pass_s(86_400)
        await keeper.look()
    site.now.pass_s((days - int(days)) * 86_400)
    site.send(window(0, 2, boot_ms=site.now.wall - 2000))
    await site.derive()
    await site.deriver.drain()
    return await keeper.look()


async def test_rule_l_old_raw_rows_go_and_all_else_stays(site: Site) -> None:
    await fill(site)
    site.dropped(9005, 9010)
    kept = {name: site.rolled(name) for name in ("1m", "15m", "1h", "1d")}
    await later(site, 31)
    assert min(row.row for row in site.rows()) == 8192
    for name, wanted in kept.items():
        rolled = site.rolled(name)
        assert all(same_bucket(rolled[start], wanted[start]) for start in wanted)
    assert site.query("SELECT first, last FROM runs ORDER BY boot_no") == [(0, MANY - 1), (0, 0)]
    assert site.gaps() == [(9005, 9010, "final")]
    assert site.query("SELECT count(*) FROM segments") == [(0,)]


async def test_rule_l_young_rows_stay(site: Site) -> None:
    await fill(site)
    assert await later(site, 29) == 0
    assert len(site.rows()) == MANY + 1


async def test_rule_l_rows_that_were_not_judged_stay(site: Site) -> None:
    await fill(site, judge=False)
    keeper = retention(site)
    await keeper.look()
    site.now.pass_s(31 * 86_400)
    assert await keeper.look() == 0


@pytest.mark.parametrize("step_days", [-400, 400, 20_000])
async def test_rule_l_nothing_goes_on_the_word_of_a_clock_that_ran_away(
    site: Site, step_days: int
) -> None:
    await fill(site)
    keeper = retention(site)
    await keeper.look()
    site.now.wall += step_days * DAY_MS  # trusted, and readings go on coming
    assert await later(site, 2, keeper) == 0
    assert await later(site, 2) == 0  # another start
    assert len(site.query("SELECT row FROM readings")) >= MANY


async def test_rule_l_a_restart_goes_on_counting(site: Site) -> None:
    await fill(site)
    went = [await later(site, 8.01) for _ in range(4)]
    assert went[:3] == [0, 0, 0]
    assert site.query("SELECT count(*) FROM segments") == [(0,)]


async def test_rule_l_the_marks_stay_few(site: Site) -> None:
    await fill(site)
    keeper = retention(site)
    for _ in range(24 * 40):
        site.now.pass_s(3600)
        await keeper.look()
    assert len(await SqlRetentionStore(site.database).load_marks()) < 35


async def test_rule_l_rows_that_wait_for_a_place_stay(site: Site) -> None:
    site.now.trust = False
    await fill(site)
    site.now.trust = True
    assert await later(site, 31) == 0
    assert len(site.query("SELECT row FROM readings WHERE at_ms IS NULL")) == MANY


async def test_rule_l_when_space_runs_out_the_oldest_go_first_whatever_their_age(
    site: Site,
) -> None:
    await fill(site)
    store = SqlRetentionStore(site.database)
    used = (await store.space()).used
    assert await retention(site, max_bytes=used - 1000).look() >= 1
    assert (await store.space()).used < used - 1000
    assert min(row.row for row in site.rows()) == 4096  # and no more than is needed


GB = 10**9


@pytest.mark.parametrize(
    ("space", "room"),
    [
        (Space(3 * GB, 0, 90 * GB, 100 * GB), 5 * GB),  # max_bytes is the limit
        (Space(9 * GB, 0, 90 * GB, 100 * GB), -GB),
        (Space(3 * GB, 0, GB, 16 * GB), GB - MOST_RESERVE_BYTES),  # the disk is
        (Space(3 * GB, GB // 2, GB // 2, 16 * GB), GB - MOST_RESERVE_BYTES),
        (Space(3 * GB, 0, 0, 16 * GB), -MOST_RESERVE_BYTES),
        (Space(10**6, 0, 10**7, 5 * 10**7), 5 * 10**6),  # a small disk has a small reserve
    ],
)
def test_rule_l_the_room_is_what_the_setting_and_the_disk_leave(space: Space, room: int) -> None:
    assert space.room(8 * GB) == room


async def days_left(site: Site) -> float | None:
    """Return what the status says two hours later."""
    now_ms = site.now.wall + 2 * HOUR_MS
    views = SqlViews(site.database, max_bytes=10**12, latest=lambda _: None, now_ms=lambda: now_ms)
    return (await views.status()).offline_days


async def test_rule_l_a_disk_smaller_than_the_limit_holds_the_newest(tmp_path: Path) -> None:
    """Something else fills the disk: the oldest go, and no more than makes up the reserve."""
    with TinyDisk(tmp_path / "tiny", 30_000_000) as disk, Site(disk.root / "s.db") as site:
        await fill(site)
        await site.deriver.drain()
        keeper = retention(site)
        assert await keeper.make_room() == 0
        assert (await days_left(site) or 0) > 0
        store = SqlRetentionStore(site.database)
        space = await store.space()
        ballast = disk.root / "wattwarden.db.damaged-1"
        ballast.write_bytes(bytes(space.room(10**12) + 4096 * 20))
        assert (await store.space()).room(10**12) < 0
        assert await days_left(site) == 0
        site.now.wall += 20_000 * DAY_MS  # nobody's clock is asked
        assert await keeper.make_room() == 1
        assert min(row.row for row in site.rows()) == 4096
        assert (await store.space()).room(10**12) >= 0  # free pages in the file are enough
        assert await keeper.make_room() == 0


async def test_rule_l_a_short_disk_takes_nothing_that_was_not_judged(tmp_path: Path) -> None:
    with TinyDisk(tmp_path / "tiny", 30_000_000) as disk, Site(disk.root / "s.db") as site:
        await fill(site, judge=False)
        free = (await SqlRetentionStore(site.database).space()).free
        (disk.root / "ballast").write_bytes(bytes(free - 1_000_000))
        assert await retention(site).look() == 0
        assert len(site.query("SELECT row FROM readings")) == MANY


async def test_rule_l_an_idle_meter_does_not_stop_retention(site: Site) -> None:
    site.send(window(0), "gone")
    await fill(site)
    await later(site, 31)
    assert site.query("SELECT count(*) FROM segments") == [(0,)]


async def spool_over_old(site: Site) -> None:
    site.send(windows(MANY, MANY + 9))
    await site.derive()
    site.send(window(MANY + 9, n=10, dt=10_000, flags=["spool"]))


async def anchor_falls(site: Site) -> None:
    site.send(window(MANY, t=None))
    site.state(boot=1, bootn=1, up=(MANY + 1000) * 1000)


@pytest.mark.parametrize("happens", [spool_over_old, anchor_falls])
async def test_rule_l_a_rebuild_keeps_the_rollups_of_retired_rows(
    site: Site, happens: Callable[[Site], object]
) -> None:
    await fill(site)
    assert await SqlRetentionStore(site.database).retire(None, 8) == 2
    before = site.rolled("1m")
    await happens(site)  # type: ignore[misc]
    await site.derive()
    after = site.rolled("1m")
    whole = [start for start in before if start < START_MS + 8000 * 1000]
    assert len(whole) > 100
    assert all(start in after and same_bucket(before[start], after[start]) for start in whole)
    assert sum(bucket.n for bucket in site.rolled("1d").values()) == sum(
        bucket.n for bucket in after.values()
    )


async def test_rule_l_row_numbers_go_on_after_everything_was_retired(site: Site) -> None:
    await fill(site)
    await site.deriver.drain()
    newest = site.ledger.next_row
    site.database.write_now(lambda db: db.execute("DELETE FROM readings").rowcount)
    assert site.reload().next_row == newest


def minute(seq: int) -> dict[str, object]:
    """Return a window of a minute."""
    up = (seq + 1) * 60_000
    return window(seq, up=up, t=START_MS + up, dt=60_000)


async def test_rule_l_when_no_raw_reading_is_left_to_give_minutes_become_quarters(
    site: Site,
) -> None:
    site.now.wall = START_MS + 5 * DAY_MS
    for first in range(0, FOUR_DAYS_OF_MINUTES, 120):
        site.plan([minute(seq) for seq in range(first, first + 120)])
    site.commit()
    await site.derive()
    await site.deriver.drain()
    before = site.rolled("15m")
    assert len(site.rolled("1m")) == FOUR_DAYS_OF_MINUTES
    await retention(site, max_bytes=1).look()
    days = {start // DAY_MS for start in site.rolled("1m")}
    assert len(days) == 3  # the newest, and two before it
    after = site.rolled("15m")
    assert all(same_bucket(after[start], before[start]) for start in before)
    day = SeriesQuery("home", "grid", ("p",), START_MS, START_MS + DAY_MS // 2, "auto")
    assert site.database.read_now(lambda db: read_series(db, site.zone, day)).resolution == "15m"
