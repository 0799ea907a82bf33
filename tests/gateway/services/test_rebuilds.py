"""Rollups computed again: hours that reach over midnight, days that lost all their readings."""

import tempfile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.gateway.services.site_rig import START_MS, Json, Site, same_bucket, spool, window

MINUTE_MS = 60_000
DAY_MS = 86_400_000
# 18:20 UTC: ten minutes before midnight in India, whose zone is off by a half hour.
EVENING_MS = START_MS + (9 * 60 + 20) * MINUTE_MS


def minute(seq: int, **fields: Any) -> Json:  # noqa: ANN401 - any field of a reading
    up = (seq + 1) * MINUTE_MS
    return window(seq, boot_ms=EVENING_MS, up=up, dt=MINUTE_MS, **fields)


def assert_rolled_as_recomputed(site: Site) -> None:
    for resolution in ("1m", "15m", "1h", "1d"):
        rolled, wanted = site.rolled(resolution), site.recomputed(resolution)
        filled = {start: bucket for start, bucket in rolled.items() if bucket.n}
        assert filled.keys() == wanted.keys(), resolution
        for start in wanted:
            assert same_bucket(filled[start], wanted[start]), (resolution, start)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "UTC"])
async def test_an_hour_over_midnight_is_counted_once(zone: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "s.db", zone=ZoneInfo(zone))
        with site:
            site.add_meter(recorded=True)
            site.send([minute(seq) for seq in range(20)])
            await site.derive()
            record = spool(15, 4, boot_ms=EVENING_MS, up=16 * MINUTE_MS, dt=4 * MINUTE_MS)
            site.send(record)
            await site.derive()
            assert_rolled_as_recomputed(site)


async def test_a_day_whose_rows_were_all_replaced_is_empty(site: Site) -> None:
    """A spool record with a better clock may lie on another day than the rows it replaces."""
    site.add_meter(recorded=True)
    site.send([minute(seq) for seq in range(10)])
    await site.derive()
    moved = EVENING_MS + 2 * DAY_MS
    site.send(spool(9, 10, boot_ms=moved, up=10 * MINUTE_MS, dt=10 * MINUTE_MS))
    await site.derive()
    assert [(row.seq, row.n) for row in site.rows()] == [(9, 10)]
    assert_rolled_as_recomputed(site)
