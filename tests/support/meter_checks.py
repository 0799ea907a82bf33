"""What tests of whole meters do to a site, and what must hold of it in the end."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from tests.support.api import Api
from tests.support.exports import export_rows
from tests.support.gateway_stub import until
from tests.support.meter_site import WATTS, MeterSite
from tests.support.meter_watch import assert_never_falls, stored_windows

MINUTE_WH: Final = max(WATTS) / 60 * 1.05  # registers are saved each minute


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


def power_cut(site: MeterSite, name: str) -> None:
    """Cut a meter's power, bring it back, and wait until it measures again."""
    site.fleet.meters[name].kill()
    boots = len(site.watcher.bootns[name])
    site.fleet.meters[name].start()
    until(lambda: len(site.watcher.bootns[name]) > boots, within_s=120)
    site.watcher.measured(name)


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
