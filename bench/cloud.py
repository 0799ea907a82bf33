"""Days without the cloud: how long the backlog drains, in how much memory; and a month's bill.

The first part runs the product against a Firestore on loopback in a process of its own; the
second replays a month of one meter through the uploader and counts what it writes.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.common import MEGABYTE, Figures, Limit, Result, finish, peak_rss_mb, progress
from bench.common import work_directory as scratch
from bench.outage import Outage, make
from cloud_sync.documents import GatewayState
from cloud_sync.governor import Governor, Limits
from cloud_sync.latest import Home, LatestSender
from cloud_sync.leases import LeaseBook
from cloud_sync.memory_cloud import MemoryCloud
from cloud_sync.planner import Planner
from cloud_sync.prices import month_view
from cloud_sync.uploader import KINDS, Uploader
from gateway import logs
from gateway.adapters.store.alerts import load_alerts, write_changes
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import opened
from gateway.domain.alerts import HistoryEntry
from gateway.domain.readings import Channel, Stored
from gateway.pipeline.alert_book import Change
from gateway.services.cloud_feed import DAY_MS, QUARTER_MS
from tests.support.cloud import UTC, FakeClock, alert
from tests.support.daemon import Daemon, Sections
from tests.support.feeding import query
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port, wait_for_port

LIMITS = (
    Limit("drain_minutes", "max", 30),
    Limit("peak_rss_mb", "max", 160),
    Limit("writes_per_meter_month", "max", 3500),
    Limit("megabytes_per_meter_month", "max", 8),
    Limit("usd_per_meter_month", "max", 0.02),
)
MONTH_DAYS = 30
POLL_S = 0.5
OVER_MS = 180_000  # behind a quarter's end: when the uploader takes it


@contextmanager
def firestore_process() -> Iterator[str]:
    """Run the rig's Firestore in a process of its own; give its host and port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.cloud_rig", "--firestore", str(port), "--only"],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, within_s=30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # a machine that is busy with other things
            process.kill()


def waiting(database: Path) -> dict[str, int]:
    """Return how many entries are over and wait, by kind."""
    rows = query(database, "SELECT kind, count(*) FROM cloud_due GROUP BY kind")
    return {kind: count for kind, count in rows if kind != "gaps"}


def prepare(database: Path, outage: Outage, kept: Path | None) -> None:
    """Put the backlog into the daemon's place: made anew, or the one that an earlier run kept."""
    if kept is None:
        progress(f"storing {outage.meters} meters x {outage.days} days")
        make(database, outage)
        return
    if not kept.exists():
        progress(f"storing {outage.meters} meters x {outage.days} days in {kept}")
        part = kept.with_name(f"{kept.name}.part")
        part.unlink(missing_ok=True)
        make(part, outage)
        part.replace(kept)
    shutil.copyfile(kept, database)


def drain(root: Path, outage: Outage, *, archive: bool, kept: Path | None) -> Figures:
    """Start a daemon on the backlog; return how long it took and what memory."""
    figures: Figures = {}
    with firestore_process() as host, Mosquitto(root / "broker", persistence=False) as broker:
        os.environ["FIRESTORE_EMULATOR_HOST"] = host
        cloud = {
            "enabled": True, "project": "demo-bench", "development": True, "late_wait_s": 0,
            "backfill_days": outage.days + 2, "daily_writes": 100_000,
        }  # fmt: skip
        sections: Sections = {
            "cloud": cloud,
            "archive": {"enabled": archive, "late_wait_s": 0},
        }
        daemon = Daemon(root / "d", mqtt_port=broker.port, settings=sections)
        prepare(daemon.database, outage, kept)
        with contextlib.ExitStack() as stack:
            stack.push(daemon)
            began_s = time.monotonic()
            daemon.launch()
            daemon.wait_ready(within_s=180)
            while left := waiting(daemon.database):
                progress(f"{time.monotonic() - began_s:.0f} s: {left}")
                if "quarter" not in left:
                    figures.setdefault("documents_minutes", (time.monotonic() - began_s) / 60)
                if set(left) <= {"day"}:  # the last day is over an hour after it
                    break
                time.sleep(POLL_S)
            figures["drain_minutes"] = (time.monotonic() - began_s) / 60
            figures["peak_rss_mb"] = peak_rss_mb(daemon.process.pid)
            used = query(daemon.database, "SELECT sum(writes), sum(bytes) FROM cloud_usage")[0]
            figures["documents"], figures["megabytes"] = used[0], used[1] / MEGABYTE
            if archive:
                files = list((daemon.directory / "archive").rglob("*.parquet"))
                figures["archive_files"] = len(files)
                figures["archive_megabytes"] = sum(f.stat().st_size for f in files) / MEGABYTE
    figures.setdefault("documents_minutes", figures["drain_minutes"])
    return figures


