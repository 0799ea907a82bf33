"""Series out of SQLite: raw columns, intervals that never lag, gaps, and what is refused."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.store.history import SqlHistory
from gateway.adapters.store.packed import alike_columns, raw_columns
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.domain.readings import Channel, GapSpan, Reading, apparent_power_va, power_factor
from gateway.services import series as series_module
from gateway.services.planner import pack
from gateway.services.series import FIELDS, Column, Series, SeriesQuery, TooMuchError
from tests.gateway.services.site_rig import START_MS, UTC, Site, spool, window, windows

MINUTE_MS = 60_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "s.db") as made:
        yield made


@pytest.fixture
async def history(site: Site) -> AsyncIterator[SqlHistory]:
    made = SqlHistory(site.database, UTC)
    yield made
    made.close()


def listed(found: Series) -> Series:
    """Return a series with lists for arrays, None for what was not measured."""
    columns: dict[str, Column] = {name: plain(column) for name, column in found.columns.items()}
    return replace(found, t=[int(t) for t in found.t], columns=columns)


def plain(column: Column) -> list[float | None]:
    """Return a column as a list, None for NaN."""
    return [None if one is None or math.isnan(one) else one for one in list(column)]


async def ask(history: SqlHistory, fields: str = "p", **changes: Any) -> Series:  # noqa: ANN401
    asked: dict[str, Any] = {
        "meter": "home", "channel": "grid", "fields": tuple(fields.split(",")),
        "start_ms": START_MS - 3_600_000, "end_ms": START_MS + 36_000_000,
    }  # fmt: skip
    return await history.series(SeriesQuery(**asked | changes), listed)


async def test_raw_is_what_was_sent_nulls_included(site: Site, history: SqlHistory) -> None:
    site.send([window(0, q=None), window(1, p=None, v=None), window(2, flags=["clip"], i=2.0)])
    found = await ask(history, ",".join(FIELDS), resolution="raw")
    assert found.t == [START_MS + 1000, START_MS + 2000, START_MS + 3000]
    assert found.columns["p"] == found.columns["p_max"] == [500.0, None, 500.0]
    assert found.columns["q"] == [None, -60.0, -60.0]
    assert found.columns["v"] == [230.0, None, 230.0]
    assert found.columns["f"] == [50.0, 50.0, 50.0]
    assert found.columns["n"] == [1, 1, 1]
    assert found.columns["pf"] == [round(500 / (230 * 2.2), 4), None, round(500 / 460, 4)]
    assert found.columns["wh_in"] == [1000.0 + up / 7200 for up in (1000, 2000, 3000)]


async def test_a_span_holds_its_start_and_not_its_end(site: Site, history: SqlHistory) -> None:
    site.send(windows(0, 9))
    start_ms, end_ms = START_MS + 3000, START_MS + 6000
    found = await ask(history, resolution="raw", start_ms=start_ms, end_ms=end_ms)
    assert [t - START_MS for t in found.t] == [3000, 4000, 5000]


@pytest.mark.parametrize("resolution", ["1m", "15m", "1h", "1d"])
async def test_intervals_never_lag_behind_the_readings(
    site: Site, history: SqlHistory, resolution: str
) -> None:
    site.send(windows(0, 99))
    await site.derive()
    site.send(windows(100, 199))  # committed and not judged
    fields = "p,n,wh_in,p_min,v_max,f"
    found = await ask(history, fields, resolution=resolution, start_ms=START_MS - 86_400_000)
    wanted = site.recomputed(resolution)
    assert found.t == sorted(wanted)
    assert found.columns["n"] == [wanted[t].n for t in found.t]
    assert sum(n or 0 for n in found.columns["n"]) == 200
    assert found.columns["wh_in"] == [wanted[t].wh_in for t in found.t]
    assert found.columns["p"] == found.columns["p_min"] == [500.0] * len(found.t)
    assert found.columns["f"] == [None] * len(found.t)


async def test_auto_takes_the_finest_that_fits(site: Site, history: SqlHistory) -> None:
    for first in range(0, 7200, 120):
        site.send(windows(first, first + 119))
    await site.derive()
    assert (await ask(history, points=10_000)).resolution == "raw"
    assert (await ask(history)).resolution == "1m"
    assert (await ask(history, points=100)).resolution == "15m"
    assert (await ask(history, points=10, start_ms=0)).resolution == "15m"  # of 2 h of data
    few = await ask(history, start_ms=START_MS, end_ms=START_MS + 600_000)
    assert (few.resolution, len(few.t)) == ("raw", 599)


async def test_auto_leaves_raw_alone_where_it_was_retired(site: Site, history: SqlHistory) -> None:
    site.send(windows(0, 99))
    await site.derive()
    await site.deriver.drain()

    def retire(db: Any) -> None:  # noqa: ANN401
        db.execute("DELETE FROM readings WHERE at_ms <= ?", (START_MS + 50_000,))
        key = f"retired_until_ms:{site.ledger.meters['home'].no}"
        db.execute("INSERT INTO meta VALUES (?, ?)", (key, str(START_MS + 50_000)))

    await site.database.write(retire)
    found = await ask(history, "n")
    assert (found.resolution, found.columns["n"]) == ("1m", [60, 40])
    after = await ask(history, start_ms=START_MS + 60_000)
    assert after.resolution == "raw"


async def test_gaps_tell_where_and_how_final(site: Site, history: SqlHistory) -> None:
    site.send([*windows(0, 9), *windows(20, 29), *windows(35, 39)])
    site.dropped(10, 12)
    site.sweep()
    site.now.pass_s(601)
    site.sweep()
    found = await ask(history)
    assert [(g.from_ms - START_MS, g.to_ms - START_MS, g.state) for g in found.gaps] == [
        (10_000, 13_000, "final"),
        (13_000, 20_000, "provisional"),
        (30_000, 35_000, "provisional"),
    ]
    part = await ask(history, start_ms=START_MS + 25_000)
    assert [gap.state for gap in part.gaps] == ["provisional"]
    site.send(windows(13, 19))
    assert await gaps_of(history) == [(10_000, 13_000), (30_000, 35_000)]


async def gaps_of(history: SqlHistory) -> list[tuple[int, int]]:
    found: list[GapSpan] = (await ask(history)).gaps
    return [(gap.from_ms - START_MS, gap.to_ms - START_MS) for gap in found]


async def test_what_a_boot_never_sent_at_its_begin_is_a_gap(
    site: Site, history: SqlHistory
) -> None:
    site.send(windows(5, 9))
    site.dropped(0, 4)
    assert await gaps_of(history) == [(0, 5000)]


async def test_unknown_names_and_nonsense_are_told(site: Site, history: SqlHistory) -> None:
    site.send(windows(0, 1))
    for changes, error, said in (
        ({"meter": "none"}, NotFoundError, "no meter 'none'"),
        ({"channel": "solar"}, NotFoundError, "it has: grid"),
        ({"fields": "p,x"}, BadInputError, "'x'"),
        ({"fields": ""}, BadInputError, "fields"),
        ({"start_ms": 5, "end_ms": 5}, BadInputError, "end"),
        ({"start_ms": -(2**53), "end_ms": 2**53}, BadInputError, "100 years"),
    ):
        with pytest.raises(error, match=said):
            await ask(history, **changes)


async def test_too_many_points_are_refused_with_advice(
    site: Site, history: SqlHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.send(windows(0, 99))
    monkeypatch.setattr(series_module, "MOST_POINTS", 50)
    with pytest.raises(TooMuchError, match="coarser"):
        await ask(history, resolution="raw")
    assert len((await ask(history, resolution="1m")).t) == 2


async def test_a_query_that_takes_too_long_is_stopped(
    site: Site, history: SqlHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.send(windows(0, 99))
    monkeypatch.setattr("gateway.adapters.store.history.LONGEST_S", -1.0)
    monkeypatch.setattr("gateway.adapters.store.history.STEPS_BETWEEN_LOOKS", 1)
    with pytest.raises(TooMuchError, match="shorter"):
        await ask(history)
    monkeypatch.undo()
    assert (await ask(history)).t  # the connection is as before


async def test_the_loop_runs_on_while_history_is_read(site: Site, history: SqlHistory) -> None:
    site.send(windows(0, 99))
    held = threading.Event()
    query = SeriesQuery("home", "grid", ("p",), 0, START_MS)
    waiting = asyncio.ensure_future(history.series(query, lambda _: held.wait(5)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    held.set()
    assert await waiting


channels = st.builds(
    Channel,
    *[st.none() | st.floats(0, 400) for _ in range(4)],
    q=st.none() | st.floats(-9, 9), v=st.none() | st.floats(0, 400), z=st.none() | st.just(1.5),
)  # fmt: skip
readings = st.builds(
    Reading, boot=st.just(1), seq=st.just(0), up=st.just(1), t=st.none(), dt=st.just(1000),
    v=st.none() | st.floats(0, 400), f=st.none() | st.just(50.0),
    ch=st.dictionaries(st.sampled_from(["grid", "solar", "load1"]), channels, min_size=1),
    flags=st.sampled_from([(), ("clip",), ("a" * 32, "b")]),
    aux=st.none() | st.just({"oil": 1.0}),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(readings, min_size=1, max_size=30))
def test_columns_are_what_the_readings_say(found: list[Reading]) -> None:
    rows = [(k, r.n, pack(r)) for k, r in enumerate(found)]
    columns = {name: plain(c) for name, c in raw_columns(rows, "grid", FIELDS).items()}
    for k, reading in enumerate(found):
        own = reading.ch.get("grid")
        voltage = None if own is None else reading.v if own.v is None else own.v
        wanted = {"v": voltage, "v_min": voltage, "f": reading.f if own else None}
        for name in ("p", "q", "i", "wh_in", "wh_out"):
            wanted[name] = None if own is None else getattr(own, name)
        pf = None if own is None else power_factor(own.p, apparent_power_va(voltage, own.i))
        assert {name: columns[name][k] for name in wanted} == wanted
        assert columns["pf"][k] == (None if pf is None else round(pf, 4))
        body = rows[k][2]
        thrice = b"".join(b"%d" % (START_MS + 1000 * place) + body for place in range(3))
        together = alike_columns(thrice, 3, "grid", FIELDS)
        if together is not None:  # None: a body is laid out in a way that is looked at by itself
            assert {name: [columns[name][k]] * 3 for name in FIELDS} == {
                name: plain(column) for name, column in together[1].items()
            }
            assert together[0].tolist() == [START_MS, START_MS + 1000, START_MS + 2000]


async def test_odd_readings_among_alike_ones_stand_where_they_belong(
    site: Site, history: SqlHistory
) -> None:
    readings = windows(0, 49)
    readings[10]["flags"] = ["clip"]
    readings[20]["ch"]["grid"]["q"] = None
    readings[20]["flags"] = ["12345678"]
    readings[30]["ch"] = {"solar": readings[30]["ch"]["grid"]}
    readings[40]["v"] = None
    site.send(readings)
    found = await ask(history, "p,q,v,n", resolution="raw")
    assert [k for k, p in enumerate(found.columns["p"]) if p is None] == [30]
    assert [k for k, q in enumerate(found.columns["q"]) if q is None] == [20, 30]
    assert [k for k, v in enumerate(found.columns["v"]) if v is None] == [30, 40]


async def test_readings_that_came_out_of_order_stand_in_order(
    site: Site, history: SqlHistory
) -> None:
    site.send(windows(20, 29, wh_in=1.0))
    site.send(windows(0, 9, wh_in=1.0))
    found = await ask(history, "p,n", resolution="raw")
    assert found.t == sorted(found.t)
    assert len(found.t) == 20


async def test_spool_records_count_their_windows(site: Site, history: SqlHistory) -> None:
    site.send([spool(59, 60), window(60)])
    found = await ask(history, "n", resolution="raw")
    assert found.columns["n"] == [60, 1]
