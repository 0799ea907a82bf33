"""A muted kind still opens and is kept; it is marked, and hearing it again needs a word."""

import pytest

from gateway.adapters.memory_home import MemoryMutes
from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.muting import Muting
from tests.gateway.services.site_rig import Site


def finding(site: Site, channel: str = "grid", *, active: bool = True) -> Finding:
    key = ("home", channel, AlertKind.ANOMALY)
    return Finding(key, active=active, at_ms=site.now.wall, title="Odd", detail="Odd.", fresh=True)


async def muting_of(site: Site) -> Muting:
    await site.deriver.load()
    return Muting(MemoryMutes(), site.deriver.desk.mutes, site.deriver, site.now)


def stored(site: Site) -> list[tuple[str, str, int]]:
    return site.query("SELECT channel, state, muted FROM alerts ORDER BY channel")


async def test_open_alerts_are_muted_and_heard_again_at_once(site: Site) -> None:
    muting = await muting_of(site)
    await site.deriver.report([finding(site), finding(site, "solar")])
    made = await muting.add({"meter": "home", "channel": "grid", "kind": "anomaly"}, "ada")
    assert stored(site) == [("grid", "open", 1), ("solar", "open", 0)]
    assert '"muted":true' in site.query("SELECT body FROM outbox WHERE body LIKE '%grid%'")[0][0]
    said = site.query("SELECT who, what FROM alert_history WHERE what = 'muted'")
    assert said == [("ada", "muted")]
    assert (await muting.list_mutes({}, "ada"))["items"] == [made]
    await muting.remove({"id": made["id"]}, "ada")
    assert stored(site) == [("grid", "open", 0), ("solar", "open", 0)]
    assert (await muting.list_mutes({}, "ada"))["items"] == []


async def test_a_muted_kind_opens_marked_also_after_a_restart(site: Site) -> None:
    muting = await muting_of(site)
    await muting.add({"meter": "home", "kind": "anomaly"}, "ada")
    await site.deriver.report([finding(site)])
    await site.deriver.load()
    await site.deriver.report([finding(site, "solar")])
    assert stored(site) == [("grid", "open", 1), ("solar", "open", 1)]
    await site.deriver.report([finding(site, active=False)])
    assert stored(site)[0] == ("grid", "resolved", 1)


async def test_a_mute_ends_by_itself(site: Site) -> None:
    muting = await muting_of(site)
    until_ms = site.now.wall + 60_000
    await muting.add({"meter": "home", "kind": "anomaly", "until_ms": until_ms}, "ada")
    site.now.pass_s(61)
    await site.deriver.report([finding(site)])
    assert stored(site) == [("grid", "open", 0)]
    assert (await muting.list_mutes({}, "ada"))["items"] == []


@pytest.mark.parametrize(
    "args",
    [{"kind": "noise"}, {"kind": "anomaly", "until_ms": 5}, {"kind": "anomaly", "meter": ""},
     {"kind": "anomaly", "until_ms": True}],
)  # fmt: skip
async def test_nonsense_is_refused(site: Site, args: dict[str, object]) -> None:
    muting = await muting_of(site)
    with pytest.raises(BadInputError):
        await muting.add(args, "ada")
    with pytest.raises(NotFoundError):
        await muting.remove({"id": "m0"}, "ada")
