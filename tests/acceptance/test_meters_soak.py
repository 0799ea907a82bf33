"""Twenty meters for a quarter of an hour through kills and cuts of up to ten minutes."""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from simulation.canned import CannedChain
from simulation.virtual_meter import VirtualMeter
from tests.support.api import Api
from tests.support.chaos_proxy import Mode
from tests.support.exports import export_rows
from tests.support.firmware import needs_vm
from tests.support.meter_checks import assert_each_window_once, power_cut, told_why
from tests.support.meter_site import NAMES, MeterSite

pytestmark = [needs_vm, pytest.mark.soak, pytest.mark.timeout(3000)]

WAYS: Final = ("steady", "short", "middle", "long")
PER_WAY: Final = 5
# Three clamps' windows fill the ring in less: the rest of the cut is in the spool.
LONG_S: Final = 600.0
MIDDLE_S: Final = 180.0
SHORT_S: Final = (5.0, 40.0)
PAUSE_S: Final = 20.0  # between two kills
CALM_S: Final = 10.0


def cut(site: MeterSite, way: str, seconds: float, mode: Mode = Mode.BLACKHOLE) -> None:
    site.proxies[way].mode = mode
    time.sleep(seconds)
    site.proxies[way].mode = Mode.PASS


def short_cuts(site: MeterSite, until_s: float, rng: random.Random) -> None:
    """Cut the way again and again, in both ways a network goes."""
    while time.monotonic() < until_s:
        cut(site, "short", rng.uniform(*SHORT_S), rng.choice([Mode.BLACKHOLE, Mode.RESET]))
        time.sleep(rng.uniform(CALM_S, 2 * CALM_S))


def kills(site: MeterSite, until_s: float, cut_off: Sequence[str]) -> dict[str, int]:
    """Kill broker, daemon and a meter in turn; return how often each."""
    done = {"broker": 0, "daemon": 0, "meter": 0}
    while time.monotonic() < until_s:
        time.sleep(PAUSE_S)
        site.broker.kill_and_restart(down_s=2.0)
        done["broker"] += 1
        time.sleep(PAUSE_S)
        site.daemon.kill()
        time.sleep(2.0)
        site.daemon.start(within_s=120)
        done["daemon"] += 1
        time.sleep(PAUSE_S)
        power_cut(site, cut_off[done["meter"] % len(cut_off)])
        done["meter"] += 1
    return done


def open_alerts(site: MeterSite) -> list[dict[str, Any]]:
    with Api.logged_in(site.daemon) as api:
        return api.items("alerts", state="all")


def assert_spool_was_used(site: MeterSite, meter: VirtualMeter) -> None:
    """Fail unless a part of the meter's readings came as minutes from its flash."""
    rows = export_rows(site.daemon, meter.name)
    minutes = [row for row in rows if row["n"] > 1]
    assert sum(row["n"] for row in minutes) > 60, meter.log()
    assert all("spool" in row["flags"] for row in minutes)
    assert any(row["n"] == 1 for row in rows)


def add_all(site: MeterSite, groups: Mapping[str, Sequence[str]]) -> None:
    for way, group in groups.items():
        for k, name in enumerate(group):
            clamps = 3 if way == "long" else 1 + k % 3
            site.add(name, way=way, chain=CannedChain(len(site.fleet.meters), clamps=clamps))


def test_twenty_meters_through_kills_and_long_cuts(short_path: Path) -> None:
    rng = random.Random(20)
    groups = {way: [f"{way}-{k}" for k in range(PER_WAY)] for way in WAYS}
    names = [name for group in groups.values() for name in group]
    with MeterSite(short_path, names, ways=WAYS) as site, told_why(site):
        add_all(site, groups)
        began_s = time.monotonic()
        site.fleet.start()
        for name in names:
            site.watcher.measured(name)
        until_s = time.monotonic() + LONG_S
        cuts = [
            threading.Thread(target=work, args=arguments, daemon=True)
            for work, arguments in (
                (cut, (site, "long", LONG_S)),
                (cut, (site, "middle", MIDDLE_S)),
                (short_cuts, (site, until_s - SHORT_S[1], rng)),
            )
        ]
        for thread in cuts:
            thread.start()
        done = kills(site, until_s - PAUSE_S, groups["steady"])
        for thread in cuts:
            thread.join()
        mended_s = time.monotonic()
        for name in names:
            site.watcher.drained(name, within_s=300)
        drained_s = time.monotonic()
        counted = assert_each_window_once(site, channels=NAMES[:1], within_s=300)
        for name in groups["long"]:
            assert_spool_was_used(site, site.fleet.meters[name])
        for name in groups["long"] + groups["middle"] + groups["short"]:
            assert counted[name] > 0.97 * (drained_s - began_s) - 10, (name, counted)
        print(f"{done}, drained in {drained_s - mended_s:.0f} s: {counted}")  # noqa: T201
        told = open_alerts(site)
        assert {alert["kind"] for alert in told} <= {"meter_silent"}, told
        assert {alert["state"] for alert in told} <= {"resolved"}, told
        assert [meter.crashes for meter in site.fleet.meters.values()] == [[]] * len(names)
        assert "Traceback" not in site.daemon.log()
