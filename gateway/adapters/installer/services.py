"""The service manager: systemd where it runs, nobody in a staging root."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gateway.adapters.installer.errors import InstallError, ServiceFailedError
from gateway.adapters.installer.layout import Layout

START_S = 120.0  # above TimeoutStartSec of the unit
LAST_WORDS = 5


class ServiceManager(Protocol):
    """Starts and stops units by name. Raises InstallError when it cannot be asked."""

    def available(self) -> bool:
        """Tell whether there is a service manager to speak to."""

    def reread(self) -> None:
        """Take up changed unit files."""

    def enable(self, unit: str) -> None:
        """Have it started at boot."""

    def disable(self, unit: str) -> None:
        """Have it no longer started at boot; a unit that is not there is no fault."""

    def enabled(self, unit: str) -> bool:
        """Tell whether it is started at boot."""

    def active(self, unit: str) -> bool:
        """Tell whether it runs and has said READY."""

    def start(self, unit: str) -> None:
        """Start it and wait until it says READY; ServiceFailedError with its last words."""

    def restart(self, unit: str) -> None:
        """Stop and start it; as `start`."""

    def stop(self, unit: str) -> None:
        """Stop it and wait for its end; a unit that is not there is no fault."""


class NoServices:
    """A staging root or a container without systemd: nothing is started."""

    def available(self) -> bool:
        """There is none."""
        return False

    def reread(self) -> None:
        """Nothing to tell."""

    def enable(self, unit: str) -> None:
        """Nothing to tell: the package's own scripts do it."""

    def disable(self, unit: str) -> None:
        """Nothing to tell."""

    def enabled(self, unit: str) -> bool:  # noqa: ARG002 - one shape for all
        """Nothing is."""
        return False

    def active(self, unit: str) -> bool:  # noqa: ARG002
        """Nothing is."""
        return False

    def start(self, unit: str) -> None:
        """Nothing is started."""

    def restart(self, unit: str) -> None:
        """Nothing is started."""

    def stop(self, unit: str) -> None:
        """Nothing runs."""


class Systemctl:
    """systemd, through systemctl(1)."""

    def available(self) -> bool:
        """Tell whether systemd is process 1, the way sd_booted(3) does."""
        return Path("/run/systemd/system").is_dir()

    def reread(self) -> None:
        """Take up changed unit files."""
        self._must("daemon-reload")

    def enable(self, unit: str) -> None:
        """Have it started at boot."""
        self._must("enable", "--quiet", unit)

    def disable(self, unit: str) -> None:
        """Have it no longer started at boot."""
        self._ask("disable", "--quiet", unit)

    def enabled(self, unit: str) -> bool:
        """Tell whether it is started at boot."""
        return self._ask("is-enabled", "--quiet", unit).returncode == 0

    def active(self, unit: str) -> bool:
        """Tell whether it runs."""
        return self._ask("is-active", "--quiet", unit).returncode == 0

    def start(self, unit: str) -> None:
        """Start it; a unit of Type=notify is waited for until it is READY."""
        self._up("start", unit)

    def restart(self, unit: str) -> None:
        """Stop and start it."""
        self._up("restart", unit)

    def stop(self, unit: str) -> None:
        """Stop it."""
        self._ask("stop", unit)
        # Otherwise one that had failed would be shown as such for ever.
        self._ask("reset-failed", unit)

    def _up(self, verb: str, unit: str) -> None:
        done = self._ask(verb, unit)
        if done.returncode == 0:
            return
        words = _output(
            ["journalctl", "--no-pager", "-o", "cat", "-n", str(LAST_WORDS), "-u", unit]
        )
        said = " | ".join(words.split("\n")) or done.stderr.strip()
        msg = f"{unit} did not start: {said}. More: journalctl -u {unit} -e"
        raise ServiceFailedError(msg)

    def _must(self, *arguments: str) -> None:
        done = self._ask(*arguments)
        if done.returncode != 0:
            msg = f"systemctl {' '.join(arguments)}: {done.stderr.strip()}"
            raise InstallError(msg)

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(["systemctl", "--no-ask-password", *arguments])


def run(
    command: Sequence[str], *, within_s: float = START_S, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program with `given` as its input; InstallError when it is missing or hangs."""
    try:
        return subprocess.run(  # noqa: S603 - fixed names, arguments of our own
            command, input=given, capture_output=True, text=True, timeout=within_s, check=False
        )
    except FileNotFoundError as error:
        msg = f"{command[0]} is not installed"
        raise InstallError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"{' '.join(command)} did not end within {within_s:.0f} s"
        raise InstallError(msg) from error


def _output(command: Sequence[str]) -> str:
    try:
        return run(command).stdout.strip()
    except InstallError:
        return ""


def manager_of(layout: Layout) -> ServiceManager:
    """Return who starts and stops services for a layout."""
    systemd = Systemctl()
    return systemd if not layout.staged and systemd.available() else NoServices()
