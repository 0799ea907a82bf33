"""The contract of the data path's ports, held by SQL on disk and by the in-memory twins."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.memory_deriving import MemoryDeriveStore
from gateway.adapters.memory_store import (
    MemoryIntakeStore,
    MemoryMeterStore,
    MemoryPlacingStore,
    MemoryRetentionStore,
    Tables,
)
from gateway.adapters.store.database import opened
from gateway.adapters.store.deriving import SqlDeriveStore
from gateway.adapters.store.intake_store import SqlIntakeStore
from gateway.adapters.store.meters import SqlMeterStore
from gateway.adapters.store.placing import SqlPlacingStore
from gateway.adapters.store.retention import SqlRetentionStore
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Mark
from gateway.pipeline.decode import decode
from gateway.services.deriving import Deriver
from gateway.services.deriving_ports import DeriveStore
from gateway.services.fitting import RESOLUTION
from gateway.services.gapkeeper import sweep_gaps
from gateway.services.intake_ports import IntakeStore
from gateway.services.ledger import Ledger
from gateway.services.operations import MeterStore
from gateway.services.placing import Placed, Placing, PlacingStore
from gateway.services.planner import Planner, PlanRules
from gateway.services.retention import AgeMark, RetentionStore
from gateway.settings import DetectSettings
from tests.gateway.services.site_rig import START_MS, UTC, FakeNow, Json, spool, window, windows
from tests.gateway.services.test_properties import picture


class Ports(NamedTuple):
    """One store behind all its ports."""

    intake: IntakeStore
    derive: DeriveStore
    placing: PlacingStore
    retention: RetentionStore
    meters: MeterStore


def memory_ports() -> Ports:
    tables = Tables()
    return Ports(
        MemoryIntakeStore(tables), MemoryDeriveStore(tables, UTC), MemoryPlacingStore(tables),
        MemoryRetentionStore(tables), MemoryMeterStore(tables),
    )  # fmt: skip


def sql_ports(path: Path) -> Iterator[Ports]:
    with opened(path) as database:
        yield Ports(
            SqlIntakeStore(database), SqlDeriveStore(database, UTC), SqlPlacingStore(database),
            SqlRetentionStore(database), SqlMeterStore(database),
        )  # fmt: skip


@pytest.fixture(params=["sql", "memory"])
def ports(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ports]:
    if request.param == "sql":
        yield from sql_ports(tmp_path / "s.db")
    else:
        yield memory_ports()


class House:
    """Plans messages of one meter and commits them through a port."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.now = FakeNow()
        self.ledger = Ledger()
        self.planner = Planner(
            self.ledger, PlanRules(auto_register=True, nominal_voltage_v=230), self.now
        )
        self.deriver = Deriver(ports.derive, DetectSettings(), UTC)

    async def commit(self) -> None:
        await asyncio.wrap_future(self.ports.intake.submit(self.planner.finish()))

    async def send(self, readings: list[Json] | Json | bytes) -> None:
        payload = readings if isinstance(readings, bytes) else json.dumps(readings).encode()
        self.planner.message("ww/v1/home/readings", "home", decode(payload), self.now.wall)
        await self.commit()

    async def reload(self) -> Ledger:
        self.ledger = await self.ports.intake.load_ledger()
        self.planner = Planner(
            self.ledger, PlanRules(auto_register=True, nominal_voltage_v=230), self.now
        )
        return self.ledger

    async def derive(self) -> None:
        if not self.deriver.loaded.is_set():
            await self.deriver.load()
        while await self.deriver.step():
            pass
        await self.deriver.drain()


@pytest.fixture
def house(ports: Ports) -> House:
    return House(ports)


async def test_an_empty_store_has_an_empty_ledger(house: House) -> None:
    ledger = await house.reload()
    assert ledger == Ledger()
    assert await house.ports.derive.load_meters() == []
    assert await house.ports.derive.looked_at() == 0
    assert await house.ports.retention.newest_row() == 0


async def test_the_ledger_comes_back(house: House) -> None:
    await house.send([*windows(0, 4), *windows(8, 9)])
    meter = house.ledger.meters["home"]
    boot = house.planner.heard_state(meter, 1, 17, 9000, live_ms=house.now.wall)
    house.planner.finalise(meter, boot, 5, 6, "dropped", house.now.wall)
    house.planner.suspect(boot, 7, 7, house.now.wall)
    await house.commit()
    memory = picture(house.ledger)
    numbers = house.ledger.next_row
    ledger = await house.reload()
    assert picture(ledger) == memory
    assert ledger.next_row == numbers
    assert ledger.meters["home"].boots[1].upto == 6


async def test_rows_come_in_the_order_of_their_commits(house: House) -> None:
    await house.send([window(5), window(3)])
    await house.send(window(4))
    found = await house.ports.derive.rows_after(0, 10)
    assert [(one.reading.row, one.reading.seq) for one in found] == [(1, 5), (2, 3), (3, 4)]
    assert all(one.placed and one.meter_no == 1 for one in found)
    first = found[0].reading
    assert (first.meter, first.boot, first.at_ms) == ("home", 1, START_MS + 6000)
    assert first.ch["grid"].p == 500.0
    assert [one.reading.row for one in await house.ports.derive.rows_after(1, 1)] == [2]


