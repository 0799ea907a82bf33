"""From broker to committed and acknowledged: the product against a bare loop.

Measured in one run on one private mosquitto and a real disk: single readings per
message, 50 meters, QoS 1, a backlog queued while the subscriber's persistent session
was absent. The clock starts when the broker sees the subscriber connect and stops when
everything is committed and acknowledged (product: covered by application acks).
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench import bare
from bench.alarm import measure_alerts
from bench.common import (
    MEGABYTE,
    Figures,
    Limit,
    Result,
    cpu_seconds,
    finish,
    medians,
    peak_rss_mb,
    percentile,
    progress,
    work_directory,
)
from bench.latency import WARM_UP_S, measure
from bench.load import METERS, AckWatcher, payload, publish_backlog
from bench.wear import can_mount, run_wear
from tests.support.daemon import Daemon
from tests.support.mosquitto import Mosquitto

LIMITS = (
    Limit("readings_per_s", "min", 5000),
    Limit("ratio_to_bare", "min", 0.5),
    Limit("ratio_to_bare_judged", "min", 0.3),
    Limit("latency_500_p99_ms", "max", 30),
    Limit("latency_5000_p99_ms", "max", 60),
    Limit("alert_p99_ms", "max", 250),
    Limit("alerts_missing", "max", 0),
    Limit("start_to_first_ack_s", "max", 2),
    Limit("peak_rss_mb", "max", 120),
    Limit("idle_rss_mb", "max", 100),
    Limit("idle_cpu_percent", "max", 1),
)
WEAR_LIMIT = Limit("written_bytes_per_reading", "max", 1500)
WEAR_S = 240  # long enough for a checkpoint in the middle
BACKLOG = 20_000
RATES = (50, 500, 5000)
AT_REST_S = 1.5
OWN_CLIENTS = ("bench-publisher", "bench-watcher", "bench-latency")


def subscriber_connected_at(broker: Mosquitto, since: float) -> float:
    """Return when (monotonic s) the broker logged the measured client's connection."""
    for at, line in broker.log:
        foreign = not any(name in line for name in OWN_CLIENTS)
        if at >= since and "New client connected" in line and foreign:
            return at
    msg = "the broker saw no subscriber connect"
    raise RuntimeError(msg)


