"""A private mosquitto on loopback that can be killed and started again."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from tests.support.ports import free_port, listening

PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def find_mosquitto() -> str | None:
    """Return the path of the mosquitto binary, or None when not installed."""
    return shutil.which("mosquitto", path=PLACES)


class Mosquitto:
    """One broker process on a fixed free port; anonymous, loopback only.

    With `persistence` the broker saves its sessions to `directory` every five
    seconds and at SIGTERM, as the shipped configuration does. `options` are
    further lines of mosquitto.conf.
    """

    def __init__(
        self,
        directory: Path,
        *,
        persistence: bool = True,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self.directory = directory
        self.persistence = persistence
        self.options = dict(options or {})
        self.port = free_port()
        self.log: list[tuple[float, str]] = []  # (monotonic s, line)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        return self._running().pid

    def start(self) -> None:
        """Start (again) on the same port and wait until it listens."""
        binary = find_mosquitto()
        if binary is None:
            msg = "mosquitto is not installed (apt-get install mosquitto)"
            raise FileNotFoundError(msg)
        self.directory.mkdir(parents=True, exist_ok=True)
        conf = self.directory / "mosquitto.conf"
        conf.write_text(self._configuration())
        self._process = subprocess.Popen(
            [binary, "-c", str(conf)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        errors = self._process.stderr
        if errors is not None:
            threading.Thread(target=self._read_log, args=(errors,), daemon=True).start()
        self._wait_listening(self._process)

    def kill(self) -> None:
        """Kill with SIGKILL: whatever it had not saved is lost."""
        process = self._running()
        process.kill()
        process.wait(timeout=5)
        self._process = None

    def stop(self) -> None:
        """End in good order (it saves its sessions); a no-op when it is down."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._process = None

    def kill_and_restart(self, *, down_s: float = 0.2) -> None:
        """Kill with SIGKILL, stay down for a while, start on the same port."""
        self.kill()
        time.sleep(down_s)
        self.start()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            msg = "the broker is not running"
            raise RuntimeError(msg)
        return self._process

    def _configuration(self) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "max_queued_messages 0",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to our directory
        if self.persistence:
            lines += ["persistence true", "autosave_interval 5"]
            lines.append(f"persistence_location {self.directory}/")
        lines += [f"{key} {value}" for key, value in self.options.items()]
        return "\n".join(lines) + "\n"

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            self.log.append((time.monotonic(), line.rstrip()))

    def _wait_listening(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 5
        while not listening(self.port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = [line for _, line in self.log[-5:]]
                msg = f"mosquitto did not start on port {self.port}: {tail}"
                raise RuntimeError(msg)
            time.sleep(0.02)
