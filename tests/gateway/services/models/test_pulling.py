"""Pulling with the real client: the new is taken once, the wrong is told, time is judged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.adapters.model_tryout import ChildTryout
from gateway.domain.errors import BadInputError
from gateway.services.models.forms import PulledState
from gateway.services.models.ports import Offer
from tests.support.bad_models import METER, Flaw, bad_package, good_package
from tests.support.disks import TinyDisk
from tests.support.model_rig import ModelSite
from tests.support.registry_rig import LyingServer, RegistryRig
from tinymodels.detect.package import Package, pack
from tinymodels.registry.items import Item, item_of
from tinymodels.registry.sources import HttpSource

DAY_MS = 86_400_000


@pytest.fixture
def rig(tmp_path: Path) -> RegistryRig:
    return RegistryRig(tmp_path / "repository")


@pytest.fixture
async def site(tmp_path: Path, rig: RegistryRig) -> AsyncIterator[ModelSite]:
    made = ModelSite(tmp_path / "s.db")
    made.now.wall = rig.now_ms
    await made.load()
    yield made
    made.stop()


def item(package: Package, folder: Path) -> Item:
    """Return a package as the publisher's tools read it."""
    path = folder / package.name
    path.write_bytes(pack(package))
    return item_of(path)


async def test_a_new_model_is_pulled_once_and_goes_into_shadow(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(item(good_package(1), tmp_path), item(good_package(2), tmp_path))
    client = rig.client(tmp_path / "trusted")
    outcome = await site.pull(client)
    assert outcome.word == "pulled"
    assert outcome.new == ("stable/charts-kitchen-grid-2.wwm",)  # the newest alone
    assert (await site.pull(client)).word == "nothing new"
    (pulled,) = site.care.pulled.values()
    assert pulled.state is PulledState.COMPATIBLE
    assert pulled.unproven_ms is None
    await site.care.look()
    assert site.state(pulled) == "shadow"
    assert [what for what, _ in await site.told()] == ["verified", "compatible", "shadow"]
    site.stop()
    site.start()  # and after a restart all of it is known
    await site.load()
    assert (await site.pull(client)).word == "nothing new"
    assert site.state(pulled) == "shadow"


async def test_versions_must_rise_and_strangers_are_left_alone(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(item(good_package(5), tmp_path), item(good_package(1, meter="attic"), tmp_path))
    assert (await site.pull(rig.client(tmp_path / "t"))).new == (
        "stable/charts-kitchen-grid-5.wwm",
    )
    rig.publisher.withdraw("stable", "charts-kitchen-grid-5.wwm")
    rig.publish(item(good_package(4), tmp_path))  # signed well, and older than what was here
    assert (await site.pull(rig.client(tmp_path / "t"))).word == "nothing new"


async def test_what_must_not_be_believed_is_told_and_nothing_changes(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(item(good_package(1), tmp_path))
    with LyingServer(rig.root) as server:
        client = rig.client(tmp_path / "trusted", HttpSource(server.url))
        server.serve = lambda name, body: body[:-1] + b"X" if "targets/" in name else body
        outcome = await site.pull(client)
        assert outcome.word == "refused"
        assert outcome.detail.startswith("content")
        assert site.champion_judges
        assert not site.care.pulled
        (said,) = site.rejections()
        assert "its publisher must look at it" in said
        assert ("repository_refused", outcome.detail) in await site.told()
        server.status = 500
        assert (await site.pull(client)).word == "offline"
        assert len(site.rejections()) == 1  # being offline says nothing about it
        server.status = None
        server.serve = lambda _, body: body
        assert (await site.pull(client)).word == "pulled"
        assert site.rejections() == []


async def test_expired_and_full(site: ModelSite, rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(item(good_package(1), tmp_path))
    site.now.pass_s(31 * 86_400)
    outcome = await site.pull(rig.client(tmp_path / "trusted"))
    assert (outcome.word, outcome.detail[:7]) == ("refused", "expired")
    rig.pass_days(31)
    rig.publisher.renew()
    with TinyDisk(tmp_path / "small", 65_536) as disk:
        client = rig.client(disk.root / "trusted")
        ballast = disk.fill()
        outcome = await site.pull(client)
        assert outcome.word == "storage"
        assert "No space left" in outcome.detail
        assert site.champion_judges
        ballast.unlink()
        assert (await site.pull(client)).word == "pulled"


async def test_a_clock_that_is_not_trusted_takes_and_does_not_activate(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(item(good_package(1), tmp_path))
    client = rig.client(tmp_path / "trusted")
    for wrong_ms in (0, rig.now_ms + 3650 * DAY_MS):  # 1970, and ten years ahead
        site.now.wall, site.now.trust = wrong_ms, False
        outcome = await site.pull(client)
        assert outcome.word in ("pulled", "nothing new")
        assert "the clock is not trusted" in outcome.detail
    (pulled,) = site.care.pulled.values()
    assert pulled.unproven_ms is not None
    assert abs(pulled.unproven_ms - rig.now_ms - 30 * DAY_MS) < 1000
    site.now.wall, site.now.trust = rig.now_ms, True
    assert (await site.pull(client)).word == "nothing new"
    assert site.care.pulled[pulled.no].unproven_ms is None  # seen again, by a clock that is right


async def test_a_trusted_time_is_remembered_for_when_the_clock_is_wrong(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(item(good_package(1), tmp_path))
    frozen = rig.saved()
    assert (await site.pull(rig.client(tmp_path / "trusted"))).word == "pulled"
    site.now.pass_s(40 * 86_400)
    assert (await site.pull(rig.client(tmp_path / "trusted"))).word == "refused"
    site.now.wall, site.now.trust = 0, False  # a power cut: the clock begins in 1970
    rig.restore(frozen)
    outcome = await site.pull(rig.client(tmp_path / "fresh"))
    assert (outcome.word, outcome.detail[:7]) == ("refused", "expired")


async def test_what_the_power_cut_left_untried_is_tried(
    site: ModelSite, rig: RegistryRig, tmp_path: Path
) -> None:
    pulled = await site.add(good_package(1))
    verified = replace(pulled, state=PulledState.VERIFIED)
    await site.store.change([], pulled=verified)
    site.stop()
    site.start()
    await site.load()
    await site.care.look()
    assert not site.trials()
    await site.pull(rig.client(tmp_path / "t"))
    await site.care.look()
    assert site.state(pulled) == "shadow"


async def test_a_defect_in_pulling_stops_nothing_else(site: ModelSite) -> None:
    class Broken:
        def offers(self, at_ms: int) -> list[Offer]:
            raise ZeroDivisionError(at_ms)

        def fetch(self, offer: Offer) -> bytes:
            raise AssertionError(offer)

    outcome = await site.pull(Broken())
    assert outcome.word == "failed"
    assert "ZeroDivisionError" in outcome.detail


async def test_without_a_repository_or_its_root(site: ModelSite) -> None:
    pulling = site.pulling(None)  # type: ignore[arg-type]
    pulling._open = None  # noqa: SLF001 - as the wiring leaves it
    with pytest.raises(BadInputError, match=r"models\.repository: not set"):
        await pulling.pull()


async def test_models_are_tried_in_a_process_of_their_own() -> None:
    tryout = ChildTryout()
    good = await tryout(pack(good_package(1)))
    assert good.why == ""
    assert good.step_us is not None
    assert 5 < good.step_us < 20_000
    cut = await tryout(pack(good_package(1))[:-1])
    assert "checksum" in cut.why
    told = await tryout(pack(bad_package(Flaw.TOLD_ORDER)))
    assert "another order" in told.why
    nan = await tryout(pack(bad_package(Flaw.NAN)))
    assert nan.why
    hurried = await ChildTryout(longest_s=0.01)(pack(good_package(1, meter=METER)))
    assert "time-out" in hurried.why
