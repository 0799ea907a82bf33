"""Thirty days of four meters, one after the other as fast as they are taken: how memory grows.

Each meter (a house with panels or a flat) tells a window every ten seconds; a day of all of them
is sent, acknowledged and judged before the next. The meters' clocks are those days', so that
rollups close, models are fitted and old readings go as in a real month. The figure is by how much
the daemon's resident memory grows from the tenth day on: before, models are fitted for the first
time, and buffers reach their size.
"""

import argparse
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Final

from bench.common import (
    MEGABYTE,
    Figures,
    Limit,
    Result,
    cpu_seconds,
    finish,
    peak_rss_mb,
    progress,
    work_directory,
)
from bench.ingest import wait_at_rest
from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.solar_home import DAY_MS, LARGEST_GROUP, SolarHome, volts_at

DAYS: Final = 30
SETTLED: Final = 10  # days
QUICK_DAYS: Final = 4
METERS: Final = ("house", "villa", "flat", "attic")
WINDOW_MS: Final = 10_000
LIMITS: Final = (Limit("rss_growth_mb", "max", 5), Limit("peak_rss_mb", "max", 120))


class Source:
    """One meter that tells of one day after the other."""

    def __init__(self, name: str, number: int, port: int) -> None:
        self.client = MeterClient(name, port, array=LARGEST_GROUP, window=20_000)
        self._home = SolarHome(solar=number < len(METERS) // 2, seed=number)
        self._seq = 0

    def day(self, begin_ms: int) -> None:
        """Send the windows of a day."""
        ends = range(begin_ms + WINDOW_MS, begin_ms + DAY_MS + 1, WINDOW_MS)
        self.client.send(self._window(end_ms) for end_ms in ends)

    def _window(self, end_ms: int) -> dict[str, object]:
        seq, self._seq = self._seq, self._seq + 1
        return self._home.window(self.client.boot, seq, end_ms, WINDOW_MS, volts_at(end_ms))


def play(place: Path, broker: Mosquitto, days: int) -> Figures:
    """Send the days; return what the daemon's memory was after them."""
    begin_ms = int(time.time() * 1000) // DAY_MS * DAY_MS - days * DAY_MS
    rss_mb: list[float] = []
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(place / "month", mqtt_port=broker.port))
        sources = [Source(name, number, broker.port) for number, name in enumerate(METERS)]
        for source in sources:
            stack.enter_context(source.client)
        began_s, used_s = time.monotonic(), cpu_seconds(daemon.process)
        for day in range(days):
            for source in sources:
                source.day(begin_ms + day * DAY_MS)
            for source in sources:
                source.client.wait_covered(within_s=120)
            wait_at_rest(daemon.process)
            rss_mb.append(daemon.rss_bytes() / MEGABYTE)
            progress(f"day {day + 1}: {rss_mb[-1]:.1f} MB")
        took_s, used_s = time.monotonic() - began_s, cpu_seconds(daemon.process) - used_s
        peak_mb = peak_rss_mb(daemon.process.pid)
        stored = _stored(daemon.database)
    settled = min(SETTLED, days - 1)
    return {
        "days": days,
        "readings": stored,
        "took_s": took_s,
        "cpu_s_per_10k": used_s / stored * 10_000,
        "rss_first_day_mb": rss_mb[0],
        "rss_settled_mb": rss_mb[settled - 1],
        "rss_last_days_mb": median(rss_mb[-3:]),
        "rss_growth_mb": median(rss_mb[-3:]) - rss_mb[settled - 1],
        "peak_rss_mb": peak_mb,
    }


def _stored(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT max(row) FROM readings").fetchone()[0])


def main() -> int:
    """Play the month and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DAYS} days")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how many ({DAYS})")
    args = parser.parse_args()
    days = QUICK_DAYS if args.quick else args.days
    options = {"max_inflight_messages": 2000}
    with work_directory() as place, Mosquitto(place / "mosquitto", options=options) as broker:
        figures = play(place, broker, days)
    settings: dict[str, str | int | float] = {"meters": len(METERS), "window_ms": WINDOW_MS}
    return finish(Result("month", figures, LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())
