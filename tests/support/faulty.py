"""The product under injected faults: system calls that fail or dawdle, clocks that are wrong."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.support.daemon import Daemon, Sections, clean_environment, command

WAIT_S = 10.0


class FaultyDaemon(Daemon):
    """A daemon with more environment, or with a program around it."""

    def __init__(
        self, directory: Path, *, mqtt_port: int, settings: Sections | None = None
    ) -> None:
        super().__init__(directory, mqtt_port=mqtt_port, settings=settings)
        self.extra: dict[str, str] = {}
        self.program: list[str] = []  # for the interpreter, in place of the product's command
        # Not on the faulty disk.
        self.log_path = directory.with_name(directory.name + ".log")
        text = self.config.read_text()
        self.config.unlink()
        self.config = directory.with_name(directory.name + ".toml")
        self.config.write_text(text)

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={**clean_environment(self.directory), **self.extra},
            )
        self.starts += 1

    def _command(self) -> list[str]:
        return [sys.executable, *self.program] if self.program else command()

    def wait_log(self, text: str, *, within_s: float = WAIT_S) -> None:
        """Block until the log holds a text."""
        deadline = time.monotonic() + within_s
        while text not in self.log():
            assert time.monotonic() < deadline, f"no {text!r} in\n{self.log_tail()}"
            time.sleep(0.05)

    def wait_unready(self, *, within_s: float = WAIT_S) -> str:
        """Block until /readyz answers 503; return what it says."""
        deadline = time.monotonic() + within_s
        while True:
            answer = httpx.get(f"{self.url}/readyz", timeout=5)
            if answer.status_code == 503:
                return answer.text
            assert time.monotonic() < deadline, self.log_tail()
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """CPU time used so far, user and system."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def need_strace() -> str:
    """Return where strace is, or skip loudly."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    return found


@contextlib.contextmanager
def injected(daemon: Daemon, *faults: str, paths: tuple[Path, ...] = ()) -> Iterator[None]:
    """Tamper with a running process's system calls, as `strace -e inject=` describes it.

    `paths` limits that to calls on these files. Ends with the block.
    """
    log = daemon.log_path.with_suffix(".strace")
    words = [need_strace(), "-f", "-q", "-o", str(log), "-p", str(daemon.process.pid)]
    calls = ",".join(fault.split(":", 1)[0] for fault in faults)
    words += ["-e", f"trace={calls}"]
    for fault in faults:
        words += ["-e", f"inject={fault}"]
    for path in paths:
        words += ["-P", str(path)]
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait_traced(daemon, tracer)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            tracer.kill()


def _wait_traced(daemon: Daemon, tracer: subprocess.Popen[str]) -> None:
    status = Path(f"/proc/{daemon.process.pid}/status")
    deadline = time.monotonic() + WAIT_S
    while "TracerPid:\t0\n" in status.read_text():
        if tracer.poll() is not None:
            told = tracer.stderr.read() if tracer.stderr is not None else ""
            pytest.skip(f"strace cannot attach here: {told.strip()}")
        assert time.monotonic() < deadline, "strace does not attach"
        time.sleep(0.02)


class LoopProbe:
    """Asks /healthz again and again from a thread: how long the event loop makes others wait."""

    def __init__(self, url: str, every_s: float = 0.05) -> None:
        self.waits_s: list[float] = []
        self._url = url
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _ask_forever(self) -> None:
        with httpx.Client(timeout=30) as http:
            while not self._stop.wait(self._every_s):
                began = time.monotonic()
                with contextlib.suppress(httpx.HTTPError):
                    http.get(f"{self._url}/healthz")
                self.waits_s.append(time.monotonic() - began)

    def percentile(self, share: float) -> float:
        """Return the wait that this share of the questions did not exceed."""
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return libfaketime's environment for a wrong clock, or skip loudly."""
    library = next(
        iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
        None,
    )
    if library is None:
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    return {"LD_PRELOAD": str(library), "FAKETIME_NO_CACHE": "1", **values}