async def test_a_spool_record_replaces_finer_rows_and_a_repetition_goes(house: House) -> None:
    await house.send(windows(3, 6))
    await house.send(spool(9, 10))
    await house.send(spool(9, 10))
    found = await house.ports.derive.rows_after(0, 10)
    assert [(one.reading.seq, one.reading.n) for one in found] == [(9, 10)]
    ((_, meter_no, from_ms, to_ms),) = await house.ports.derive.dirty()
    assert (meter_no, from_ms, to_ms) == (1, START_MS + 3000, START_MS + 7000)


async def test_deriving_positions_rollups_and_alerts_come_back(house: House) -> None:
    house.now.wall = START_MS + 20_040
    await house.send([*windows(0, 9), *windows(10, 19, v=0.0, i=0.0, p=0.0, q=0.0, f=None)])
    await house.derive()
    (record,) = await house.ports.derive.load_meters()
    assert (record.row, record.at_ms) == (20, START_MS + 20_000)
    assert record.state is not None
    assert record.channel_nos == {"grid": 1}
    unresolved, resolved = await house.ports.derive.load_alerts()
    assert [alert.key[2].value for alert in unresolved] == ["outage"]
    assert resolved == []
    assert await house.ports.derive.looked_at() == 20
    assert await house.ports.meters.stored_alert(unresolved[0].id) == unresolved[0]
    assert await house.ports.meters.stored_alert("none") is None


async def test_alerts_resolved_by_a_person_are_remembered(house: House) -> None:
    house.now.wall = START_MS + 20_040
    await house.send(windows(0, 19, v=0.0, i=0.0, p=0.0, q=0.0, f=None))
    await house.derive()
    (alert,) = house.deriver.desk.book.open_alerts
    await house.deriver.change_alert(
        lambda book: book.resolve(alert.id, who="ann", at_ms=alert.updated_ms + 1)
    )
    unresolved, resolved = await house.ports.derive.load_alerts()
    assert unresolved == []
    assert [one.id for one in resolved] == [alert.id]


async def test_a_rebuild_gives_what_the_remaining_rows_give(house: House) -> None:
    await house.send([*windows(0, 9, p=100.0), *windows(1000, 1009, p=100.0)])
    await house.derive()
    await house.send(spool(9, 10, p=300.0))
    await house.derive()
    assert await house.ports.derive.dirty() == []
    history = await house.ports.derive.history(1, "home", "grid", 0, START_MS + 10**7)
    held = [p.bucket for t in house.deriver.tracks.values() for p in t.roll.open_parts()
            if p.resolution == RESOLUTION]  # fmt: skip
    history.add(held)
    assert history.minutes()["p_mean_w"].tolist() == [300.0, 100.0]


async def test_an_anchor_that_falls_moves_the_rows_it_placed(house: House) -> None:
    house.now.wall = START_MS + 60_000
    await house.send(windows(0, 4, t=None))
    house.now.wall = START_MS + 61_000
    meter = house.ledger.meters["home"]
    house.planner.heard_state(meter, 1, 1, 60_000, live_ms=house.now.wall)
    await house.commit()
    found = await house.ports.derive.rows_after(0, 10)
    assert [one.reading.at_ms - START_MS for one in found] == [2000, 3000, 4000, 5000, 6000]
    assert len(await house.ports.derive.dirty()) == 1


async def test_unplaced_rows_wait_and_are_placed(house: House) -> None:
    house.now.trust = False
    await house.send(windows(0, 2))
    assert await house.ports.placing.unplaced_boots() == [1]
    waiting = await house.ports.placing.unplaced(1)
    assert [(one.row, one.seq, one.up_ms) for one in waiting] == [
        (1, 0, 1000),
        (2, 1, 2000),
        (3, 2, 3000),
    ]
    assert not any(one.placed for one in await house.ports.derive.rows_after(0, 9))
    places = [Placed(one.row, START_MS + one.up_ms, Mark.ANCHORED) for one in waiting]
    await house.ports.placing.place(1, places, [(0, START_MS + 1000, START_MS + 3000)])
    assert await house.ports.placing.unplaced_boots() == []
    assert await house.ports.placing.unplaced(1) == []
    found = await house.ports.derive.rows_after(0, 9)
    assert [one.reading.at_ms for one in found] == [place.at_ms for place in places]
    assert [one.reading.marks for one in found] == [Mark.ANCHORED] * 3
    run = (await house.reload()).meters["home"].boots[1].runs[0]
    assert (run.first_at_ms, run.last_at_ms) == (START_MS + 1000, START_MS + 3000)


