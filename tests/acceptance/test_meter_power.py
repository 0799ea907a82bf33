"""A meter loses its power at any moment: what it counted, saved and numbered outlives that."""

import itertools
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from simulation.canned import CannedChain
from simulation.chain import Codes, Ticks
from simulation.fleet import FlashImage, Setup, change
from simulation.sources import Source
from tests.support.chaos_proxy import Mode
from tests.support.exports import Row, export_rows
from tests.support.firmware import needs_vm
from tests.support.flash_reader import OnFlash, read_flash
from tests.support.meter_checks import told_why
from tests.support.meter_site import WATTS, MeterSite
from tests.support.meter_watch import assert_never_falls, spans_of

pytestmark = needs_vm

METER: Final = "kitchen"
SPEED: Final = 60.0  # a minute in a second
FLASH_BYTES: Final = 1 << 19
START_AGO_MS: Final = 6 * 3_600_000  # its clock is right and behind ours, all the time
MINUTE_S: Final = 60.0
# The window in progress, and rounding of when a power cut hits.
SLACK_S: Final = 3.0
ACK_WAIT_S: Final = 10.0  # at boot without a broker, before it measures


class ClockedChain(CannedChain):
    """Notes on the source's axis, in s, from when to when a boot was sampled."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.first_s: float | None = None
        self.last_s = 0.0

    def codes(self, source: Source, start_s: float, frames: int) -> tuple[Ticks, Codes]:
        """See Chain."""
        if self.first_s is None:
            self.first_s = start_s
        self.last_s = start_s + frames * self.frame_us * 1e-6
        return super().codes(source, start_s, frames)

    def take_s(self) -> float:
        """Return how long this boot was sampled, and begin anew."""
        length_s = self.last_s - self.first_s if self.first_s is not None else 0.0
        self.first_s = None
        return length_s


@dataclass
class Lives:
    """One meter's lives between power cuts, and what each left on its flash."""

    site: MeterSite
    chain: ClockedChain
    base_ms: int
    sampled_s: dict[int, float] = field(default_factory=lambda: defaultdict(float))  # by bootn
    cuts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    flash: list[OnFlash] = field(default_factory=lambda: [OnFlash(0, 0, [])])

    @property
    def meter_dir(self) -> Path:
        return self.site.fleet.meters[METER].directory

    def start(self) -> None:
        served_ms = self.site.fleet.supply.meter(METER).served_us // 1000
        meter = self.site.fleet.meters[METER]
        change(meter, start_unix_ms=self.base_ms + served_ms)
        meter.start()

    def cut(self) -> None:
        """Cut the power; note what was measured and what lies on the flash."""
        self.site.fleet.meters[METER].kill()
        before, now = self.flash[-1], read_flash(self.meter_dir, FLASH_BYTES)
        length_s = self.chain.take_s()
        assert now.bootn - before.bootn in {0, 1}, "a boot counts itself once"
        assert now.bootn > before.bootn or not length_s, "nothing is measured before that"
        assert now.mwh >= before.mwh, "the register on flash fell"
        self.sampled_s[now.bootn] += length_s
        self.cuts[now.bootn] += 1
        self.flash.append(now)


def live(lives: Lives, rng: random.Random, kind: str) -> None:
    """Let the meter live for a while in one of three ways, and cut its power."""
    proxy = lives.site.proxies["lan"]
    if kind == "offline":
        proxy.mode = Mode.RESET
    lives.start()
    time.sleep(rng.uniform(0.1, 3.0))  # any moment: also while it boots
    if kind == "offline":
        time.sleep(ACK_WAIT_S)
    elif kind == "cut off":
        lives.site.watcher.measured(METER)
        proxy.mode = Mode.RESET
        time.sleep(rng.uniform(2.2, 3.2))  # what waits for over a minute is saved
    lives.cut()
    proxy.mode = Mode.PASS


