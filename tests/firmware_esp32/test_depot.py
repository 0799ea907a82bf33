"""The code of bundles is loaded while one is on its way, and let go when none is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from depot import Depot

from tests.support.bundle_rig import KEYS, METER, Gateway

SEVEN = b'{"seven":7}' * 500


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds, or raise TimeoutError."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - of whatever it depends on
            await asyncio.sleep(0.001)


class Rig:
    """A depot on a directory; `running` is what its model's part took last."""

    def __init__(self, root: Path, gateway: Gateway) -> None:
        self.root = root
        self.gateway = gateway
        self.made = 0
        self.events: list[dict[str, Any]] = []
        self.running: bytes | None = None
        self.fails = 0  # loads that find no room
        self.depot = Depot(self._make, lambda: True)
        self.depot.boot(self._apply())

    def _apply(self) -> dict[str, Callable[[bytes | memoryview | None], None]]:
        return {"calibration": lambda _: None, "model": self._use}

    def _use(self, content: bytes | memoryview | None) -> None:
        self.running = None if content is None else bytes(content)

    def _make(self) -> Any:  # noqa: ANN401 - the class is of a module loaded here
        from bundles import Bundles  # noqa: PLC0415 - as the app does it

        if self.fails:
            self.fails -= 1
            raise MemoryError
        self.made += 1
        return Bundles(
            str(self.root), METER, KEYS, request_chunk=self._request,
            send_event=self.events.append, apply=self._apply(), lend=lambda _: None,
            restart=self._restart, sleep=self._sleep,
        )  # fmt: skip

    async def _request(self, kind: str, version: int, offset: int, length: int) -> None:
        message = self.gateway.answer(kind, version, offset, length)
        if message is not None:
            await self.depot.chunk(message)

    async def _restart(self) -> None:
        raise AssertionError

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))


@asynccontextmanager
async def running(root: Path, gateway: Gateway) -> AsyncIterator[Rig]:
    rig = Rig(root, gateway)
    task = asyncio.create_task(rig.depot.run())
    yield rig
    assert not task.done()
    task.cancel()


async def test_a_model_comes_in_and_the_code_is_let_go(tmp_path: Path) -> None:
    gateway = Gateway()
    entry = gateway.put("model", 7, SEVEN)
    async with running(tmp_path, gateway) as rig:
        assert (rig.made, rig.depot.loaded) == (1, False)  # at boot only
        await rig.depot.desired({"bundles": [entry]})
        await until(lambda: rig.running == SEVEN)
        assert rig.depot.loaded  # on trial
        for _ in range(10):
            rig.depot.good_window()
        await until(lambda: not rig.depot.loaded)
        assert rig.depot.versions()["model"] == 7
        assert [(e["version"], e["ok"]) for e in rig.events] == [(7, True)]
    async with running(tmp_path, gateway) as again:
        assert (again.running, again.depot.versions()["model"]) == (SEVEN, 7)


async def test_what_was_settled_is_not_looked_at_again(tmp_path: Path) -> None:
    gateway = Gateway()
    entry = gateway.put("model", 7, SEVEN)
    wrong = {**entry, "sig": entry["sig"][:-8] + "AAAAAAA="}
    async with running(tmp_path, gateway) as rig:
        await rig.depot.desired({"bundles": []})
        await asyncio.sleep(0.02)
        assert rig.made == 1
        await rig.depot.desired({"bundles": [wrong]})
        await until(lambda: rig.events and not rig.depot.loaded)
        assert rig.events[0]["why"] == "signature"
        made = rig.made
        await rig.depot.desired({"bundles": [wrong]})  # as after every connect
        await asyncio.sleep(0.02)
        assert rig.made == made
        await rig.depot.desired({"bundles": [entry]})
        await until(lambda: rig.running == SEVEN)


async def test_a_bundle_on_trial_is_rolled_back(tmp_path: Path) -> None:
    gateway = Gateway()
    async with running(tmp_path, gateway) as rig:
        await rig.depot.desired({"bundles": [gateway.put("model", 7, SEVEN)]})
        await until(lambda: rig.running == SEVEN)
        rig.depot.bad()
        await until(lambda: not rig.depot.loaded)
        assert rig.running is None
        assert [e.get("why") for e in rig.events] == ["unhealthy"]


async def test_without_room_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depot.RETRY_S", 0.001)
    gateway = Gateway()
    async with running(tmp_path, gateway) as rig:
        rig.fails = 3
        await rig.depot.desired({"bundles": [gateway.put("model", 7, SEVEN)]})
        await until(lambda: rig.running == SEVEN)
        assert rig.fails == 0


async def test_a_heap_that_never_has_room_is_for_a_restart_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depot.RETRY_S", 0.001)
    gateway = Gateway()
    entry = gateway.put("model", 7, SEVEN)
    async with running(tmp_path, gateway) as rig:
        rig.fails = 1000
        await rig.depot.desired({"bundles": [entry]})
        await until(lambda: rig.fails <= 1000 - 9)
        assert rig.fails > 0
        await until(rig.depot.wants_reboot)
        assert rig.fails <= 1000 - 10
        rig.fails = 0  # as after a restart
        await until(lambda: rig.running == SEVEN)
        assert not rig.depot.wants_reboot()


async def test_while_the_gateway_is_away_the_code_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depot.RETRY_S", 0.02)
    gateway = Gateway()
    gateway.only = 1
    async with running(tmp_path, gateway) as rig:
        await rig.depot.desired({"bundles": [gateway.put("model", 7, SEVEN)]})
        await until(lambda: gateway.only == 0 and not rig.depot.loaded)
        assert rig.running is None
        gateway.only = 100
        await until(lambda: rig.running == SEVEN)
        assert [offset for _, _, offset, _ in gateway.asked] == [*range(0, 5500, 512)]
