"""Meters that run the real firmware, by TLS to the shipped broker: every window is stored once."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from simulation.canned import CannedChain
from tests.support.api import Api
from tests.support.chaos_proxy import Mode
from tests.support.exports import export_rows
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import WATTS, MeterSite
from tests.support.meter_watch import assert_never_falls, stored_windows

pytestmark = needs_vm

MINUTE_WH: Final = max(WATTS) / 60 * 1.05  # registers are saved each minute
NOTICED: Final = ("no acknowledgement for", "nothing could be sent")


@contextmanager
def told_why(site: MeterSite) -> Iterator[None]:
    """Print what all processes said last when a test fails."""
    try:
        yield
    except BaseException:
        print(site.logs())  # noqa: T201 - why it failed
        raise


def alerts(site: MeterSite) -> list[tuple[str, str, str]]:
    """Return (meter, kind, title) of every alert there ever was."""
    with Api.logged_in(site.daemon) as api:
        found = api.items("alerts", state="all")
    return [(alert["meter"], alert["kind"], alert["title"]) for alert in found]


def restart_daemon(site: MeterSite) -> None:
    site.daemon.kill()
    site.daemon.start()


def power_cut(site: MeterSite, name: str) -> None:
    """Cut a meter's power, bring it back, and wait until it measures again."""
    site.fleet.meters[name].kill()
    boots = len(site.watcher.bootns[name])
    site.fleet.meters[name].start()
    until(lambda: len(site.watcher.bootns[name]) > boots, within_s=30)
    site.watcher.measured(name)


def cut_until_noticed(site: MeterSite, way: str, names: list[str]) -> None:
    """Let nothing pass on a way until its meters have given the connection up."""
    site.proxies[way].mode = Mode.BLACKHOLE
    for name in names:
        log = site.fleet.meters[name].log
        until(lambda log=log: any(sign in log() for sign in NOTICED), within_s=60)  # type: ignore[misc]
    site.proxies[way].mode = Mode.PASS


def assert_each_window_once(
    site: MeterSite, *, channels: Sequence[str] = ("grid",), within_s: float = 60.0
) -> dict[str, int]:
    """Drain every meter, then compare what it says with the database; return windows stored."""

    def check(name: str) -> int:
        boot, covered = site.watcher.drained(name, within_s=within_s)
        bootns = dict(site.watcher.bootns[name])
        heard = list(site.watcher.heard[name])
        for channel in channels:
            rows = export_rows(site.daemon, name, channel)
            windows = stored_windows(rows)
            assert windows[boot] >= covered > 0, name
            assert set(windows) == set(bootns), name
            for field in ("wh_in", "wh_out"):
                assert_never_falls(rows, bootns, field, within_wh=MINUTE_WH)
        # What went over the wire is there, whoever was killed after it.
        for span in (reading.span for reading in heard):
            assert span[0] == boot or span[2] < windows[span[0]], (name, span, windows)
        return sum(windows.values())

    with ThreadPoolExecutor(2) as pool:
        counted = dict(zip(site.fleet.meters, pool.map(check, site.fleet.meters), strict=True))
    assert [told for told in site.watcher.events if told[1]["kind"] == "dropped"] == []
    return counted


def test_four_meters_through_kills_and_a_cut(short_path: Path) -> None:
    near, far = ["kitchen", "garage"], ["cellar", "attic"]
    with MeterSite(short_path, [*near, *far], ways=("near", "far")) as site, told_why(site):
        for number, name in enumerate([*near, *far]):
            chain = CannedChain(number, clamps=1 + number % 3)
            site.add(name, way="near" if name in near else "far", chain=chain)
        site.fleet.start()
        for name in site.meters:
            site.watcher.measured(name)
        cut = threading.Thread(target=cut_until_noticed, args=(site, "far", far))
        cut.start()
        restart_daemon(site)
        site.watcher.drained("garage", within_s=30)
        power_cut(site, "garage")
        cut.join(timeout=60)
        assert not cut.is_alive()
        site.broker.kill_and_restart(down_s=1.0)
        counted = assert_each_window_once(site)
        assert all(15 < windows < 100 for windows in counted.values()), counted
        assert len(site.watcher.bootns["garage"]) == 2
        assert alerts(site) == []
        assert [meter.crashes for meter in site.fleet.meters.values()] == [[]] * 4
        assert "Traceback" not in site.daemon.log()
