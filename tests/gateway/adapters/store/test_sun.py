"""What judging solar panels reads and keeps: SQLite and memory alike."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.memory_care import MemorySun
from gateway.adapters.store.database import opened
from gateway.adapters.store.rollups import add_parts
from gateway.adapters.store.sun import SqlSun
from gateway.pipeline.rollups import Bucket
from gateway.services.effects import RollupPart
from gateway.services.sun_watch import SunStore
from tinymodels.detect.minutes import VALUES, Minutes, Row

QUARTER_MS = 900_000
NAN = float("nan")
ALERTS = [
    ("a", "pv_underperformance", "resolved", 1, 2),
    ("b", "pv_underperformance", "open", 5, None),
    ("c", "anomaly", "open", 5, None),
]


def row(number: int, power_w: float) -> Row:
    return Row(number * QUARTER_MS, power_w, *[NAN] * (len(VALUES) - 1))


@pytest.fixture(params=["sql", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SunStore]:
    """Give a store whose channel 1 has two quarter hours, and one that is hardly known."""
    if request.param == "memory":
        yield MemorySun({1: Minutes.from_rows([row(1, 100.0), row(3, 300.0)])}, {1: 77})
        return
    with opened(tmp_path / "t.db") as database:
        parts = [
            Bucket(number * QUARTER_MS, p_sum=watts * ms, p_dt=ms)
            for number, watts, ms in ((1, 100.0, QUARTER_MS), (2, 9.0, 60_000), (3, 300.0, 600_000))
        ]

        def fill(db: object) -> None:
            run = db.execute  # type: ignore[attr-defined]
            run("INSERT INTO meters (no, id, recorded, label, registered_ms) VALUES (1,'m',0,'',0)")
            run("INSERT INTO channels (no, meter_no, name, role) VALUES (1, 1, 'solar', 'solar')")
            run("INSERT INTO judged VALUES (1, 5, 77, x'')")
            run(
                "INSERT INTO alerts SELECT value ->> 0, 'm', 'solar', value ->> 1, 'warning',"
                " value ->> 2, value ->> 3, 6, value ->> 4, 1, '', '', '{}', NULL, 0, 0"
                " FROM json_each(?)",
                (json.dumps(ALERTS),),
            )
            add_parts(db, [RollupPart(1, "15m", part) for part in parts])  # type: ignore[arg-type]

        database.write_now(fill)
        yield SqlSun(database)


async def test_quarters_are_those_of_which_enough_is_known(store: SunStore) -> None:
    found = await store.quarters(1, 0, 4 * QUARTER_MS)
    assert found.start_ms.tolist() == [QUARTER_MS, 3 * QUARTER_MS]
    assert found["p_mean_w"].tolist() == [100.0, 300.0]
    assert len(await store.quarters(1, QUARTER_MS + 1, 3 * QUARTER_MS)) == 0
    assert len(await store.quarters(2, 0, 4 * QUARTER_MS)) == 0


async def test_where_a_channel_begins_and_how_far_its_meter_is(store: SunStore) -> None:
    assert await store.first_ms(1) == QUARTER_MS
    assert await store.first_ms(2) is None
    assert await store.reached_ms() == {1: 77}


async def test_judged_days_are_kept(store: SunStore) -> None:
    assert await store.judged_days() == {}
    for day in (7, 9):
        await store.note_judged(1, day)
    await store.note_judged(12, 3)
    assert await store.judged_days() == {1: 9, 12: 3}


async def test_alerts_about_the_panels_and_no_others(store: SunStore) -> None:
    if isinstance(store, MemorySun):
        store.told = {("m", "solar"): [(1, 2), (5, None)]}
    assert await store.alerts("m", "solar") == [(1, 2), (5, None)]
    assert await store.alerts("m", "grid") == []
