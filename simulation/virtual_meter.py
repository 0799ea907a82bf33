"""One simulated meter as a process: started, killed, watched, its output kept bounded."""

import contextlib
import subprocess
import threading
import time
from pathlib import Path
from typing import IO

from simulation.firmware_files import Launch

RESET_STATUS = 3  # run_meter ends with it when the firmware, or its loader, resets the board
_LOG_BYTES = 256 * 1024  # of one file; the one before is kept as .1
_STOP_S = 3.0
_LEAST_S, _MOST_S = 0.1, 10.0  # what a start waits, twice as long after each short life
_SHORT_S = 5.0


class VirtualMeter:
    """A meter's process, started again when its board resets.

    What ends by SIGKILL (ours, or a power cut of its flash) stays down until `start`.
    `boots` counts starts; `crashes` holds the status of each end that was no reset.
    A meter that loses its supply ends by itself, so none outlives this process.
    """

    def __init__(self, name: str, directory: Path, launch: Launch) -> None:
        self.name = name
        self.directory = directory
        self.sim_path = directory / "SIM.json"
        self.log_path = directory / "meter.log"
        self.launch = launch
        self.boots = 0
        self.crashes: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._down = threading.Event()  # set: stay down
        self._down.set()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Tell whether the process lives now (between crash and restart it does not)."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Return the id of the living process."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start it; a no-op while it is up."""
        if self._watcher is not None and self._watcher.is_alive() and not self._down.is_set():
            return
        self._join()
        self._down.clear()
        self._spawn()
        self._watcher = threading.Thread(target=self._watch, name=f"meter-{self.name}", daemon=True)
        self._watcher.start()

    def kill(self) -> None:
        """Cut its power: SIGKILL, and stay down."""
        self._end(within_s=0.0)

    def stop(self) -> None:
        """End it with SIGTERM, with SIGKILL when it does not listen, and stay down."""
        self._end(within_s=_STOP_S)

    def wait_down(self, within_s: float) -> bool:
        """Wait until it stays down by itself, as after a power cut; False when it does not."""
        return self._down.wait(within_s)

    def log(self) -> str:
        """Return what it has printed lately."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")

    def _end(self, *, within_s: float) -> None:
        self._down.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            if within_s:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(within_s)
            process.kill()
            process.wait()
        self._join()

    def _join(self) -> None:
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=_STOP_S + _MOST_S)
            self._watcher = None

    def _spawn(self) -> bool:
        """Start the process, unless it is to stay down."""
        with self._lock:
            if self._down.is_set():
                return False
            self._process = subprocess.Popen(  # noqa: S603 - our own firmware
                [*self.launch.command, str(self.launch.run_meter), str(self.sim_path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.launch.environment),
                start_new_session=True,  # Ctrl-C is for whoever runs the fleet
            )
            self.boots += 1
            return True

    def _watch(self) -> None:
        """Keep the output, and start again what has ended, until it is to stay down."""
        pause_s = _LEAST_S
        while True:
            process, began_s = self._process, time.monotonic()
            if process is None or process.stdout is None:
                return
            with process.stdout:
                self._keep(process.stdout)
            status = process.wait()
            if self._down.is_set():
                return
            if status == -9:  # noqa: PLR2004 - SIGKILL: its power was cut
                self._down.set()
                return
            if status != RESET_STATUS:
                self.crashes.append(status)
            short = time.monotonic() - began_s < _SHORT_S
            pause_s = min(pause_s * 2, _MOST_S) if short else _LEAST_S
            if self._down.wait(pause_s):
                return
            if not self._spawn():
                return

    def _keep(self, stream: IO[bytes]) -> None:
        """Append what is printed to the log, which is turned over when it is full."""
        while piece := stream.readline(_LOG_BYTES):
            with self.log_path.open("ab") as log:
                log.write(piece)
                full = log.tell() > _LOG_BYTES
            if full:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
