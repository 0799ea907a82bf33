"""Tariffs, mutes and documents: SQLite and memory keep the same promises."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.adapters.memory_home import MemoryDocuments, MemoryMutes, MemoryTariffs
from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.home import SqlDocuments, SqlMutes, SqlTariffs
from gateway.domain.alerts import AlertKind
from gateway.pipeline.mutes import Mute
from gateway.pipeline.tariffs import Plan
from gateway.services.muting import MuteStore
from gateway.services.sites import DocumentStore
from gateway.services.tariff_plans import read_plan
from gateway.services.tariffs import TariffStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "h.db") as database:
        yield database


@pytest.fixture(params=["sql", "memory"])
def tariffs(request: pytest.FixtureRequest, database: Database) -> TariffStore:
    return SqlTariffs(database) if request.param == "sql" else MemoryTariffs()


@pytest.fixture(params=["sql", "memory"])
def mutes(request: pytest.FixtureRequest, database: Database) -> MuteStore:
    return SqlMutes(database) if request.param == "sql" else MemoryMutes()


@pytest.fixture(params=["sql", "memory"])
def documents(request: pytest.FixtureRequest, database: Database) -> DocumentStore:
    return SqlDocuments(database) if request.param == "sql" else MemoryDocuments()


def plan(plan_id: str, valid_from: str) -> Plan:
    price = {"days": list(range(7)), "from": "00:00", "to": "24:00", "price_per_kwh": 0.1234}
    body: dict[str, object] = {
        "name": "n", "valid_from": valid_from, "currency": "EUR", "import": [price],
    }  # fmt: skip
    return read_plan(plan_id, body)


async def test_plans_are_kept_in_order_one_a_day(tariffs: TariffStore) -> None:
    late, early = plan("a", "2026-05-01"), plan("b", "2026-01-01")
    assert await tariffs.put_plan(late)
    assert await tariffs.put_plan(early)
    assert await tariffs.plans() == [early, late]
    assert not await tariffs.put_plan(plan("c", "2026-05-01"))
    moved = replace(early, valid_from=date(2026, 6, 1))
    assert await tariffs.put_plan(moved)
    assert not await tariffs.put_plan(replace(moved, valid_from=date(2026, 5, 1)))
    assert await tariffs.plans() == [late, moved]
    assert await tariffs.drop_plan("a")
    assert not await tariffs.drop_plan("a")
    assert await tariffs.plans() == [moved]


async def test_mutes_are_kept(mutes: MuteStore) -> None:
    one = Mute("m1", "kitchen", None, AlertKind.ANOMALY, None, 5, "ada")
    two = Mute("m2", "", "grid", AlertKind.STORAGE, 99, 4, "ada")
    await mutes.put_mute(one)
    await mutes.put_mute(two)
    assert await mutes.mutes() == [two, one]
    assert await mutes.drop_mute("m2")
    assert not await mutes.drop_mute("m2")
    assert await mutes.mutes() == [one]


async def test_a_document_is_replaced_only_by_who_has_read_it(documents: DocumentStore) -> None:
    assert await documents.document("tree") is None
    assert await documents.put_document("tree", [1], after=3) is None
    assert await documents.put_document("tree", [1], after=0) == 1
    assert await documents.put_document("tree", [2], after=0) is None
    assert await documents.put_document("tree", {"é": [2]}, after=1) == 2
    assert await documents.document("tree") == (2, {"é": [2]})
    assert await documents.put_document("tree", None, after=None) == 3
