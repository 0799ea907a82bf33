"""Bundles: announced to whom they are for, handed out in pieces, their fate kept."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.adapters.memory_care import MemoryBundles
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.domain.meters import MeterInfo
from gateway.services.bundle_operations import bundle_operations
from gateway.services.ledger import Ledger, Meter
from gateway.services.rollout import ASKED_PER_METER, Rollout
from tests.gateway.services.site_rig import FakeNow

SIG = bytes(64)
BODY = bytes(range(256)) * 10  # 2560 bytes: two pieces


class Rig:
    """A rollout over memory; `sent` holds what meters were told."""

    def __init__(self, store: MemoryBundles | None = None) -> None:
        self.ledger = Ledger()
        for number, name in enumerate(("kitchen", "cellar")):
            self.ledger.meters[name] = Meter(number, MeterInfo(name))
        self.store = store or MemoryBundles()
        self.sent: list[tuple[str, str, dict[str, Any], bool]] = []
        self.told = asyncio.Event()
        self.now = FakeNow()
        self.rollout = Rollout(self.store, self._send, lambda: self.ledger, self.now)

    def _send(self, meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        self.sent.append((meter, tail, json.loads(payload), retain))
        self.told.set()
        return True

    async def publish(self, meter: str = "kitchen", version: int = 7, body: bytes = BODY) -> None:
        await self.rollout.publish("model", meter, version, body, SIG, by="ada")

    def desired(self, meter: str) -> list[int]:
        told = [body for name, tail, body, _ in self.sent if (name, tail) == (meter, "desired")]
        return [one["version"] for one in told[-1]["bundles"]] if told else []

    async def ask(self, offset: int, length: int, version: int = 7) -> dict[str, Any]:
        body = {"kind": "model", "version": version, "offset": offset, "length": length}
        known = len(self.sent)
        self.rollout.asked("kitchen", json.dumps(body).encode())
        self.told.clear()
        async with asyncio.timeout(5):
            await self.told.wait()
        assert len(self.sent) == known + 1
        return self.sent[-1][2]

    def state(self, meter: str = "kitchen") -> tuple[int, str, str]:
        one = self.rollout.progress(meter)[0]
        return one.version, one.state, one.why


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.rollout.run())
    await asyncio.sleep(0.01)
    yield rig
    task.cancel()


async def test_a_bundle_is_announced_retained_to_whom_it_is_for() -> None:
    rig = Rig()
    await rig.publish()
    meter, tail, body, retained = rig.sent[0]
    assert (meter, tail, retained) == ("kitchen", "desired", True)
    entry = body["bundles"][0]
    assert set(entry) == {"kind", "version", "size", "sha256", "sig"}
    assert (entry["size"], base64.b64decode(entry["sig"])) == (len(BODY), SIG)
    assert rig.desired("cellar") == []
    await rig.publish("*", 3)
    assert rig.desired("cellar") == [3]
    assert rig.desired("kitchen") == [7]  # of the same moment: its own
    rig.now.pass_s(1)
    await rig.publish("*", 4)
    assert rig.desired("kitchen") == [4]
    rig.ledger.meters["attic"] = Meter(9, MeterInfo("attic"))
    rig.rollout.stated("attic", {"online": True})
    assert rig.desired("attic") == [4]


async def test_pieces_ranges_and_what_there_is_not() -> None:
    async with running(Rig()) as rig:
        await rig.publish()
        first = await rig.ask(0, 2048)
        second = await rig.ask(2048, 2048)  # shorter at the end
        joined = base64.b64decode(first["data"]) + base64.b64decode(second["data"])
        assert joined == BODY
        assert rig.state() == (7, "fetching", "")
        for offset, length in ((2560, 1), (-1, 10), (0, 0), (0, 2049)):
            assert (await rig.ask(offset, length))["error"] == "range"
        assert await rig.ask(0, 10, version=8) == {
            "kind": "model",
            "version": 8,
            "error": "unknown",
        }
        rig.rollout.asked("kitchen", b"nonsense")
        await rig.ask(0, 10)


async def test_a_meter_that_asks_too_fast_is_answered_in_order_and_bounded() -> None:
    rig = Rig()
    await rig.publish()
    for _ in range(50):
        rig.rollout.asked("kitchen", b'{"kind":"model","version":7,"offset":0,"length":8}')
    async with running(rig):
        await asyncio.sleep(0.2)
    assert sum(tail == "bundle/chunk" for _, tail, _, _ in rig.sent) == ASKED_PER_METER


async def test_what_became_of_it_is_kept_over_a_restart() -> None:
    rig = Rig()
    told = {"kind": "model", "bundle": "model", "version": 7, "ok": False, "why": "hash"}
    async with running(rig):
        await rig.publish()
        rig.rollout.event("kitchen", {**told, "version": 6})  # an older one's
        assert rig.state() == (7, "announced", "")
        rig.rollout.event("kitchen", {**told, "detail": "x" * 999})
        rig.rollout.event("kitchen", {"kind": "clip"})
        await asyncio.sleep(0.05)
    again = Rig(rig.store)
    async with running(again):
        assert again.state() == (7, "refused", "hash")
        assert again.desired("kitchen") == [7]
        await again.publish()  # the same once more: the meter will not say it a second time
        assert again.state() == (7, "refused", "hash")
        again.rollout.event("kitchen", {**told, "ok": True, "why": ""})
        assert again.state() == (7, "running", "")


async def test_a_confirmation_that_was_lost_is_seen_in_the_state() -> None:
    rig = Rig()
    await rig.publish()
    rig.rollout.stated("kitchen", {"online": True, "model": 7})
    assert rig.state()[1] == "announced"  # it may be on trial
    rig.now.pass_s(400)
    rig.rollout.stated("kitchen", {"online": True, "model": 7})
    assert rig.state()[1] == "running"


async def test_a_new_connection_announces_everything_again() -> None:
    async with running(Rig()) as rig:
        await rig.publish()
        known = len(rig.sent)
        rig.rollout.linked()
        await asyncio.sleep(0.05)
        assert [one[:2] for one in rig.sent[known:]] == [("kitchen", "desired")]


async def test_what_no_meter_would_take_is_refused() -> None:
    rig = Rig()
    await rig.publish()
    publish = rig.rollout.publish
    for wrong, said in (
        (("model", "kitchen", 7, b"other", SIG), "another content"),
        (("model", "kitchen", 6, BODY, SIG), "above 7"),
        (("model", "kitchen", 8, b"x" * 8193, SIG), "1 to 8192"),
        (("model", "kitchen", 8, BODY, b"short"), "64 bytes"),
        (("poem", "kitchen", 8, BODY, SIG), "kind"),
        (("model", "kitchen", 0, BODY, SIG), "version"),
    ):
        with pytest.raises(BadInputError, match=said):
            await publish(*wrong, by="a")
    with pytest.raises(NotFoundError):
        await publish("model", "attic", 1, BODY, SIG, by="a")
    with pytest.raises(NotFoundError):
        await rig.rollout.want("model", "kitchen", 5)


async def test_the_operations() -> None:
    rig = Rig()
    noted: list[str] = []

    async def note(who: str, what: str, detail: str) -> None:
        noted.append(f"{who} {what} {detail}")

    offered = bundle_operations(rig.rollout, note, lambda sig, _: sig == b"\1" * 64)
    args: dict[str, object] = {"kind": "calibration", "meter": "kitchen", "version": 1}
    args |= {"body": base64.b64encode(b"{}").decode(), "sig": base64.b64encode(SIG).decode()}
    with pytest.raises(BadInputError, match="not by this site's key"):
        await offered["bundles.publish"](args, "ada")
    args["sig"] = base64.b64encode(b"\1" * 64).decode()
    assert (await offered["bundles.publish"](args, "ada"))["version"] == 1
    with pytest.raises(BadInputError, match="for one meter"):
        await offered["bundles.publish"]({**args, "meter": "*"}, "ada")
    with pytest.raises(BadInputError, match="body: must be base64"):
        await offered["bundles.publish"]({**args, "body": "ä"}, "ada")
    with pytest.raises(BadInputError, match="must be given"):
        await offered["bundles.want"]({"kind": "model"}, "ada")
    await offered["bundles.want"](args, "ada")
    listed = await offered["bundles.list"]({"meter": "kitchen"}, "ada")
    assert isinstance(listed["progress"], list)
    assert listed["progress"][0]["state"] == "announced"
    assert len(noted) == 2
