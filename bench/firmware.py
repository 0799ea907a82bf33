"""A meter of three clamps for 24 simulated hours in 160 kB of heap: memory, time, nothing lost.

The linked firmware in the MicroPython VM, as fast as it runs, against a real broker and a gateway
that acks at once. In the first hour, and twice later: an outage, a command, a model bundle.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from bench.common import Figures, Limit, Result, finish, progress, work_directory
from tests.support.memory_rig import CHANNELS, Line, MemorySite
from tools.compile_firmware import FIRMWARE
from tools.link_firmware import build

HOUR = 3600  # windows
HOURS = 24
QUICK_HOURS = 1
ROUNDS_H = (0.2, 5.0, 18.0)  # when outage, command and bundle come
OUTAGE_WINDOWS = 900
LIMITS = (
    Limit("memory_errors", "max", 0),
    Limit("restarts", "max", 0),
    Limit("missing_windows", "max", 0),
    Limit("growth_bytes", "max", 1024),
    # Far more free than before says that something is gone that was taken for good.
    Limit("gain_bytes", "max", 8192),
    Limit("lowest_free_bytes", "min", 4096),
)


def run(site: MemorySite, hours: int, rounds_h: Sequence[float] = ROUNDS_H) -> Figures:
    """Run the hours and return what they took."""
    began_s = time.monotonic()
    for hour in range(1, hours + 1):
        for at in rounds_h:
            if hour - 1 <= at < hour:
                site.until_window(int(at * HOUR))
                happenings(site)
        site.until_window(hour * HOUR)
        tell(site, hour)
    took_s = time.monotonic() - began_s
    measured = site.drained()
    return figures(site, measured, hours, took_s)


def happenings(site: MemorySite) -> None:
    """Let everything rare happen, one after the other."""
    site.outage(OUTAGE_WINDOWS)
    progress(f"after the outage: window {site.follow()}")
    site.command()  # while the backlog is sent
    progress(f"after the command: window {site.follow()}")
    site.bundle()
    progress(f"after the bundle: window {site.follow()}")


def hour_of(site: MemorySite, hour: int) -> list[Line]:
    """Return the gauge's lines of an hour, counted from 1."""
    lines = site.lines.items()
    return [line for at, line in sorted(lines) if (hour - 1) * HOUR < at <= hour * HOUR]


def tell(site: MemorySite, hour: int) -> None:
    """Print one simulated hour."""
    lines = hour_of(site, hour)
    median = statistics.median(line.median_us for line in lines) / 1000
    worst = max(line.p99_us for line in lines) / 1000
    free = statistics.median(line.free for line in lines)
    lowest, largest = min(line.lowest for line in lines), min(line.largest for line in lines)
    progress(
        f"hour {hour}: {free:g} bytes free, {lowest} at the least, {largest} in one piece; besides"
        f" sampling {median:g} ms a window, 99th percentile {worst:g} ms"
    )


def figures(site: MemorySite, measured: int, hours: int, took_s: float) -> Figures:
    """Return the figures of a run."""
    lines = list(site.lines.values())
    # What is on its way comes and goes by three kilobytes, and stays longer on a slow machine: the
    # hours' best moments, when nothing was. What is lost for good is missing from these too.
    early = max(line.free for line in hour_of(site, min(2, hours)))
    late = max(line.free for line in hour_of(site, hours))
    return {
        "memory_errors": len(site.memory_errors),
        "restarts": len(site.meter.crashes) + site.meter.boots - 1,
        "missing_windows": max(measured - sum(site.gateway.stored.values()), 0),
        "growth_bytes": early - late,
        "gain_bytes": late - early,
        "free_bytes_hour_2": early,
        "free_bytes_last_hour": late,
        "lowest_free_bytes": min(line.lowest for line in lines),
        "largest_free_piece_bytes": statistics.median(
            line.largest for line in hour_of(site, hours)
        ),
        "busy_ms_median": statistics.median(line.median_us for line in lines) / 1000,
        "busy_ms_p99": statistics.median(line.p99_us for line in lines) / 1000,
        "windows": measured,
        "minutes_from_flash": site.gateway.minutes,
        "windows_per_s": measured / took_s,
    }


def main() -> int:
    """Run the day (one simulated hour with --quick) and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one simulated hour")
    parser.add_argument("--hours", type=int, help=f"simulated (default {HOURS})")
    parser.add_argument(
        "--rounds", type=float, nargs="+", default=ROUNDS_H, metavar="HOUR",
        help="when outage, command and bundle come",
    )  # fmt: skip
    parser.add_argument("--heap", default="160K", help="of the VM (default 160K)")
    args = parser.parse_args()
    hours = args.hours or (QUICK_HOURS if args.quick else HOURS)
    with work_directory() as place:
        build(FIRMWARE, place / "firmware", ("vm",))
        with MemorySite(place, place / "firmware" / "vm", args.heap, hours * HOUR) as site:
            try:
                found = run(site, hours, args.rounds)
            except AssertionError:
                progress(site.meter.log()[-30_000:])
                raise
            for line in sorted(site.memory_errors):
                progress(line)
    settings: dict[str, str | int | float] = {"heap": args.heap, "clamps": len(CHANNELS)}
    return finish(Result("firmware", found, LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())
