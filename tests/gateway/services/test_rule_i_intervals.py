"""Rule I of the contract: which interval holds a reading, and what rollups say of it."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.readings import Mark
from tests.gateway.services.site_rig import START_MS, Site, same_bucket, window, windows

LISBON = ZoneInfo("Europe/Lisbon")
HOUR_MS = 3_600_000
RESOLUTIONS = ("1m", "15m", "1h", "1d")


def agree(site: Site, *resolutions: str) -> None:
    """Check that rollups are what the raw rows give."""
    for resolution in resolutions or RESOLUTIONS:
        rolled, wanted = site.rolled(resolution), site.recomputed(resolution)
        assert rolled.keys() == wanted.keys()
        for start_ms, bucket in wanted.items():
            assert same_bucket(rolled[start_ms], bucket), (resolution, rolled[start_ms], bucket)


async def test_rule_i_a_reading_belongs_where_its_middle_lies(site: Site) -> None:
    # Windows of 10 s that end at 4, 5 and 6 s past the minute: middles at -1, 0 and +1 s.
    for seq, end_s in enumerate((4, 5, 6)):
        site.send(window(seq, t=START_MS + end_s * 1000, dt=10_000, up=60_000 + seq))
    await site.derive()
    rolled = site.rolled("1m")
    assert {start - START_MS: bucket.n for start, bucket in rolled.items()} == {-60_000: 1, 0: 2}


async def test_rule_i_means_are_weighted_by_dt(site: Site) -> None:
    site.send([window(0, p=100.0), window(3, p=500.0, dt=3000)])
    await site.derive()
    (bucket,) = site.rolled("1m").values()
    assert bucket.mean("p") == pytest.approx((100 * 1 + 500 * 3) / 4)
    assert (bucket.p_min, bucket.p_max, bucket.n, bucket.dt_ms) == (100.0, 500.0, 2, 4000)


async def test_rule_i_what_was_not_measured_has_no_mean(site: Site) -> None:
    site.send([window(0, p=None), window(1, p=None, v=None, q=None)])
    await site.derive()
    (bucket,) = site.rolled("1m").values()
    assert bucket.mean("p") is None
    assert bucket.mean("v") == 230.0
    assert bucket.v_dt == 1000


async def test_rule_i_rollups_agree_with_raw_at_every_resolution(site: Site) -> None:
    for first in range(0, 1200, 120):
        site.send(windows(first, first + 119))
        await site.derive()
    agree(site)
    await site.deriver.drain()
    agree(site)


async def test_rule_i_late_readings_change_closed_intervals_exactly(site: Site) -> None:
    site.now.wall += HOUR_MS
    site.send(windows(0, 99))
    site.send(windows(1200, 1290))
    await site.derive()
    site.send(windows(600, 700))
    await site.derive()
    site.send(windows(100, 219))
    await site.derive()
    agree(site)


async def test_rule_i_a_restart_neither_loses_nor_counts_twice(site: Site) -> None:
    for first in range(0, 900, 100):
        site.send(windows(first, first + 99))
        await site.derive()
        await site.restart_deriving()  # a crash: nothing was stored in order
    await site.derive()
    agree(site)


@pytest.mark.parametrize(
    ("day", "hours"), [((2025, 3, 30), 23), ((2025, 10, 26), 25), ((2025, 10, 9), 24)]
)
async def test_rule_i_local_days_are_23_to_25_hours_long(
    tmp_path: Path, day: tuple[int, int, int], hours: int
) -> None:
    midnight_ms = int(datetime(*day, tzinfo=LISBON).timestamp() * 1000)
    with Site(tmp_path / "s.db", zone=LISBON) as site:
        site.add_meter("tape", recorded=True)
        step_ms = 900_000
        readings = [
            window(k, t=midnight_ms + (k + 1) * step_ms, up=(k + 1) * step_ms, dt=step_ms)
            for k in range(-4, hours * 4 + 4)
        ]
        for seq, reading in enumerate(readings):
            reading.update(seq=seq, up=(seq + 1) * step_ms)
        for first in range(0, len(readings), 100):
            site.send(readings[first : first + 100], "tape")
        await site.derive()
        days = site.rolled("1d", "grid", "tape")
        assert days[midnight_ms].dt_ms == hours * HOUR_MS
        following = midnight_ms + hours * HOUR_MS
        assert days[following].dt_ms == HOUR_MS
        for resolution in RESOLUTIONS:
            rolled = site.rolled(resolution, "grid", "tape")
            wanted = site.recomputed(resolution, "grid", "tape")
            assert rolled.keys() == wanted.keys()
            assert all(same_bucket(rolled[start], wanted[start]) for start in wanted)


def test_rule_i_physics_that_do_not_fit_are_flagged_and_stored(site: Site) -> None:
    site.send([window(0, i=2.0, p=470.0), window(1, i=2.0, p=600.0), window(2, i=None, p=9e4)])
    assert [row.marks & Mark.PHYSICS for row in site.rows()] == [0, Mark.PHYSICS, 0]
    assert site.dead() == []


async def test_rule_i_several_channels_are_rolled_up_apart(site: Site) -> None:
    channel = window(0)["ch"]["grid"]
    both = {"grid": channel, "load1": channel | {"p": 50.0, "i": 0.3, "v": 118.0}}
    site.send([window(0, ch=both), window(1)])
    await site.derive()
    assert site.rolled("1m", "grid")[START_MS].n == 2
    load = site.rolled("1m", "load1")[START_MS]
    assert (load.n, load.mean("p"), load.mean("v")) == (1, 50.0, 118.0)
