"""The ring of events: resuming, falling behind, starting anew, and what wakes whom."""

import asyncio
import time

import pytest

from gateway.services.stream import MOST_AT_ONCE, MOST_VIEWERS, Hub, TooManyViewersError


def fill(hub: Hub, count: int, *, meters: int = 1) -> None:
    for k in range(count):
        hub.publish("reading", f"m{k % meters}", b"%d" % k)
    hub.wake()


def data(chunk: bytes | None) -> list[int]:
    assert chunk is not None
    return [int(line[6:]) for line in chunk.split(b"\n") if line.startswith(b"data: ")]


def test_a_reader_takes_what_came_after_its_place() -> None:
    hub = Hub()
    fill(hub, 5)
    assert data(hub.take(0)) == [0, 1, 2, 3, 4]
    assert data(hub.take(3)) == [3, 4]
    assert hub.take(5) == b""
    fill(hub, 1)
    assert data(hub.take(5)) == [0]


def test_an_id_finds_its_place_again_and_a_foreign_one_none() -> None:
    hub, other = Hub(), Hub()
    fill(hub, 5)
    chunk = hub.take(0)
    assert chunk is not None
    third = chunk.split(b"\n\n")[2].split(b"\n")[0].removeprefix(b"id: ").decode()
    assert hub.find(third) == 3
    assert other.find(third) is None
    for odd in ("", "3", third + "0", third.replace("-", "_"), "0" * 64):
        assert hub.find(odd) is None


def test_what_fell_off_the_ring_is_gone_and_said_to_be() -> None:
    hub = Hub(size=10)
    fill(hub, 25)
    assert hub.take(14) is None
    assert data(hub.take(15)) == list(range(15, 25))
    hub.forget()
    assert hub.take(20) is None
    assert hub.take(hub.position) == b""


def test_who_is_far_behind_gets_the_newest_of_each() -> None:
    hub = Hub()
    fill(hub, MOST_AT_ONCE + 1, meters=3)
    assert data(hub.take(0)) == [MOST_AT_ONCE - 2, MOST_AT_ONCE - 1, MOST_AT_ONCE]
    assert len(data(hub.take(1))) == MOST_AT_ONCE


async def test_readers_wait_until_woken() -> None:
    hub = Hub()
    readers = [asyncio.ensure_future(hub.wait(0, 5)) for _ in range(3)]
    await asyncio.sleep(0.01)
    fill(hub, 1)
    assert await asyncio.gather(*readers) == [True] * 3
    assert not await hub.wait(1, 0.01)
    waiting = asyncio.ensure_future(hub.wait(1, 5))
    await asyncio.sleep(0.01)
    began_s = time.monotonic()
    hub.close()
    assert not await waiting
    assert time.monotonic() - began_s < 1


async def test_viewers_are_counted_and_bounded() -> None:
    hub = Hub()
    waiting = asyncio.ensure_future(hub.viewed())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    places = [hub.watching() for _ in range(MOST_VIEWERS)]
    for place in places:
        place.__enter__()
    await asyncio.wait_for(waiting, 1)
    with pytest.raises(TooManyViewersError), hub.watching():
        pass
    for place in places:
        place.__exit__(None, None, None)
    assert hub.viewers == 0
