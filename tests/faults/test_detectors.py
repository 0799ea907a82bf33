"""Detectors that raise, hang or answer NaN: off with an alert; once mended nothing is unjudged."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from gateway.adapters.store.database import connect
from gateway.domain.readings import Stored
from gateway.pipeline.judge import MeterJudge
from gateway.services import hang_guard
from tests.gateway.services.site_rig import Site, windows
from tinymodels.detect.contract import Verdict

if TYPE_CHECKING:
    from tinymodels.detect.contract import Model

QUERY = (
    "SELECT kind, state, opened_ms, resolved_ms FROM alerts WHERE kind != 'detector_failed'"
    " ORDER BY opened_ms"
)
FAILED = "SELECT state, count FROM alerts WHERE kind = 'detector_failed'"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "s.db") as running:
        yield running


def dark(first: int, last: int) -> list[dict[str, Any]]:
    return windows(first, last, v=0.0, i=0.0, p=0.0, q=0.0, f=None)


STORY = [*windows(0, 29), *dark(30, 59), *windows(60, 119), *dark(120, 149), *windows(150, 200)]


def rolled(site: Site) -> int:
    return sum(bucket.n for bucket in site.rolled("1m").values())


async def calm_story(site: Site) -> list[tuple[Any, ...]]:
    with Site(site.path.with_name("calm.db")) as calm:
        calm.live(STORY)
        await calm.derive()
        return calm.query(QUERY)


def break_at(monkeypatch: pytest.MonkeyPatch, seq: int) -> None:
    """Have the judge raise at a window, and behind it as long as it is not mended."""
    judge = MeterJudge.judge

    def broken(self: MeterJudge, reading: Stored) -> Any:  # noqa: ANN401
        if reading.seq >= seq:
            msg = "a defect"
            raise ZeroDivisionError(msg)
        return judge(self, reading)

    monkeypatch.setattr(MeterJudge, "judge", broken)


@pytest.mark.parametrize("restarts", [1, pytest.param(4, marks=pytest.mark.soak)])
@pytest.mark.parametrize("at", [0, 25, 45, 100, 130])
async def test_what_came_while_it_was_off_is_judged_once_it_is_mended(
    site: Site, monkeypatch: pytest.MonkeyPatch, at: int, restarts: int
) -> None:
    expected = await calm_story(site)
    with monkeypatch.context() as patch:
        break_at(patch, at)
        site.live(STORY[:160])
        await site.derive()
        for _ in range(restarts):
            await site.deriver.drain()
            await site.restart_deriving()
        await site.derive()
        assert site.ledger.meters["home"].newest is not None
        assert site.ledger.meters["home"].newest.upto == 159  # the intake knows nothing of it
        assert site.query(FAILED)[0][0] == "open"
        await site.deriver.drain()
    await site.restart_deriving()
    site.live(STORY[160:])
    await site.derive()
    assert site.query(QUERY) == expected
    assert [state for state, _ in site.query(FAILED)] == ["resolved"]
    assert rolled(site) == len(STORY)


async def test_a_crash_amid_the_repetition_repeats_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await calm_story(site)
    with monkeypatch.context() as patch:
        break_at(patch, 20)
        site.live(STORY)
        await site.derive()
        await site.deriver.drain()
    monkeypatch.setattr("gateway.services.deriving.CHUNK_ROWS", 7)
    for _ in range(200 // 7):
        await site.restart_deriving()
        for _ in range(2):
            await site.deriver.step()
    await site.derive()
    assert site.query(QUERY) == expected
    assert rolled(site) == len(STORY)


def compute() -> None:
    sum(range(1000))


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def read_what_never_comes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


@pytest.mark.parametrize(
    "hang", [compute, partial(time.sleep, 3600), wait_for_a_lock, read_what_never_comes]
)
async def test_one_that_does_not_come_back_is_interrupted(
    site: Site, monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]
) -> None:
    monkeypatch.setattr(hang_guard, "TICK_S", 0.02)
    judge = MeterJudge.judge
    slept: list[float] = []

    def hanging(self: MeterJudge, reading: Stored) -> Any:  # noqa: ANN401
        while reading.seq >= 10:
            try:
                hang()
            except Exception:  # noqa: BLE001, S112 - as a careless detector does
                continue
        return judge(self, reading)

    monkeypatch.setattr(MeterJudge, "judge", hanging)
    site.live(windows(0, 29))
    task = asyncio.ensure_future(site.deriver.run())
    deadline_s = time.monotonic() + 20
    while not site.query(FAILED):
        began_s = time.monotonic()
        await asyncio.sleep(0.01)
        slept.append(time.monotonic() - began_s)
        assert time.monotonic() < deadline_s
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert site.query(FAILED) == [("open", 1)]
    assert max(slept) < 5
    monkeypatch.setattr(MeterJudge, "judge", judge)  # mended: the rest needs no guard
    await site.derive()
    await site.deriver.drain()
    assert rolled(site) == 30


class Blind:
    """A model whose arithmetic has gone wrong."""

    kind = "blind"
    limit = clear_limit = 2.0
    trained = (0, 2**62)

    def new_state(self) -> None:
        """Remember nothing."""

    def dump_state(self, _: object) -> bytes:
        return b""

    def step(self, *_: object) -> Verdict:
        return Verdict(float("nan"), above=False)


async def test_a_model_that_answers_nan_silences_no_rule(site: Site) -> None:
    site.live(windows(0, 9))
    await site.derive()
    judge = site.deriver.tracks[1].judge
    judge.set_model("grid", cast("Model", Blind()))
    # Many minutes close, and an outage comes behind them.
    site.live(windows(10, 2000))
    site.live(dark(2001, 2030))
    await site.derive()
    ((state, count),) = site.query(FAILED)
    assert (state, count) == ("open", 1)
    assert [kind for kind, *_ in site.query(QUERY)][-1] == "outage"
    assert judge.models == {}


async def test_a_model_that_cannot_be_read_does_not_stop_the_start(site: Site) -> None:
    site.live(windows(0, 9))
    await site.derive()
    await site.deriver.drain()
    with connect(site.path) as db:
        db.execute("INSERT INTO models VALUES (1, 'grid', 'combined', 1, x'00ff')")
        db.execute("UPDATE judged SET state = x'c1'")
    db.close()
    await site.restart_deriving()
    site.live(dark(10, 39))
    await site.derive()
    assert [kind for kind, *_ in site.query(QUERY)] == ["outage"]


async def test_a_fit_that_fails_is_told_and_stops_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        msg = "singular matrix"
        raise ArithmeticError(msg)

    monkeypatch.setattr("gateway.services.refits.fit_channel", broken)
    asked = iter([["grid"]])
    monkeypatch.setattr(MeterJudge, "wants_fit", lambda _: next(asked, []))
    site.live([*windows(0, 99), *dark(100, 130)])
    await site.derive()
    async with asyncio.timeout(20):
        while not site.query(FAILED):  # the fit fails beside the judging
            await asyncio.sleep(0.01)
            await site.derive()
    assert site.query(FAILED) == [("open", 1)]
    assert [kind for kind, *_ in site.query(QUERY)] == ["outage"]
