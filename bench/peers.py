"""The product beside its peers: thingsboard-gateway and Node-RED, from mosquitto to durable.

All take the same backlog of single readings at QoS 1 from a mosquitto of their own, one after
the other in the same run, on the same disk. Stored means: committed. The peers acknowledge
before they commit and do not wait for the disk (synchronous=NORMAL); the product commits with
synchronous=FULL, then acknowledges, and has every stage on. Then each is killed half-way.

The peers are installed once, into ~/.cache/wattwarden-bench (or below $XDG_CACHE_HOME).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.common import (
    Figures,
    Limit,
    Result,
    cpu_seconds,
    finish,
    medians,
    peak_rss_mb,
    progress,
    work_directory,
)
from bench.ingest import wait_at_rest
from bench.load import METERS, PAYLOAD_BYTES, AckWatcher, publish_backlog
from bench.peers_install import PeerUnavailableError, node_red_start, thingsboard_python
from bench.peers_nodered import NodeRed
from bench.peers_run import BROKER_OPTIONS, Peer, run_kill, run_speed, wait_until
from bench.peers_thingsboard import ThingsBoardGateway, ThingsBoardNamed
from tests.support.daemon import Daemon
from tests.support.feeding import query
from tests.support.mosquitto import Mosquitto

TOTAL = 50_000
QUICK_TOTAL = 10_000
LIMITS = (
    Limit("acked_times_thingsboard", "min", 6),
    Limit("judged_times_thingsboard", "min", 4),
    Limit("cpu_share_of_thingsboard", "max", 0.25),
    Limit("acked_times_nodered", "min", 1.2),
    Limit("lost_on_kill", "max", 0),
    Limit("twice_after_kill", "max", 0),
)
COUNT = "SELECT count(*) FROM readings"
KEYS = (
    "SELECT m.id, b.boot, r.seq FROM readings r JOIN boots b ON b.no = r.boot_no"
    " JOIN meters m ON m.no = b.meter_no"
)
RESTART_S = 120.0
Measure = Callable[[Peer, Mosquitto, int], Figures]
Candidate = tuple[Callable[[Path, int], Peer], Sequence[Measure]]


def run_product(place: Path, broker: Mosquitto, total: int) -> Figures:
    """Measure the daemon as `run_speed` measures a peer, until acked and until judged."""
    with Daemon(place, mqtt_port=broker.port) as daemon:
        process = daemon.process
        process.suspend()
        publish_backlog(broker.port, total)
        watcher = AckWatcher(broker.port, total // METERS - 1)
        before, began = cpu_seconds(process), time.monotonic()
        process.resume()
        if not watcher.done.wait(RESTART_S):
            msg = f"not all of {total} acknowledged in {RESTART_S} s:\n{daemon.log_tail()}"
            raise RuntimeError(msg)
        acked_cpu = cpu_seconds(process) - before
        rested = wait_at_rest(process)
        cpu = cpu_seconds(process) - before
        peak = peak_rss_mb(process.pid)
        watcher.close()
    return {
        "readings_per_s_acked": total / (watcher.ended_at - began),
        "readings_per_s_judged": total / (rested - began),
        "cpu_s_per_10k_acked": acked_cpu / total * 10_000,
        "cpu_s_per_10k": cpu / total * 10_000,
        "peak_rss_mb": peak,
    }


def kill_product(place: Path, broker: Mosquitto, total: int) -> Figures:
    """Kill the daemon when half is committed, start it again, and count."""
    with Daemon(place, mqtt_port=broker.port) as daemon:
        daemon.process.suspend()
        publish_backlog(broker.port, total)
        daemon.process.resume()
        half = total // 2
        wait_until(lambda: count(daemon) >= half, lambda: None, within_s=RESTART_S)
        daemon.kill()
        daemon.start()
        wait_at_rest(daemon.process)
        keys = query(daemon.database, KEYS)
    return {
        "lost_on_kill": total - len(set(keys)),
        "twice_after_kill": len(keys) - len(set(keys)),
    }


def count(daemon: Daemon) -> int:
    """Return how many readings the daemon has committed."""
    return int(query(daemon.database, COUNT)[0][0])


def one_round(place: Path, makers: list[Candidate], args: argparse.Namespace) -> Figures:
    """Run everything once, each part with a fresh broker, directory and database."""
    figures: Figures = {}
    parts = [(run_product, "p"), (kill_product, "k")]
    for part, name in parts:
        with broker_in(place / f"{name}-broker", args.inflight) as broker:
            figures |= part(place / name, broker, args.total)
    for number, (make, measures) in enumerate(makers):
        for measure in measures:
            own = place / f"{number}-{measure.__name__}"
            with (
                broker_in(place / f"{own.name}-broker", args.inflight) as broker,
                make(own, broker.port) as peer,
            ):
                figures |= measure(peer, broker, args.total)
    progress(json.dumps({key: round(value, 2) for key, value in figures.items()}))
    return figures | ratios(figures)


def broker_in(directory: Path, inflight: int) -> Mosquitto:
    """Make a private broker that logs who subscribed."""
    options: dict[str, str | int] = {**BROKER_OPTIONS, "max_inflight_messages": inflight}
    return Mosquitto(directory, options=options)


def ratios(figures: Figures) -> Figures:
    """Return what the limits are about."""
    thingsboard = figures["thingsboard_readings_per_s"]
    acked = figures["readings_per_s_acked"]
    return {
        "acked_times_thingsboard": acked / thingsboard,
        "judged_times_thingsboard": figures["readings_per_s_judged"] / thingsboard,
        "cpu_share_of_thingsboard": figures["cpu_s_per_10k"] / figures["thingsboard_cpu_s_per_10k"],
        "acked_times_nodered": acked / figures["nodered_readings_per_s"],
    }


def worst(rounds: Sequence[Figures]) -> Figures:
    """Return the product's losses of the worst round: a median would hide one."""
    names = ("lost_on_kill", "twice_after_kill")
    return {name: max(figures[name] for figures in rounds) for name in names}


def installed() -> list[Candidate]:
    """Install the peers where they are not yet; return what makes one of each, and what for."""
    python, command = thingsboard_python(), node_red_start()
    return [
        (lambda place, port: ThingsBoardGateway(python, place, port), (run_speed, run_kill)),
        (lambda place, port: ThingsBoardNamed(python, place, port), (run_speed,)),
        (lambda place, port: NodeRed(command, place, port), (run_speed, run_kill)),
    ]


def main() -> int:
    """Run three rounds (a short one with --quick) and judge the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"one round of {QUICK_TOTAL} readings")
    parser.add_argument("--total", type=int, help=f"readings (default {TOTAL})")
    parser.add_argument(
        "--inflight", type=int, default=20, help="mosquitto's max_inflight_messages"
    )
    args = parser.parse_args()
    args.total = args.total or (QUICK_TOTAL if args.quick else TOTAL)
    if args.total % METERS:
        parser.error(f"--total must be a multiple of {METERS}")
    try:
        makers = installed()
    except PeerUnavailableError as error:
        progress(f"bench.peers: {error}")
        return 2
    rounds: list[Figures] = []
    for _ in range(1 if args.quick else 3):
        with work_directory() as place:
            rounds.append(one_round(place, makers, args))
    figures = medians(rounds) | worst(rounds)
    settings: dict[str, str | int | float] = {
        "rounds": len(rounds),
        "readings": args.total,
        "meters": METERS,
        "payload_bytes": PAYLOAD_BYTES,
        "mosquitto_max_inflight_messages": args.inflight,
    }
    return finish(Result("peers", figures, LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())