def assert_spool_intact(lives: Lives, rows: list[Row]) -> None:
    """Fail unless what was on flash at a power cut is stored, and no window is stored twice."""
    stored: dict[int, set[int]] = defaultdict(set)
    for boot, first, last in spans_of(rows):
        windows = set(range(first, last + 1))
        assert not windows & stored[boot], (boot, first, last)
        stored[boot] |= windows
    for left in lives.flash:
        for boot, first, last in left.spool:
            assert stored[boot].issuperset(range(first, last + 1)), (boot, first, last)
    for boot, windows in stored.items():
        # Only what was in RAM alone is lost with the power: live windows overtake the backlog.
        assert max(windows) + 1 - len(windows) <= 2 * MINUTE_S, boot


def assert_energy_kept(lives: Lives, rows: list[Row]) -> list[float]:
    """Fail unless each power cut costs a minute of energy at most; return what each cost, s.

    Energy is told in seconds of the steady load, as the meter itself reads it.
    """
    bootns = lives.site.watcher.bootns[METER]
    power_w = sum(row["p"] * row["dt"] for row in rows) / sum(row["dt"] for row in rows)
    # A process that gets no CPU for a moment makes a longer window of it, at this speed.
    longest_s = max(row["dt"] / row["n"] for row in rows) / 1000
    begun_s: dict[int, float] = {}
    for row in sorted(rows, key=lambda row: (bootns[row["boot"]], row["seq"])):
        at_s = row["wh_in"] * 3600 / power_w
        begun_s.setdefault(
            bootns[row["boot"]], at_s - row["dt"] / 1000 * (row["seq"] + 1) / row["n"]
        )
    lost_s = []
    for before, after in itertools.pairwise(sorted(begun_s)):
        between = range(before, after)
        gained_s = begun_s[after] - begun_s[before]
        cost_s = sum(lives.sampled_s[bootn] for bootn in between) - gained_s
        cuts = sum(lives.cuts[bootn] for bootn in between)
        # Uncalibrated, a window's length and the sampled time differ by parts in a thousand.
        slack_s = cuts * (SLACK_S + longest_s) + 0.01 * gained_s
        assert -slack_s <= cost_s <= cuts * MINUTE_S + slack_s, (before, after, cost_s)
        lost_s.append(cost_s)
    return lost_s


def cut_power(short_path: Path, kinds: list[str], seed: int) -> None:
    """Let a meter live and die in these ways, then drain it and look at all it left."""
    rng = random.Random(seed)
    base_ms = int(time.time() * 1000) - START_AGO_MS
    with MeterSite(short_path, [METER]) as site, told_why(site):
        chain = ClockedChain(seed)
        setup = Setup(config={}, speed=SPEED, flash=FlashImage(FLASH_BYTES), start_unix_ms=base_ms)
        site.add(METER, chain=chain, setup=setup)
        lives = Lives(site, chain, base_ms)
        for kind in kinds:
            live(lives, rng, kind)
        lives.start()
        site.watcher.measured(METER, more=3)
        site.watcher.drained(METER, within_s=120, most=200)
        rows = export_rows(site.daemon, METER)
        assert_spool_intact(lives, rows)
        lost_s = assert_energy_kept(lives, rows)
        spooled = sum(row["n"] for row in rows if "spool" in row["flags"])
        print(f"{len(rows)} rows, windows of the spool {spooled}, lost s {sorted(lost_s)}")  # noqa: T201
        assert spooled > 0
        assert site.fleet.meters[METER].crashes == []
        bootns = site.watcher.bootns[METER]
        assert len(set(bootns.values())) == len(bootns)
        assert_never_falls(rows, bootns, "wh_in", within_wh=WATTS[0] / 60 * 1.05)


def test_five_power_cuts(short_path: Path) -> None:
    cut_power(short_path, ["online", "cut off", "online", "cut off", "online"], seed=5)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_fifty_power_cuts(short_path: Path) -> None:
    kinds = ["online", "cut off", "online", "cut off", "offline"] * 10
    cut_power(short_path, kinds, seed=50)
