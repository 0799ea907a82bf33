"""The product as a process: configure, start, kill, stop, and read its log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.support.ports import free_port

Sections = Mapping[str, Mapping[str, Any]]
# What must not leak from the machine that runs the tests into the process under test.
UNWANTED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM")
START_S = 60.0  # a machine that runs other tests beside takes its time


def command() -> list[str]:
    """Return how this environment starts `wattwarden`."""
    script = Path(sys.executable).with_name("wattwarden")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", "gateway.cli"]


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a fresh account in UTC."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in UNWANTED and not key.startswith(("WATTWARDEN_", "PYTEST_"))
    }
    return {**kept, "HOME": str(home), "TZ": "UTC", "PYTHONUNBUFFERED": "1"}


def to_toml(sections: Sections) -> str:
    """Write sections of scalars as TOML (a JSON scalar is a TOML scalar)."""
    lines: list[str] = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


class Daemon:
    """`wattwarden run` with a configuration, database and log under one directory.

    Keep the directory's path short: the control socket stands beside the database and
    a Unix socket's path may have about 100 characters. `settings` are merged over the
    defaults of the tests, section by section.
    """

    def __init__(
        self, directory: Path, *, mqtt_port: int, settings: Sections | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.web_port = free_port()
        self.database = directory / "wattwarden.db"
        self.config = directory / "config.toml"
        self.log_path = directory / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        sections: dict[str, dict[str, Any]] = {
            "site": {"id": "test", "timezone": "UTC"},
            "mqtt": {"host": "127.0.0.1", "port": mqtt_port},
            "storage": {"path": str(self.database)},
            "web": {"enabled": True, "host": "127.0.0.1", "port": self.web_port},
            "clock": {"trust": "always"},
        }
        for name, values in (settings or {}).items():
            sections[name] = {**sections.get(name, {}), **values}
        self.config.write_text(to_toml(sections))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate(within_s=10)
            if self.running:
                self.kill()

    @property
    def url(self) -> str:
        """Root of the local web server."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> psutil.Process:
        """The living process, for its CPU time and memory."""
        return psutil.Process(self._living().pid)

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command(), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=clean_environment(self.directory),
            )
        self.starts += 1

    def start(self, *, within_s: float = START_S) -> None:
        """Start the process and wait for readiness."""
        self.launch()
        self.wait_ready(within_s=within_s)

    def wait_ready(self, *, within_s: float = START_S) -> None:
        """Block until /readyz answers 200; raise with the log's end otherwise."""
        deadline = time.monotonic() + within_s
        while not self.ready():
            if not self.running:
                msg = f"the daemon ended with {self._living().returncode}:\n{self.log_tail()}"
                raise RuntimeError(msg)
            if time.monotonic() > deadline:
                msg = f"not ready within {within_s} s:\n{self.log_tail()}"
                raise TimeoutError(msg)
            time.sleep(0.05)

    def ready(self) -> bool:
        """Tell whether /readyz answers 200 now."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill with SIGKILL."""
        process = self._living()
        process.kill()
        process.wait(timeout=5)

    def terminate(self, *, within_s: float = 5.0) -> tuple[int, float]:
        """Ask to end with SIGTERM; return exit status and seconds it took."""
        process = self._living()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=within_s)
        return status, time.monotonic() - began

    def wait_exit(self, *, within_s: float) -> int:
        """Return the exit status of a process that ends by itself."""
        return self._living().wait(timeout=within_s)

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return int(self.process.memory_info().rss)

    def log(self) -> str:
        """Everything the process has written so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        """End of the log, for messages."""
        return "\n".join(self.log().splitlines()[-lines:])

    def cli(self, *arguments: str, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `wattwarden ARGUMENTS --config …` and return what it said."""
        return run_cli([*arguments, "--config", str(self.config)], self.directory, within_s)

    def cli_ok(self, *arguments: str, within_s: float = 60.0) -> str:
        """Run a command that must end with status 0; return its stdout."""
        done = self.cli(*arguments, within_s=within_s)
        if done.returncode != 0:
            msg = f"{arguments} ended with {done.returncode}: {done.stderr[-2000:]}"
            raise AssertionError(msg)
        return done.stdout

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command beside the daemon; the caller waits for its end."""
        return subprocess.Popen(
            [*command(), *arguments, "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=clean_environment(self.directory),
        )

    def _living(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the daemon was never started"
            raise RuntimeError(msg)
        return self._process


def run_cli(
    arguments: Sequence[str], directory: Path, within_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run `wattwarden ARGUMENTS` as a fresh account would."""
    return subprocess.run(
        [*command(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=directory,
        env=clean_environment(directory),
        timeout=within_s,
        check=False,
    )
