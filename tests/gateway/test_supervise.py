"""Supervision: what is retried, what crashes, and in which order things stop."""

import asyncio
import os
import random
import signal

import pytest

from gateway import supervise
from gateway.domain.errors import StorageError, TransientError
from gateway.supervise import Board, Stage, forever, run_stages, stop_on_signals


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "SHORTEST_RETRY_S", 0.001)
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 0.001)


async def endless() -> None:
    await asyncio.Event().wait()


async def moment() -> None:
    await asyncio.sleep(0.005)


async def test_transient_errors_are_retried_and_told() -> None:
    board, calls = Board(), 0

    async def shaky() -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            msg = f"broker gone {calls}"
            raise TransientError(msg)
        await endless()

    task = asyncio.ensure_future(forever("intake", shaky, board))
    async with asyncio.timeout(5):
        while calls < 4:
            await moment()
    health = board.of("intake")
    assert (health.state, health.retries, health.error) == ("running", 3, "broker gone 3")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert board.of("intake").state == "stopped"


async def test_the_backoff_grows_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    highs: list[float] = []

    def uniform(_low: float, high: float) -> float:
        highs.append(high)
        return 0.0

    monkeypatch.setattr(random, "uniform", uniform)

    async def broken() -> None:
        if len(highs) == 9:
            await endless()
        msg = "no"
        raise TransientError(msg)

    task = asyncio.ensure_future(forever("x", broken, Board()))
    async with asyncio.timeout(5):
        while len(highs) < 9:
            await moment()
    task.cancel()
    wanted = [2.0 ** min(tries, supervise.LONGEST_BACKOFF) for tries in range(1, 10)]
    assert highs == wanted
    assert highs[-1] <= 64  # a broker that is back is found within a minute


@pytest.mark.parametrize("error", [ValueError("a defect"), StorageError("disk full")])
async def test_any_other_error_ends_all_and_is_passed_on(error: Exception) -> None:
    async def defective() -> None:
        await moment()
        raise error

    stages = [Stage("good", endless), Stage("bad", defective)]
    with pytest.raises(type(error)) as caught:
        await asyncio.wait_for(run_stages(asyncio.Event(), stages, Board()), 5)
    assert caught.value is error


async def test_a_service_that_returns_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="returned"):
        await forever("short", moment, Board())


async def test_stages_end_in_their_order_each_drained_first() -> None:
    told: list[str] = []
    stop = asyncio.Event()

    def stage(name: str) -> Stage:
        async def run() -> None:
            try:
                await endless()
            finally:
                told.append(f"{name} ended")

        async def drain() -> None:
            await moment()
            told.append(f"{name} drained")

        return Stage(name, run, drain)

    task = asyncio.ensure_future(run_stages(stop, [stage("a"), stage("b")], Board()))
    await moment()
    stop.set()
    await asyncio.wait_for(task, 5)
    assert told == ["a drained", "a ended", "b drained", "b ended"]


async def test_a_drain_that_hangs_is_cut_short() -> None:
    stop = asyncio.Event()
    stop.set()
    stages = [Stage("slow", endless, endless), Stage("next", endless)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.wait_for(run_stages(stop, stages, Board(), grace_s=0.1), 5)
    assert loop.time() - began < 2


async def test_signals_ask_for_the_end() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = stop_on_signals()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 5)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
