"""Bundles of the repository go to one meter, to a quarter, to all; and back when one refuses."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.memory_care import MemoryBundles
from gateway.domain.alerts import AlertKind, Finding
from gateway.services.models.forms import Pulled, PulledState
from gateway.services.models.waves import Waves
from gateway.services.rollout import Rollout
from tests.gateway.services.site_rig import window
from tests.support.model_rig import ModelSite

SIG = base64.b64encode(bytes(64)).decode()
METERS = [f"m{number:02d}" for number in range(8)]
HEALTHY_S = 3600.0


class Town:
    """Eight meters that answer as the test says."""

    def __init__(self, site: ModelSite, bundles: MemoryBundles) -> None:
        self.site = site
        self.online = set(METERS)
        self.desired: dict[str, list[int]] = {}
        self.rollout = Rollout(bundles, self._send, lambda: site.site.ledger, site.now)
        self.waves = Waves(
            site.store, self.rollout, site.deriver, site.now, ledger=lambda: site.site.ledger,
            online=self.online.__contains__, healthy_s=HEALTHY_S,
        )  # fmt: skip

    def _send(self, meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        if tail == "desired" and retain:
            told: Any = json.loads(payload)
            self.desired[meter] = [one["version"] for one in told["bundles"]]
        return True

    async def publish(self, version: int, meter: str = "*") -> str:
        pulled = Pulled(
            version, f"stable/device/pooled-{version}.bin", "0" * 64, "device", "model", meter, "",
            version, {"sig": SIG}, 0, None, PulledState.VERIFIED,
        )  # fmt: skip
        return await self.waves.hand_out(pulled, b"model %d" % version)

    def wanting(self, version: int) -> list[str]:
        """Return the meters that shall run a version."""
        return sorted(m for m, versions in self.desired.items() if versions == [version])

    def confirm(self, version: int, meters: list[str], *, ok: bool = True, why: str = "") -> None:
        for meter in meters:
            told = {"kind": "model", "bundle": "model", "version": version, "ok": ok, "why": why}
            self.rollout.event(meter, told)

    async def pass_s(self, seconds: float) -> None:
        await self.waves.look()
        self.site.now.pass_s(seconds)
        await self.waves.look()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ModelSite]:
    made = ModelSite(tmp_path / "s.db")
    for meter in METERS:
        made.site.send(window(0), meter)
    await made.deriver.load()
    yield made
    made.stop()


@pytest.fixture
def town(site: ModelSite) -> Town:
    return Town(site, MemoryBundles())


async def test_one_then_a_quarter_then_all(town: Town) -> None:
    assert await town.publish(7) == ""
    assert town.wanting(7) == ["m00"]
    await town.pass_s(2 * HEALTHY_S)
    assert town.wanting(7) == ["m00"]  # it has not confirmed
    town.confirm(7, ["m00"])
    await town.pass_s(0.5 * HEALTHY_S)
    assert town.wanting(7) == ["m00"]
    await town.pass_s(0.6 * HEALTHY_S)
    assert town.wanting(7) == ["m00", "m01"]
    town.confirm(7, ["m01"])
    await town.pass_s(1.1 * HEALTHY_S)
    assert town.wanting(7) == METERS
    assert town.waves.waves["model"].state == "rolling"
    town.confirm(7, METERS)
    await town.pass_s(1.1 * HEALTHY_S)
    assert town.waves.waves["model"].state == "done"
    assert town.wanting(7) == METERS
    assert [what for what, _ in await town.site.told()] == [
        "bundle_wave", "bundle_wave", "bundle_wave", "bundle_for_all",
    ]  # fmt: skip


async def test_a_meter_that_refuses_takes_it_back_from_all_who_tried(town: Town) -> None:
    await town.rollout.publish("model", "*", 6, b"six", bytes(64), by="ada")
    town.confirm(6, METERS)
    town.site.now.pass_s(10)
    await town.publish(7)
    town.confirm(7, ["m00"])
    await town.pass_s(1.1 * HEALTHY_S)
    assert town.wanting(7) == ["m00", "m01"]
    town.confirm(7, ["m01"], ok=False, why="selftest")
    await town.waves.look()
    assert town.wanting(6) == METERS
    wave = town.waves.waves["model"]
    assert (wave.state, wave.why) == ("failed", "m01 refused it: selftest")
    (said,) = town.site.rejections()
    assert "taken back" in said
    await town.pass_s(5 * HEALTHY_S)
    assert town.wanting(6) == METERS
    town.site.now.pass_s(10)
    await town.publish(8)
    assert town.wanting(8) == ["m00"]


async def test_silent_and_absent_meters_hold_a_wave_up(town: Town) -> None:
    town.online.remove("m00")
    await town.publish(7)
    assert town.wanting(7) == ["m01"]  # one that is there
    town.confirm(7, ["m01"])
    key = ("m01", "", AlertKind.METER_SILENT)
    now_ms = town.site.now.wall_ms()
    await town.site.deriver.report([Finding(key, active=True, at_ms=now_ms)])
    await town.pass_s(3 * HEALTHY_S)
    assert town.wanting(7) == ["m01"]
    await town.site.deriver.report([Finding(key, active=False, at_ms=now_ms + 1)])
    await town.pass_s(1.1 * HEALTHY_S)
    assert town.wanting(7) == ["m01", "m02"]


async def test_a_restart_goes_on_where_it_was(town: Town) -> None:
    await town.publish(7)
    town.confirm(7, ["m00"])
    await town.pass_s(1.1 * HEALTHY_S)
    store = town.rollout._store  # noqa: SLF001 - the same disk
    assert isinstance(store, MemoryBundles)
    again = Town(town.site, store)
    await again.waves.load()
    assert again.wanting(7) == ["m00", "m01"]
    assert again.waves.waves["model"].stage == 1


async def test_one_for_a_single_meter_goes_there_at_once(town: Town) -> None:
    assert await town.publish(3, "m05") == ""
    assert town.wanting(3) == ["m05"]
    assert town.waves.waves == {}
    assert "must be above 3" in await town.publish(2, "m05")
