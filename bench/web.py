"""The web while 500 readings/s come in: a year's chart, 50 viewers of /stream, and the intake.

One daemon with a year of one meter, and 50 more meters that send over a private mosquitto. The
intake is measured alone, then with 50 viewers and five chart calls a second beside it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.charts import CALLS_PER_S
from bench.common import (
    MEGABYTE,
    Figures,
    Limit,
    Result,
    cpu_seconds,
    finish,
    percentile,
    progress,
    work_directory,
)
from bench.latency import WARM_UP_S, LatencyProbe, Outcome
from bench.load import METERS
from bench.year import make_year
from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.mosquitto import Mosquitto

LIMITS = (
    Limit("year_chart_p99_ms", "max", 100),
    Limit("intake_share_of_alone", "min", 0.95),
    Limit("rss_growth_mb", "max", 20),
    Limit("viewers_told_of_each_meter_per_s", "min", 0.5),
)
RATE = 500
VIEWERS = 50


def intake(probe: LatencyProbe, seconds: float) -> tuple[Outcome, float]:
    """Send at the rate; return the outcome and the readings acknowledged per second."""
    began = time.monotonic()
    outcome = probe.run(RATE, seconds)
    took_s = time.monotonic() - began
    sent = RATE * (seconds + WARM_UP_S)
    return outcome, (sent - outcome.unanswered) / took_s


def alone(daemon: Daemon, port: int, seconds: float) -> Figures:
    """Measure the intake with nobody watching."""
    before_s = cpu_seconds(daemon.process)
    outcome, rate = intake(LatencyProbe(port), seconds)
    return {
        "alone_readings_per_s": rate,
        "alone_latency_p99_ms": percentile(outcome.latencies_ms, 0.99),
        "alone_cpu_percent": (cpu_seconds(daemon.process) - before_s) / (seconds + 3) * 100,
    }


def beside(module: str, **options: object) -> "subprocess.Popen[str]":
    """Start a part of the bench that ends, and prints what it saw, when its stdin closes."""
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def watched(daemon: Daemon, api: Api, port: int, seconds: float) -> Figures:
    """Measure intake, charts and memory while 50 people watch."""
    cookie = "; ".join(f"{key}={value}" for key, value in api.http.cookies.items())
    charts = beside("charts", url=daemon.url, cookie=cookie)
    if charts.stdout is None or charts.stdout.readline().strip() != "ready":
        msg = "the first charts failed"
        raise RuntimeError(msg)
    rss, before_s = daemon.rss_bytes(), cpu_seconds(daemon.process)
    viewers = beside("viewers", port=daemon.web_port, cookie=cookie, viewers=VIEWERS)
    try:
        outcome, rate = intake(LatencyProbe(port), seconds)
    finally:
        grown = daemon.rss_bytes() - rss
        told, _ = viewers.communicate("", timeout=20)
        drawn, _ = charts.communicate("", timeout=20)
    counts, calls = json.loads(told), json.loads(drawn)
    if counts["connected"] != VIEWERS or calls["failed"]:
        msg = f"{counts['connected']} of {VIEWERS} viewers served, {calls['failed']} charts failed"
        raise RuntimeError(msg)
    whole_s = seconds + WARM_UP_S
    figures: Figures = {
        "watched_readings_per_s": rate,
        "watched_latency_p99_ms": percentile(outcome.latencies_ms, 0.99),
        "watched_cpu_percent": (cpu_seconds(daemon.process) - before_s) / whole_s * 100,
        "rss_growth_mb": grown / MEGABYTE,
        "rss_mb": daemon.rss_bytes() / MEGABYTE,
        "viewers_told_of_each_meter_per_s": counts["readings"] / VIEWERS / METERS / whole_s,
        "viewers_resets": counts["resets"],
        "viewers_mb": counts["bytes"] / MEGABYTE,
    }
    for name, took_ms in calls["took_ms"].items():
        figures[f"{name}_p50_ms"] = percentile(took_ms, 0.5)
        figures[f"{name}_p99_ms"] = percentile(took_ms, 0.99)
    return figures


def measure(place: Path, seconds: float) -> Figures:
    """Run both parts, each on a daemon, a broker and a copy of the year of its own."""
    year = place / "year.db"
    now_ms = int(time.time() * 1000)
    make_year(year, now_ms - now_ms % 60_000, 2)
    progress("a year of one meter is written")
    figures: Figures = {}
    for name in ("alone", "watched"):
        with Mosquitto(place / f"{name}-mosquitto") as broker:
            daemon = Daemon(
                place / name, mqtt_port=broker.port,
                settings={"site": {"timezone": "Europe/Lisbon"}},
            )  # fmt: skip
            shutil.copy(year, daemon.database)
            with daemon:
                if name == "alone":
                    figures |= alone(daemon, broker.port, seconds)
                else:
                    with Api.logged_in(daemon) as api:
                        figures |= watched(daemon, api, broker.port, seconds)
        progress(json.dumps(figures))
    share = figures["watched_readings_per_s"] / figures["alone_readings_per_s"]
    return figures | {"intake_share_of_alone": share}


def main() -> int:
    """Run once and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 s instead of 60")
    args = parser.parse_args()
    with work_directory() as place:
        figures = measure(place, 10.0 if args.quick else 60.0)
    settings: dict[str, str | int | float] = {
        "rate": RATE, "viewers": VIEWERS, "calls_per_s": CALLS_PER_S,
    }  # fmt: skip
    return finish(Result("web", figures, LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())
