"""Runs a peer on a queued backlog: how fast it is durable, what it costs, what a kill loses.

A peer is started and subscribed, then stopped (SIGSTOP) while the backlog is published, so
that neither its start nor the publisher is measured; the clock starts when it goes on.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from bench.common import Figures, cpu_seconds, peak_rss_mb
from bench.load import Key, key_of, publish_backlog
from tests.support.mosquitto import Mosquitto

POLL_S = 0.05
RUN_S = 300.0
QUIET_S = 2.0
TOPIC = "ww/v1/+/readings"
BROKER_OPTIONS = {"log_type": "subscribe"}


class Peer(ABC):
    """One gateway as a process of its own, with a directory and a database."""

    name: str
    client_id: str
    counting: str  # SQL: how many readings are committed
    database: Path

    def __init__(self, place: Path, port: int) -> None:
        place.mkdir()
        self.place = place
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @abstractmethod
    def start(self) -> None:
        """Start it and return when it is ready."""

    @abstractmethod
    def stored(self) -> set[Key]:
        """Return the readings that are in its database."""

    def launch(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start its process, its output into a file."""
        with (self.place / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.place,
                env=environment or os.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def process(self) -> psutil.Process:
        """The living process, for its CPU time and memory."""
        return psutil.Process(self._living().pid)

    def alive(self) -> None:
        """Raise RuntimeError with the end of its log when it has ended."""
        if self._living().poll() is not None:
            msg = f"{self.name} ended:\n{self.log()[-2000:]}"
            raise RuntimeError(msg)

    def log(self) -> str:
        """Return what it has written so far."""
        return (self.place / "output.log").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kill with SIGKILL, also while it is stopped."""
        process = self._living()
        process.kill()
        process.wait(timeout=10)

    def stop(self) -> None:
        """Hold it (SIGSTOP)."""
        self._living().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on (SIGCONT)."""
        self._living().send_signal(signal.SIGCONT)

    def count(self) -> int:
        """Return how many readings it has committed."""
        return int(self.query(self.counting)[0][0] or 0)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Read its database beside it."""
        uri = f"file:{self.database}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
            return db.execute(sql).fetchall()

    def _living(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = f"{self.name} was never started"
            raise RuntimeError(msg)
        return self._process


def wait_until(true: Callable[[], bool], check: Callable[[], None], *, within_s: float) -> None:
    """Wait for a condition; `check` may raise earlier; TimeoutError when it does not come."""
    deadline = time.monotonic() + within_s
    while not true():
        check()
        if time.monotonic() > deadline:
            msg = f"it did not come in {within_s} s"
            raise TimeoutError(msg)
        time.sleep(POLL_S)


def load_up(peer: Peer, broker: Mosquitto, total: int) -> None:
    """Start a peer, hold it once it has subscribed, and queue the backlog for it."""
    peer.start()
    subscribed = lambda: any(peer.client_id in line and TOPIC in line for _, line in broker.log)  # noqa: E731
    wait_until(subscribed, peer.alive, within_s=30)
    peer.stop()
    publish_backlog(broker.port, total)


def run_speed(peer: Peer, broker: Mosquitto, total: int) -> Figures:
    """Measure readings per second until all are committed, and what that costs."""
    load_up(peer, broker, total)
    before, began = cpu_seconds(peer.process), time.monotonic()
    peer.go_on()
    wait_until(lambda: peer.count() >= total, peer.alive, within_s=RUN_S)
    seconds = time.monotonic() - began
    cpu = cpu_seconds(peer.process) - before
    peak = peak_rss_mb(peer.process.pid)
    peer.kill()
    if len(peer.stored()) != total:
        msg = f"{peer.name} stored {len(peer.stored())} different readings of {total}"
        raise RuntimeError(msg)
    return {
        f"{peer.name}_readings_per_s": total / seconds,
        f"{peer.name}_cpu_s_per_10k": cpu / total * 10_000,
        f"{peer.name}_peak_rss_mb": peak,
    }


def run_kill(peer: Peer, broker: Mosquitto, total: int) -> Figures:
    """Kill it when half is committed; lost is what neither it nor the broker still has."""
    load_up(peer, broker, total)
    peer.go_on()
    wait_until(lambda: peer.count() >= total // 2, peer.alive, within_s=RUN_S)
    peer.kill()
    kept = peer.stored()
    left = drain(broker.port, peer.client_id)
    return {f"{peer.name}_lost_on_kill": total - len(kept | left)}


def drain(port: int, client_id: str) -> set[Key]:
    """Take over a dead client's session: return what the broker would still give it."""
    got: set[Key] = set()
    last = time.monotonic()
    ready = threading.Event()

    def on_message(_client: object, _data: object, message: Any) -> None:  # noqa: ANN401 - paho's
        nonlocal last
        last = time.monotonic()
        got.add(key_of(message.topic, message.payload))

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    client.on_message = on_message
    client.on_connect = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    ready.wait(10)
    while time.monotonic() - last < QUIET_S:
        time.sleep(POLL_S)
    client.disconnect()
    client.loop_stop()
    return got
