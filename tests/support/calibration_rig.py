"""Whoever stands at the bench: switches loads as the session asks, and reads the reference."""

import math
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from simulation.canned import CannedChain
from simulation.chain import Chain
from simulation.fleet import Setup
from simulation.sources import FaultySource, Load, SteadySource, Wire
from tests.support.meter_site import NAMES, MeterSite

LOADS_A = (0.1, 0.3, 1.0, 5.0, 20.0)
CHECKS_A = (3.0, 2.0)  # of the first clamp, of the second
ROW_S = 0.04  # of the bench's time; an accelerated meter's is more


class ReferenceMeter:
    """Writes what flows to a CSV, every reading with noise of its own, all with one class error.

    `noise` and the limit `class_pct` are relative, of V, I and P each; P carries the class
    error of V and I as such instruments do, so it agrees with them.
    """

    def __init__(self, path: Path, seed: int, *, noise: float, class_pct: float) -> None:
        self.path = path
        self._random = np.random.default_rng([seed, 4711])
        self._noise = noise
        self._off_v, self._off_p = self._random.uniform(-class_pct, class_pct, 2) / 100
        self._true = (230.0, 0.0, 0.0)
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)
        path.write_text("t,v,i,p\n")

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._writer.join(timeout=5)

    def show(self, v: float, i: float, p: float) -> None:
        """Read these true values from now on."""
        self._true = (v, i, p)

    def _write(self) -> None:
        while not self._stop.wait(ROW_S):
            v, i, p = self._true
            a, b, c = 1 + self._random.normal(0.0, self._noise, 3)
            v, p = v * a * (1 + self._off_v), p * c * (1 + self._off_p)
            i = i * b * (1 + self._off_p) / (1 + self._off_v)
            with self.path.open("a") as file:
                file.write(f"{round(time.time() * 1000)},{v:.4f},{i:.6f},{p:.5f}\n")


class Bench:
    """One board with its load and the reference; `fault` is put on the clamp with each load."""

    def __init__(
        self,
        site: MeterSite,
        name: str,
        seed: int,
        *,
        noise: float = 0.005,
        class_pct: float = 0.05,
        keys: dict[str, list[str]] | None = None,
        speed: float = 10.0,
        rest_ms: int = 0,
        loads_a: Sequence[float] = LOADS_A,
        canned: bool = False,
        clamps: int = 1,
    ) -> None:
        self.site, self.name = site, name
        self.loads_a = loads_a
        self.random = np.random.default_rng([seed, 99])
        self.chain = (CannedChain if canned else Chain)(1000 + seed, clamps)
        self.chain.temperature_c = float(self.random.uniform(18.0, 28.0))
        self.hz = 50.0 if canned else 50.0 + float(self.random.uniform(-0.15, 0.15))
        self.drift_hz = 0.0 if canned else 0.05
        setup = Setup(config={"keys": keys or {}}, speed=speed, rest_ms=rest_ms)
        self.meter = site.add(name, chain=self.chain, setup=setup)
        self.reference = ReferenceMeter(
            site.directory / f"{name}.csv", seed, noise=noise, class_pct=class_pct
        )
        self.fault: Callable[[SteadySource], object] | None = None
        self.put(0.0)

    def put(
        self, amps: float, *, volts: float | None = None, load: Load | None = None, clamp: int = 0
    ) -> None:
        """Switch a resistive load on in place of the one before, or none (0 A), or any load."""
        volts = volts or float(self.random.uniform(225.0, 235.0))
        wire = Wire(volts_v=volts, frequency_hz=self.hz, drift_hz=self.drift_hz)
        if load is None:
            load = Load(volts * amps) if amps else None
        loads: list[list[Load]] = [[] for _ in range(self.chain.clamps)]
        loads[clamp] = [load] if load else []
        source = SteadySource(wire, *loads)
        true = source.truth(clamp)
        supplied = self.site.fleet.supply.meter(self.name)
        loaded = load is not None and self.fault is not None
        supplied.source = self.fault(source) if loaded else source  # type: ignore[assignment,misc]
        self.true = true
        self.reference.show(true.v, true.i, true.p)

    def spawn(self, *more: str) -> subprocess.Popen[str]:
        """Start an unattended session without load; `attend` must then read what it says."""
        self.put(0.0)  # what a session before left on; nobody is waited for at "Without load"
        return self.site.daemon.spawn(
            "meters", "calibrate", self.name, "--yes", "--class", "0.05", "--digits", "0", "0",
            "--reference", "simulated", "--reference-log", str(self.reference.path),
            "--loads", str(len(self.loads_a)), "--wait", "100",
            "--certificate", str(self.site.directory / f"{self.name}.html"), *more,
        )  # fmt: skip

    def obey(self, line: str) -> None:
        """Do what a line of the session asks for."""
        if line.startswith("Without load"):
            self.put(0.0)
        elif line.startswith(("load ", "one more load")):
            words = line.partition(":")[0].split()  # "load 1 on grid", "… to check on grid"
            clamp = NAMES.index(words[-1])
            is_load = words[0] == "load"
            amps = self.loads_a[int(words[1]) - 1] if is_load else CHECKS_A[clamp]
            self.put(amps, clamp=clamp)

    def attend(self, session: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Switch loads until the session ends; return its status, what it said, its errors."""
        said: list[str] = []
        assert session.stdout is not None
        assert session.stderr is not None
        for line in session.stdout:
            said.append(line)
            self.obey(line)
        errors = session.stderr.read()
        return session.wait(timeout=30), "".join(said), errors

    def reads(self, windows: int = 10, channel: str = "grid") -> tuple[float, float, float]:
        """Return V, A, W of the meter's next windows: means, of A the root of the mean square."""
        watcher = self.site.watcher
        after_ms = watcher.ask(self.name, "report")["up"] + 1500
        while True:
            watcher.measured(self.name)
            rows = [row for row in watcher.heard[self.name] if row.up > after_ms][:windows]
            if (n := len(rows)) == windows:
                break
        amps = math.sqrt(sum(row.i[channel] ** 2 for row in rows) / n)
        return sum(row.v for row in rows) / n, amps, sum(row.p[channel] for row in rows) / n

    def calibrate(self, *more: str) -> tuple[int, str, str]:
        """Go through a whole session."""
        return self.attend(self.spawn(*more))


def reverse(source: SteadySource) -> FaultySource:
    """Return the load as a clamp sees it that is on the wrong way round."""
    faulty = FaultySource(source)
    faulty.faults = faulty.faults.on(0, -1.0)
    return faulty


def around_both(source: SteadySource) -> FaultySource:
    """Return the load as a clamp around both wires sees it."""
    faulty = FaultySource(source)
    faulty.faults = faulty.faults.on(0, 0.0)
    return faulty


class OtherPhase:
    """A load on a phase that lags the voltage adapter's by a third of a cycle."""

    def __init__(self, source: SteadySource) -> None:
        self._source = source

    @property
    def nominal_hz(self) -> float:
        return self._source.nominal_hz

    def volts(self, t_s: np.ndarray) -> np.ndarray:
        return self._source.volts(t_s)

    def amps(self, clamp: int, t_s: np.ndarray) -> np.ndarray:
        return self._source.amps(clamp, t_s - 1 / (3 * self._source.wire.frequency_hz))


def within(error: float, limit: float) -> bool:
    """Tell whether an error is a number within a limit."""
    return math.isfinite(error) and abs(error) <= limit