async def bill(root: Path, days: int) -> Figures:
    """Replay days of one meter with two channels and an alert that lasts, quarter by quarter."""
    end_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS
    outage = Outage(1, days, end_ms, ("grid", "solar"), raw=False)
    path = root / "month.db"
    make(path, outage)
    clock = FakeClock(outage.start_ms)
    with opened(path) as database:
        feed = SqlCloudFeed(database, UTC)
        await asyncio.to_thread(feed.arm_now, KINDS, outage.start_ms)
        cloud, governor = MemoryCloud(), Governor(Limits(18_000, 200_000_000))
        planner = Planner(feed, "home", UTC, clock, 0)
        uploader = Uploader(feed, cloud, planner, governor)
        newest: dict[str, Stored] = {}
        home = Home(newest, LeaseBook(), _state, lambda: True)
        latest = LatestSender(feed, cloud, planner, governor, home)
        for quarter in range(days * DAY_MS // QUARTER_MS + 8):
            clock.now_ms = cloud.server_ms = outage.start_ms + (quarter + 1) * QUARTER_MS + OVER_MS
            await database.write(lambda db: _last_on(db, clock.now_ms))
            while await uploader.step():
                pass
            newest["meter-01"] = reading(clock.now_ms)
            await latest.look()
        view = month_view(await feed.usage(0, 2**31), days)
    return {
        "writes_per_meter_month": view.month.writes,
        "megabytes_per_meter_month": view.month.bytes / 1e6,
        "usd_per_meter_month": view.month.usd,
    }


def _last_on(db: sqlite3.Connection, at_ms: int) -> None:
    """Store what a quarter of an hour does to an alert whose condition lasts."""
    known = load_alerts(db)
    opened = () if known else (HistoryEntry(at_ms, "system", "opened"),)
    before = known[0] if known else alert()
    write_changes(db, [Change(replace(before, updated_ms=at_ms, count=before.count + 3), opened)])
    # The database notes by the machine's clock, not by that of the month replayed.
    db.execute("UPDATE outbox SET created_ms = ? WHERE created_ms > ?", (at_ms, at_ms))


async def _state() -> GatewayState:
    running = dict.fromkeys(("web", "intake", "judging", "cloud", "retention"), "running")
    return GatewayState("0.1.0", "UTC", 0, running, {"meter-01": True}, {}, 0, clock_trusted=True)


def reading(at_ms: int) -> Stored:
    """Return a newest reading of both channels."""
    channel = Channel(1.5, 345.6, 123_456.7, 0.0, q=-48.4)
    both = {"grid": channel, "solar": channel}
    return Stored(1, "meter-01", 77, 1, 1, 0, at_ms, at_ms, at_ms, 1000, 0, 230.2, 50.01, both)


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a day of 4 meters, a week's bill")
    parser.add_argument("--no-archive", action="store_true", help="documents only")
    parser.add_argument("--backlog", type=Path, metavar="FILE",
                        help="where the backlog is kept for further runs: made once")  # fmt: skip
    parser.add_argument("--only-backlog", action="store_true", help="make it, and no more")
    arguments = parser.parse_args()
    logs.configure("warning")  # stdout is the result's own
    end_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS
    archive = not arguments.no_archive
    outage = Outage(4 if arguments.quick else 20, 1 if arguments.quick else 7, end_ms, raw=archive)
    with scratch() as root:
        if arguments.only_backlog:
            prepare(root / "unused.db", outage, arguments.backlog)
            return 0
        figures = drain(root, outage, archive=archive, kept=arguments.backlog)
        progress("replaying a month's documents")
        figures |= asyncio.run(bill(root, 7 if arguments.quick else MONTH_DAYS))
    settings: dict[str, str | int | float] = {"meters": outage.meters, "days": outage.days}
    return finish(Result("cloud", figures, LIMITS, settings))


if __name__ == "__main__":
    raise SystemExit(main())
