"""A service manager for staging roots: starts the installed daemon as a process, as systemd would.

It hands the process a notify socket and waits for READY=1, ends it by SIGTERM, and does not
restart it: what dies stays dead, so that a test sees it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from gateway.adapters.installer.errors import ServiceFailedError
from gateway.adapters.installer.layout import SERVICE, Layout

READY_S = 40.0
STOP_S = 20.0


def packages_of_others(folder: Path) -> Path:
    """Return a folder with the packages of this environment, without this project and pip.

    A release that was installed without its dependencies runs with it on PYTHONPATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if package.suffix != ".pth" and not package.name.startswith(
            ("wattwarden", "_wattwarden", "__editable__", "pip", "setuptools")
        ):
            (folder / package.name).symlink_to(package)
    return folder


class ProcessServices:
    """Satisfies `ServiceManager` for the gateway's own unit; every other unit counts as absent."""

    def __init__(self, layout: Layout, environment: dict[str, str], log: Path) -> None:
        self._layout = layout
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def available(self) -> bool:
        return True

    def reread(self) -> None:
        """Nothing to read: there are no unit files."""

    def enable(self, unit: str) -> None:
        """Nothing is started at boot."""

    def disable(self, unit: str) -> None:
        """Nothing is started at boot."""

    def enabled(self, unit: str) -> bool:
        return unit == SERVICE

    def active(self, unit: str) -> bool:
        process = self._process
        return unit == SERVICE and process is not None and process.poll() is None

    def restart(self, unit: str) -> None:
        self.stop(unit)
        self.start(unit)

    def start(self, unit: str) -> None:
        if unit != SERVICE or self.active(unit):
            return
        self.starts += 1
        address = f"\0wattwarden-test-{os.getpid()}-{self.starts}-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(address)
            notified.settimeout(0.2)
            self._launch("@" + address[1:])
            if not self._ready(notified):
                tail = self._log.read_text(errors="replace").splitlines()[-3:]
                msg = f"{unit} did not start: {' | '.join(tail)}"
                raise ServiceFailedError(msg)

    def stop(self, unit: str) -> None:
        process = self._process
        if unit != SERVICE or process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=STOP_S)
        self._process = None

    def _launch(self, address: str) -> None:
        python = self._layout.program / "bin" / "python"
        config = str(self._layout.config)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(python), "-P", "-m", "gateway.cli", "run", "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment, "NOTIFY_SOCKET": address},
            )

    def _ready(self, notified: socket.socket) -> bool:
        until_s = time.monotonic() + READY_S
        while self.active(SERVICE) and time.monotonic() < until_s:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notified.recv(4096):
                    return True
        self.stop(SERVICE)
        return False
