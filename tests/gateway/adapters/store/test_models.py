"""The contract of what is kept of models from elsewhere, held by SQLite and by memory."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.adapters.memory_models import MemoryModels
from gateway.adapters.store.database import opened
from gateway.adapters.store.models import SqlModels
from gateway.domain.errors import NotFoundError, StorageError
from gateway.services.models.forms import (
    Facts,
    Happening,
    ModelStore,
    Pulled,
    PulledState,
    Score,
    Trial,
    TrialState,
)

TOLD = Happening(5, "verified", "stable/a.wwm", detail="why")


@pytest.fixture(params=["sql", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModelStore]:
    if request.param == "memory":
        yield MemoryModels()
        return
    with opened(tmp_path / "m.db") as database:
        yield SqlModels(database)


def pulled(version: int = 1) -> Pulled:
    return Pulled(
        0, f"stable/a-{version}.wwm", f"{version:064x}", "model", "charts", "*", "grid", version,
        {"gate": {"passed": True}}, 7, 9, PulledState.VERIFIED,
    )  # fmt: skip


def trial(no: int, state: TrialState = TrialState.SHADOW, **facts: float) -> Trial:
    return Trial(no, "kitchen", "grid", state, 3, "", Facts(memory=b"\x00m", **facts))  # type: ignore[arg-type]


async def test_files_come_back_with_all_that_is_known(store: ModelStore) -> None:
    no = await store.add(pulled(), b"body", TOLD)
    assert await store.body(no) == b"body"
    compatible = replace(pulled(), no=no, state=PulledState.COMPATIBLE, step_us=1.5)
    await store.change([TOLD._replace(what="compatible")], pulled=compatible)
    shelf = await store.load()
    assert list(shelf.pulled) == [compatible]
    assert [one.what for one in await store.happenings(5)] == ["compatible", "verified"]
    assert list(await store.happenings(1)) == [TOLD._replace(what="compatible")]
    with pytest.raises(NotFoundError, match="pull it again"):
        await store.body(no + 1)
    with pytest.raises(StorageError):
        await store.add(pulled(), b"body", TOLD)


async def test_trials_and_their_scores(store: ModelStore) -> None:
    no = await store.add(pulled(), b"x", TOLD)
    one = trial(no)
    await store.change([], trials=[one])
    scores = [Score(*one.key, start, float(start), math.nan) for start in (300, 0)]
    one.facts.minutes, one.facts.events = 77, [[1, 0]]
    await store.keep_scores(scores, [one])
    (kept,) = (await store.load()).trials
    assert kept == one
    assert kept.facts.low == math.inf
    found = await store.scores(one)
    assert [(start, score) for start, score, _ in found] == [(0, 0.0), (300, 300.0)]
    assert all(math.isnan(champion) for _, _, champion in found)
    await store.change([], trials=[replace(one, state=TrialState.REJECTED, why="slow")])
    assert await store.scores(one) == []
    assert (await store.load()).trials[0].why == "slow"


async def test_a_channel_has_one_judge_or_nothing_changes(store: ModelStore) -> None:
    first, second = [await store.add(pulled(v), b"x", TOLD) for v in (1, 2)]
    await store.change([], trials=[trial(first, TrialState.ACTIVE)])
    with pytest.raises(StorageError):
        await store.change([TOLD], trials=[trial(second, TrialState.ACTIVE)])
    assert len((await store.load()).trials) == 1
    assert len(await store.happenings(9)) == 2
    over = trial(first, TrialState.RETIRED)
    await store.change([TOLD], trials=[trial(second, TrialState.ACTIVE), over])
    assert [one.state for one in (await store.load()).trials] == ["retired", "active"]


async def test_notes(store: ModelStore) -> None:
    await store.note("a", "1")
    await store.note("a", "2")
    assert dict(await store.noted()) == {"a": "2"}


async def test_old_files_of_a_family_are_emptied_but_not_those_in_use(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as database:
        store = SqlModels(database)
        first = await store.add(pulled(1), b"first", TOLD)
        await store.change([], trials=[trial(first, TrialState.ACTIVE)])
        numbers = [await store.add(pulled(version), b"later", TOLD) for version in range(2, 9)]
        assert await store.body(first) == b"first"
        with pytest.raises(NotFoundError):
            await store.body(numbers[0])
        assert await store.body(numbers[-1]) == b"later"
