"""Server-sent events over a real connection: what comes, resuming, limits, and the end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest

from gateway.services import stream as ring
from gateway.services import stream_feed
from gateway.web import stream
from gateway.web.server import WebServer
from tests.gateway.web.rig import PASSWORD, Rig, alert_view, assert_problem, meter_view
from tests.gateway.web.test_server import serving

STREAM = "/api/v1/stream"


async def moment() -> None:
    await asyncio.sleep(0.01)


class Told(NamedTuple):
    """One event as a browser takes it."""

    kind: str
    data: Any
    id: str


class Viewer:
    """One open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self, kind: str | None = None) -> Told:
        """Return the next event, of this kind if one is named."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    if kind == "":
                        return Told("", value, "")
                elif line:
                    fields[name] = value
                else:
                    found, fields = fields, {}
                    if "data" in found and kind in (None, found["event"]):
                        data = json.loads(found["data"])
                        return Told(found["event"], data, found.get("id", ""))
        msg = "the stream ended"
        raise EOFError(msg)


class Watched(NamedTuple):
    """A served app whose feed runs fast."""

    rig: Rig
    web: WebServer
    client: httpx.AsyncClient

    @asynccontextmanager
    async def viewer(self, last: str | None = None) -> AsyncIterator[Viewer]:
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self.client.stream("GET", STREAM, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            yield Viewer(answer)

    def read(self, row: int, power_w: float, meter: str = "kitchen") -> None:
        """Have a meter measured again."""
        last = meter_view(meter).last
        assert last is not None
        grid = replace_channel(last.ch["grid"], power_w)
        last.row, last.seq, last.ch = row, row, {"grid": grid}
        self.rig.latest[meter] = last


def replace_channel(channel: Any, power_w: float) -> Any:  # noqa: ANN401 - a msgspec struct
    values = {name: getattr(channel, name) for name in channel.__struct_fields__}
    return type(channel)(**values | {"p": power_w})


@pytest.fixture
async def watched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(stream_feed, "EVERY_S", 0.02)
    monkeypatch.setattr(stream_feed, "STATES_EVERY_S", 0.0)
    feeding = asyncio.create_task(rig.feed.run())
    async with serving(rig) as web, httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{web.port}", timeout=5
    ) as client:  # fmt: skip
        body = {"username": "vera", "password": PASSWORD}
        (await client.post("/api/v1/auth/login", json=body)).raise_for_status()
        yield Watched(rig, web, client)
        rig.hub.close()
    feeding.cancel()
    with suppress(asyncio.CancelledError):
        await feeding


async def test_a_new_viewer_is_told_all_states_and_readings(watched: Watched) -> None:
    async with watched.viewer() as viewer:
        state = await viewer.next()
        reading = await viewer.next()
    assert (state.kind, state.data["id"], state.data["online"]) == ("state", "kitchen", True)
    assert "last" not in state.data
    assert (reading.kind, reading.data["meter"], reading.data["seq"]) == ("reading", "kitchen", 8)
    assert reading.data["ch"]["grid"]["p"] == 871.2


async def test_readings_states_and_alerts_come_as_they_change(watched: Watched) -> None:
    async with watched.viewer() as viewer:
        await viewer.next("reading")
        watched.read(10, 5.5)
        assert (await viewer.next("reading")).data["ch"]["grid"]["p"] == 5.5
        views = watched.rig.views
        views.meters["kitchen"] = replace(views.meters["kitchen"], online=False)
        while (await viewer.next("state")).data["online"]:
            pass
        views.alerts["b2"] = alert_view("b2")
        watched.rig.feed.alert_changed("b2")
        watched.rig.feed.alert_changed("gone")
        told = await viewer.next("alert")
    assert (told.data["id"], told.data["kind"]) == ("b2", "over_voltage")
    assert told.data["history"]


async def test_a_viewer_that_comes_back_misses_nothing(watched: Watched) -> None:
    async with watched.viewer() as viewer:
        watched.read(10, 1.0)
        while (told := await viewer.next("reading")).data["seq"] != 10:
            pass
    for row in range(11, 14):
        watched.read(row, float(row))
        await asyncio.sleep(0.06)
    async with watched.viewer(told.id) as viewer:
        seqs = [(await viewer.next()).data["seq"] for _ in range(3)]
    assert seqs == [11, 12, 13]


async def test_a_stranger_s_place_resets_and_tells_all(watched: Watched) -> None:
    async with watched.viewer("0123456789ab-77") as viewer:
        assert (await viewer.next()).kind == "reset"
        assert (await viewer.next()).kind == "state"


async def test_who_watches_starts_anew_when_something_is_removed(watched: Watched) -> None:
    views = watched.rig.views
    views.meters["cellar"] = meter_view("cellar")
    async with watched.viewer() as viewer:
        while (await viewer.next("state")).data["id"] != "kitchen":
            pass
        cellar = views.meters.pop("cellar")
        watched.rig.feed.something_gone()
        await viewer.next("reset")
        assert (await viewer.next("state")).data["id"] == "kitchen"
        assert (await viewer.next()).kind == "reading"
        views.meters["cellar"] = cellar  # as it was: told all the same
        while (await viewer.next("state")).data["id"] != "cellar":
            pass


async def test_it_is_quiet_but_alive(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with watched.viewer() as viewer:
        assert (await viewer.next("")).kind == ""


async def test_nobody_watches_without_a_login(watched: Watched) -> None:
    async with httpx.AsyncClient(base_url=watched.client.base_url) as stranger:
        assert_problem(await stranger.get(STREAM), 401)


async def test_a_stream_ends_with_its_login(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHECK_S", 0.0)
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with watched.viewer() as viewer:
        await viewer.next("reading")
        await watched.rig.accounts.remove("vera", "test")
        await viewer.next("logout")
        with pytest.raises(EOFError):
            await viewer.next("reading")


async def test_viewers_are_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "MOST_VIEWERS", 2)
    async with watched.viewer(), watched.viewer():
        answer = await watched.client.get(STREAM)
        assert_problem(answer, 503)
        assert answer.headers["retry-after"]
    async with asyncio.timeout(5):
        while watched.rig.hub.viewers:  # the server notices that they have gone
            await moment()
    async with watched.viewer() as viewer:
        await viewer.next("state")


async def test_a_viewer_that_takes_nothing_is_dropped(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST_SEND_S", 0.3)
    cookie = "; ".join(f"{k}={v}" for k, v in watched.client.cookies.items())
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", watched.web.port))
        head = f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
        stuck.sendall(head.encode())
        async with asyncio.timeout(5):
            while watched.rig.hub.viewers == 0:
                await moment()
        padding = b'"%s"' % (b"x" * 60_000)
        async with asyncio.timeout(20):
            while watched.rig.hub.viewers:
                watched.rig.hub.publish("reading", "big", padding)
                watched.rig.hub.wake()
                await asyncio.sleep(0.002)


async def test_shutting_down_ends_streams_in_order(watched: Watched) -> None:
    async with watched.viewer() as viewer:
        await viewer.next("state")
        watched.rig.hub.close()
        with pytest.raises(EOFError):
            await viewer.next("alert")
