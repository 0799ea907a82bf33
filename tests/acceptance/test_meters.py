"""Meters that run the real firmware, by TLS to the shipped broker: every window is stored once."""

import threading
from pathlib import Path
from typing import Final

import pytest

from simulation.canned import CannedChain
from tests.support.chaos_proxy import Mode
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_checks import alerts, assert_each_window_once, power_cut, told_why
from tests.support.meter_site import MeterSite

pytestmark = needs_vm

NOTICED: Final = ("no acknowledgement for", "nothing could be sent")


def cut_until_noticed(site: MeterSite, way: str, names: list[str]) -> None:
    """Let nothing pass on a way until its meters have given the connection up."""
    site.proxies[way].mode = Mode.BLACKHOLE
    for name in names:
        log = site.fleet.meters[name].log
        until(lambda log=log: any(sign in log() for sign in NOTICED), within_s=60)  # type: ignore[misc]
    site.proxies[way].mode = Mode.PASS


@pytest.mark.soak
def test_four_meters_through_kills_and_a_cut(short_path: Path) -> None:
    near, far = ["kitchen", "garage"], ["cellar", "attic"]
    with MeterSite(short_path, [*near, *far], ways=("near", "far")) as site, told_why(site):
        for number, name in enumerate([*near, *far]):
            chain = CannedChain(number, clamps=1 + number % 3)
            site.add(name, way="near" if name in near else "far", chain=chain)
        site.fleet.start()
        for name in site.meters:
            site.watcher.measured(name)
        cut = threading.Thread(target=cut_until_noticed, args=(site, "far", far), daemon=True)
        cut.start()
        site.daemon.kill()
        site.daemon.start()
        site.watcher.drained("garage", within_s=30)
        power_cut(site, "garage")
        cut.join(timeout=60)
        assert not cut.is_alive()
        site.broker.kill_and_restart(down_s=1.0)
        counted = assert_each_window_once(site)
        assert all(15 < windows < 300 for windows in counted.values()), counted
        assert len(site.watcher.bootns["garage"]) == 2
        assert alerts(site) == []
        assert [meter.crashes for meter in site.fleet.meters.values()] == [[]] * 4
        assert "Traceback" not in site.daemon.log()