async def test_the_placing_service_works_on_either_store(house: House) -> None:
    house.now.trust = False
    await house.send(windows(0, 2))
    house.now.trust = True
    placing = Placing(house.ports.placing, lambda: house.ledger, house.now, house.deriver.release)
    await placing.look()
    house.now.pass_s(121)
    await placing.look()
    found = await house.ports.derive.rows_after(0, 9)
    assert [one.reading.at_ms - START_MS for one in found] == [1000, 2000, 3000]


async def test_retiring_takes_whole_judged_old_segments(house: House) -> None:
    for first in range(0, 4200, 120):
        house.planner.message(
            "t", "home", decode(json.dumps(windows(first, first + 119)).encode()), house.now.wall
        )
    await house.commit()
    retention = house.ports.retention
    assert await retention.retire(None, 8) == 0  # nothing is judged yet
    await house.derive()
    used = (await retention.space()).used
    assert await retention.newest_row() > 4096
    assert await retention.load_marks() == []
    marks = [AgeMark(0, 17), AgeMark(3_600_000, 4095)]
    await retention.save_marks(marks)
    assert await retention.load_marks() == marks
    assert await retention.retire(4094, 8) == 0  # too young
    assert await retention.retire(4095, 8) == 1
    assert await retention.retire(None, 8) == 0  # the open segment stays
    assert (await retention.space()).used < used
    (oldest,) = await house.ports.derive.rows_after(0, 1)
    assert oldest.reading.row == 4096
    ledger = await house.reload()
    assert ledger.meters["home"].boots[1].upto == 4199
    assert ledger.next_row == 4201


async def test_a_meter_s_changes_come_back(house: House) -> None:
    await house.send(window(0))
    grid = ChannelInfo("grid", Role.LOAD, 16.0)
    changed = MeterInfo("home", recorded=False, label="Kitchen", channels={"grid": grid})
    await house.ports.meters.save_meter(1, changed, removed_ms=None)
    meter = (await house.reload()).meters["home"]
    assert (meter.info.label, meter.info.channels, meter.removed) == (
        "Kitchen",
        {"grid": grid},
        False,
    )
    (record,) = await house.ports.derive.load_meters()
    assert record.info.channels == {"grid": grid}
    await house.ports.meters.save_meter(1, changed, removed_ms=5)
    assert (await house.reload()).meters["home"].removed


steps = st.one_of(
    st.tuples(st.just("send"), st.lists(st.integers(0, 40), min_size=1, max_size=6)),
    st.tuples(st.just("spool"), st.integers(9, 40)),
    st.tuples(st.just("untimed"), st.integers(0, 40)),
    st.tuples(st.just("bad"), st.integers(0, 40)),
    st.tuples(st.just("state"), st.integers(0, 10**7)),
    st.tuples(st.just("wait"), st.just(0)),
    st.tuples(st.just("derive"), st.just(0)),
)


async def act(house: House, kind: str, what: object) -> None:
    if kind == "send":
        await house.send([window(seq) for seq in what])  # type: ignore[attr-defined]
    elif kind == "spool":
        await house.send(spool(what, 9))  # type: ignore[arg-type]
    elif kind == "untimed":
        await house.send(window(what, t=None))  # type: ignore[arg-type]
    elif kind == "bad":
        await house.send(window(what, v=900.0))  # type: ignore[arg-type]
    elif kind == "state" and "home" in house.ledger.meters:
        meter = house.ledger.meters["home"]
        house.planner.heard_state(meter, 1, 1, what, live_ms=house.now.wall)  # type: ignore[arg-type]
        await house.commit()
    elif kind == "wait":
        for _ in range(2):
            sweep_gaps(house.planner, house.ledger, house.now.mono_s(), house.now.wall)
            house.now.pass_s(601)
        await house.commit()
    elif kind == "derive":
        await house.derive()


async def told(house: House) -> object:
    """Return everything the ports tell."""
    await house.derive()
    rows = await house.ports.derive.rows_after(0, 1000)
    meters = await house.ports.derive.load_meters()
    alerts = await house.ports.derive.load_alerts()
    minutes = [
        (await house.ports.derive.history(no, "home", name, 0, 2**45)).minutes()
        for record in meters
        for name, no in record.channel_nos.items()
    ]
    # As text, in which what is unknown equals what is unknown.
    history = [str((one.start_ms.tolist(), one.values.tolist())) for one in minutes]
    dirty = [one[1:] for one in await house.ports.derive.dirty()]
    return picture(await house.reload()), rows, meters, alerts, history, dirty


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=12))
def test_both_stores_tell_the_same_after_any_story(story: list[tuple[str, object]]) -> None:
    async def run(ports: Ports) -> object:
        house = House(ports)
        for kind, what in story:
            await act(house, kind, what)
        return await told(house)

    with tempfile.TemporaryDirectory() as folder:
        for ports in sql_ports(Path(folder) / "s.db"):
            on_disk = asyncio.run(run(ports))
    assert asyncio.run(run(memory_ports())) == on_disk
