"""The web while 500 readings/s come in: a year's chart, 50 viewers of /stream, and the intake.

One daemon with a year of one meter, and 50 more meters that send over a private mosquitto. The
intake is measured alone, then with 50 viewers and five chart calls a second beside it.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

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
from bench.year import CHANNEL, DAY_MS, METER, make_year
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
CALLS_PER_S = 5
CHARTS = (  # what the app asks for when somebody looks at history
    ("year_chart", 365, "auto"),
    ("month_chart", 30, "15m"),
    ("day_chart", 1, "1m"),
)


@dataclass
class Charts:
    """Calls charts in a fixed rhythm from a thread, and keeps how long each took."""

    url: str
    cookies: httpx.Cookies
    took_ms: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Call until stopped; every other call is the year's chart."""
        others = itertools.cycle(CHARTS[1:])
        with httpx.Client(base_url=self.url, cookies=self.cookies, timeout=10) as client:
            began = time.monotonic()
            for count in itertools.count():
                self.call(client, *(CHARTS[0] if count % 2 == 0 else next(others)))
                if self.stop.wait(max(0.0, began + (count + 1) / CALLS_PER_S - time.monotonic())):
                    return

    def call(self, client: httpx.Client, name: str, days: int, resolution: str) -> None:
        """Ask for one chart."""
        now_ms = int(time.time() * 1000)
        params = {
            "channel": CHANNEL, "fields": "p,p_min,p_max,v", "resolution": resolution,
            "start": str(now_ms - days * DAY_MS), "end": str(now_ms),
        }  # fmt: skip
        began = time.perf_counter()
        answer = client.get(f"/api/v1/meters/{METER}/series", params=params)
        took_ms = (time.perf_counter() - began) * 1000
        self.took_ms.setdefault(name, []).append(took_ms)
        if answer.status_code != 200 or len(answer.json()["t"]) < 300:
            self.failed += 1


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


def watched(daemon: Daemon, api: Api, port: int, seconds: float) -> Figures:
    """Measure intake, charts and memory while 50 people watch."""
    cookie = "; ".join(f"{key}={value}" for key, value in api.http.cookies.items())
    charts = Charts(daemon.url, api.http.cookies)
    with httpx.Client(base_url=daemon.url, cookies=api.http.cookies) as client:
        for chart in CHARTS:  # what is loaded at the first call is no growth
            charts.call(client, *chart)
    charts.took_ms.clear()
    rss, before_s = daemon.rss_bytes(), cpu_seconds(daemon.process)
    arguments = ["--port", str(daemon.web_port), "--cookie", cookie, "--viewers", str(VIEWERS)]
    viewers = subprocess.Popen(
        [sys.executable, "-m", "bench.viewers", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    calling = threading.Thread(target=charts.run)
    calling.start()
    try:
        outcome, rate = intake(LatencyProbe(port), seconds)
    finally:
        charts.stop.set()
        calling.join()
        grown = daemon.rss_bytes() - rss
        told, _ = viewers.communicate("", timeout=20)
    counts = json.loads(told)
    if counts["connected"] != VIEWERS or charts.failed:
        msg = f"{counts['connected']} of {VIEWERS} viewers served, {charts.failed} charts failed"
        raise RuntimeError(msg)
    whole_s = seconds + WARM_UP_S
    figures: Figures = {
        "watched_readings_per_s": rate,
        "watched_latency_p99_ms": percentile(outcome.latencies_ms, 0.99),
        "watched_cpu_percent": (cpu_seconds(daemon.process) - before_s) / whole_s * 100,
        "rss_growth_mb": grown / MEGABYTE,
        "rss_mb": daemon.rss_bytes() / MEGABYTE,
        "viewers_told_of_each_meter_per_s": counts["readings"] / VIEWERS / 50 / whole_s,
        "viewers_resets": counts["resets"],
        "viewers_mb": counts["bytes"] / MEGABYTE,
    }
    for name, took_ms in charts.took_ms.items():
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
