"""A meter of three clamps lives in 160 kB of the VM's heap, whatever happens to it."""

from pathlib import Path

import pytest

from bench.firmware import HOUR, HOURS, LIMITS, run
from tests.support.firmware import FIRMWARE, needs_vm
from tests.support.memory_rig import GAUGE_WINDOWS, MemorySite
from tools.link_firmware import build

pytestmark = needs_vm
HEAP = "160K"
MINUTE = 60  # windows
PIECES = 1024  # bytes


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the linked firmware for the VM."""
    place = tmp_path_factory.mktemp("linked")
    build(FIRMWARE, place, ["vm"])
    return place / "vm"


@pytest.mark.timeout(300)
def test_ten_minutes_with_an_outage_a_command_and_a_bundle(tmp_path: Path, linked: Path) -> None:
    """The heap is in pieces of a kilobyte from the first minute on, as none ever was by itself."""
    with MemorySite(tmp_path, linked, HEAP, 30 * MINUTE, PIECES) as site:
        site.until_window(MINUTE)
        site.outage(4 * MINUTE)
        report = site.command()
        site.bundle()
        site.until_window(10 * MINUTE)
        measured = site.drained()
        log = site.meter.log()
        assert site.memory_errors == set(), log
        assert site.meter.boots == 1, log
        assert "failed" not in log
    assert sum(site.gateway.stored.values()) >= measured >= 10 * MINUTE
    assert site.gateway.minutes, "the outage's minutes came from the flash"
    assert report["versions"] == {"calibration": 0, "firmware": 10_000, "model": 0}
    line = site.lines[2 * GAUGE_WINDOWS]
    assert 0 < line.median_us <= line.p99_us
    assert line.largest < 2 * PIECES
    assert min(line.lowest for line in site.lines.values()) > 4096


def test_a_flash_that_refuses_is_told(tmp_path: Path, linked: Path) -> None:
    site = MemorySite(tmp_path, linked, HEAP, 10 * MINUTE)
    for letter in "ab":  # no file can be opened there
        (site.meter.directory / "root" / f"registers.{letter}").mkdir(parents=True)
    with site:
        [told] = site.events(what="flash")
        assert (told["kind"], told["refused"] > 0) == ("anomaly", True)
        site.until_window(4 * MINUTE)
        lost = site.command()["lost"]
        assert lost.pop("registers") >= 3
        assert set(lost.values()) == {0}
        assert site.events(what="flash") == [told], "said once while it lasts"


@pytest.mark.soak
@pytest.mark.timeout(10_000)
def test_a_day_without_growth(tmp_path: Path, linked: Path) -> None:
    with MemorySite(tmp_path, linked, HEAP, HOURS * HOUR) as site:
        found = run(site, HOURS)
        assert site.memory_errors == set()
    failed = {
        limit.figure: found[limit.figure] for limit in LIMITS if not limit.met(found[limit.figure])
    }
    assert not failed, found