def run_bare(place: Path, broker: Mosquitto, total: int) -> Figures:
    """Measure the bare loop once."""
    asyncio.run(bare.subscribe_only(broker.port))
    publish_backlog(broker.port, total)
    began = time.monotonic()
    arguments = ["--port", str(broker.port), "--database", str(place / "bare.db")]
    done = subprocess.run(
        [sys.executable, "-m", "bench.bare", *arguments, "--total", str(total)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    own = json.loads(done.stdout)
    if own["rows"] != total:
        msg = f"the bare loop stored {own['rows']} of {total}"
        raise RuntimeError(msg)
    return {
        "bare_readings_per_s": total / (own["ended"] - subscriber_connected_at(broker, began)),
        "bare_cpu_s_per_10k": own["cpu_s"] / total * 10_000,
        "bare_peak_rss_mb": own["peak_mb"],
        "bare_commits": own["commits"],
    }


def run_product(place: Path, broker: Mosquitto, total: int) -> Figures:
    """Measure the daemon once, every stage on, on the same kind of backlog."""
    daemon = Daemon(place / "product", mqtt_port=broker.port)
    with daemon:  # creates the persistent session and the database
        daemon.terminate(within_s=10)
    publish_backlog(broker.port, total)
    watcher = AckWatcher(broker.port, total // METERS - 1)
    began = time.monotonic()
    try:
        daemon.launch()
        if not watcher.done.wait(120):
            msg = f"not all of {total} acknowledged in 120 s:\n{daemon.log_tail()}"
            raise RuntimeError(msg)
        started = subscriber_connected_at(broker, began)
        judged_at = wait_judged(daemon)
        daemon.wait_ready()
        wait_at_rest(daemon.process)
        whole_cpu = cpu_seconds(daemon.process)
        peak = peak_rss_mb(daemon.process.pid)
    finally:
        watcher.close()
        daemon.__exit__()
    idle = start_cpu(place, broker)
    return {
        "readings_per_s": total / (watcher.ended_at - started),
        "readings_per_s_judged": total / (judged_at - started),
        "cpu_s_per_10k": (whole_cpu - idle) / total * 10_000,
        "start_to_first_ack_s": (watcher.first_at or watcher.ended_at) - began,
        "peak_rss_mb": peak,
        "acks": watcher.acks,
    }


def wait_judged(daemon: Daemon) -> float:
    """Return when (monotonic s) nothing was left to judge: what meters kept goes before the web.

    RuntimeError when the daemon ends before it says so.
    """
    told: list[str] = []
    while len(told) < daemon.starts:
        if not daemon.running:
            msg = f"the daemon ended:\n{daemon.log_tail()}"
            raise RuntimeError(msg)
        time.sleep(0.01)
        told = [line for line in daemon.log().splitlines() if '"web_loading"' in line]
    now = time.monotonic()
    return now if not json.loads(told[-1])["waiting"] else wait_at_rest(daemon.process)


def wait_at_rest(process: psutil.Process, *, within_s: float = 120.0) -> float:
    """Return when (monotonic s) a process had nothing left to do: judging follows intake."""
    deadline = time.monotonic() + within_s
    busy_until, used = time.monotonic(), cpu_seconds(process)
    while time.monotonic() - busy_until < AT_REST_S:
        if time.monotonic() > deadline:
            msg = f"still busy after {within_s} s"
            raise RuntimeError(msg)
        time.sleep(0.25)
        now = cpu_seconds(process)
        if now - used > 0.05:  # a fifth of a core
            busy_until = time.monotonic()
        used = now
    return busy_until


def start_cpu(place: Path, broker: Mosquitto) -> float:
    """Return the CPU seconds the daemon needs to start with nothing to do."""
    with Daemon(place / "start", mqtt_port=broker.port) as daemon:
        return cpu_seconds(daemon.process)


def run_idle(place: Path, broker: Mosquitto, seconds: float) -> Figures:
    """Measure a daemon that has started, with web, numpy and LiteRT, and waits.

    What it has not loaded by then (a site without a TFLite model) is measured apart and
    added, so that the figure is the one of a site that has everything.
    """
    with Daemon(place / "idle", mqtt_port=broker.port) as daemon:
        before = cpu_seconds(daemon.process)
        time.sleep(seconds)
        mapped = {Path(entry.path).name for entry in daemon.process.memory_maps()}
        own = daemon.rss_bytes() / MEGABYTE
        cpu = cpu_seconds(daemon.process) - before
    loaded = any("interpreter_wrapper" in name for name in mapped)
    added = 0.0 if loaded else import_cost_mb("ai_edge_litert.interpreter")
    if not any("_multiarray_umath" in name for name in mapped):
        added += import_cost_mb("numpy")
    return {
        "idle_rss_mb": own + added,
        "idle_rss_own_mb": own,
        "idle_rss_added_mb": added,
        "idle_cpu_percent": cpu / seconds * 100,
    }


def import_cost_mb(module: str) -> float:
    """Return the memory an import takes in a process that has numpy already."""
    first = "import numpy" if module != "numpy" else "pass"
    code = (
        f"import psutil; {first}; p = psutil.Process(); a = p.memory_info().rss;"
        f" import {module}; print(p.memory_info().rss - a)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout) / MEGABYTE


def run_latency(place: Path, broker: Mosquitto, rate: int, seconds: float) -> Figures:
    """Measure publish → committed and acknowledged at a steady rate."""
    with Daemon(place / f"latency{rate}", mqtt_port=broker.port) as daemon:
        before = cpu_seconds(daemon.process)
        outcome = measure(broker.port, rate, seconds)
        used = cpu_seconds(daemon.process) - before
    return {
        f"latency_{rate}_p50_ms": percentile(outcome.latencies_ms, 0.5),
        f"latency_{rate}_p99_ms": percentile(outcome.latencies_ms, 0.99),
        f"latency_{rate}_unanswered": outcome.unanswered,
        f"latency_{rate}_cpu_percent": used / (seconds + WARM_UP_S) * 100,
    }


def one_round(place: Path, args: argparse.Namespace, number: int) -> Figures:
    """Run everything once, each part with a fresh broker and database."""
    seconds = 5.0 if args.quick else 15.0
    options = {"max_inflight_messages": args.inflight}
    figures: Figures = {}

    def broker(name: str) -> Mosquitto:
        return Mosquitto(place / f"{name}{number}-mosquitto", options=options)

    def own(name: str) -> Path:
        path = place / f"{name}{number}"
        path.mkdir()
        return path

    with broker("b") as running:
        figures |= run_bare(own("b"), running, args.backlog)
    with broker("p") as running:
        figures |= run_product(own("p"), running, args.backlog)
    bare_rate = figures["bare_readings_per_s"]
    figures["ratio_to_bare"] = figures["readings_per_s"] / bare_rate
    figures["ratio_to_bare_judged"] = figures["readings_per_s_judged"] / bare_rate
    for rate in RATES:
        with broker(f"l{rate}") as running:
            figures |= run_latency(own(f"l{rate}"), running, rate, seconds)
    with broker("a") as running, Daemon(own("a") / "p", mqtt_port=running.port) as daemon:
        figures |= measure_alerts(running.port, daemon.database)
    if args.wear:
        with broker("w") as running:
            figures |= run_wear(own("w"), running, 20 if args.quick else WEAR_S)
    with broker("i") as running:
        figures |= run_idle(own("i"), running, seconds)
    progress(f"round {number}: " + json.dumps({k: round(v, 2) for k, v in figures.items()}))
    return figures


def main() -> int:
    """Run three rounds (one with --quick) and judge the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="how many (3; 1 with --quick)")
    parser.add_argument("--backlog", type=int, default=BACKLOG, help="readings (default 20,000)")
    parser.add_argument(
        "--inflight", type=int, default=2000, help="mosquitto's max_inflight_messages, as shipped"
    )
    args = parser.parse_args()
    if args.backlog % METERS:
        parser.error(f"--backlog must be a multiple of {METERS}")
    args.wear = can_mount()
    limits = (*LIMITS, WEAR_LIMIT) if args.wear else LIMITS
    rounds = args.rounds or (1 if args.quick else 3)
    with work_directory() as place:
        figures = medians([one_round(place, args, n) for n in range(rounds)])
    settings: dict[str, str | int | float] = {
        "rounds": rounds,
        "backlog": args.backlog,
        "meters": METERS,
        "payload_bytes": len(payload(0, int(time.time() * 1000), 12_120_345.12)),
        "mosquitto_max_inflight_messages": args.inflight,
        "mosquitto_max_queued_messages": 0,
    }
    return finish(Result("ingest", figures, limits, settings))


if __name__ == "__main__":
    sys.exit(main())
