"""A Debian of its own under systemd-nspawn, with systemd as its first process."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Kept over runs: making it takes a minute and a mirror.
CACHE = Path(os.environ.get("WATTWARDEN_NSPAWN", "/var/tmp/wattwarden-nspawn"))  # noqa: S108
SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-venv,mosquitto,ca-certificates,tzdata,"
    "systemd-timesyncd"
)
BOOT_S = 60.0
NEEDED = ("systemd-nspawn", "mmdebstrap", "nsenter", "mount")


def missing() -> str:
    """Return why no machine can be booted here, "" when one can."""
    if os.geteuid() != 0:
        return "systemd-nspawn needs root"
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)} (apt-get install systemd-container mmdebstrap)"
    return ""


def base() -> Path:
    """Return an unpacked Debian, made by mmdebstrap at the first use; skips where that fails."""
    if reason := missing():
        pytest.skip(f"no machine can be booted: {reason}")
    root = CACHE / SUITE
    if root.is_dir():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    part = CACHE / f"{SUITE}.part"
    shutil.rmtree(part, ignore_errors=True)
    command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        pytest.skip(f"mmdebstrap made no Debian: {done.stderr.strip()[-300:]}")
    part.rename(root)
    return root


class Machine:
    """A booted Debian whose changes are forgotten at the end; `shared` appears in it as /shared."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._folder = Path(tempfile.mkdtemp(prefix="machine-", dir=CACHE))
        self._root = self._folder / "root"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Start it and wait until systemd has; skips where it does not come up."""
        for name in ("root", "changes", "work"):
            (self._folder / name).mkdir(exist_ok=True)
        options = (
            f"lowerdir={base()},upperdir={self._folder / 'changes'},workdir={self._folder / 'work'}"
        )
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(self._root)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no overlay file system: {done.stderr.strip()}")
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self._root}", "--hostname=energy",
             "--private-network", "--register=no", "--keep-unit", "--console=pipe",
             f"--bind={self._shared}:/shared", "--boot"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until_s = time.monotonic() + BOOT_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > until_s:
                pytest.skip("systemd did not come up under systemd-nspawn")
            time.sleep(0.5)

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children")
        with contextlib.suppress(OSError, IndexError, ValueError):
            self._leader = int(children.read_text().split()[0])
            said = self.run("systemctl", "is-system-running").stdout.strip()
            return said in ("running", "degraded")
        return False

    @property
    def _pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def run(
        self, *command: str, within_s: float = 1200.0, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as root."""
        return subprocess.run(
            self.enter(*command),
            input=given, capture_output=True, text=True, timeout=within_s, check=False,
        )  # fmt: skip

    def enter(self, *command: str) -> list[str]:
        """Return what runs a command in the machine as root."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C"]
        path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin"
        return [*enter, "env", "-i", "HOME=/root", "LANG=C.UTF-8", path, *command]

    def ok(self, *command: str, within_s: float = 1200.0, given: str = "") -> str:
        """Run a command that must end with status 0; return its stdout."""
        done = self.run(*command, within_s=within_s, given=given)
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def python(self, program: str, *arguments: str) -> str:
        """Run a program by the installed Python; return its stdout."""
        return self.ok("/opt/wattwarden/bin/python", "-", *arguments, given=program)

    def show(self, unit: str, key: str) -> str:
        """Return a property of a unit."""
        return self.ok("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def path(self, name: str) -> Path:
        """Return a file of the machine as this side sees it."""
        return self._root / name.lstrip("/")

    def close(self) -> None:
        """Power it off and forget it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()  # nspawn halts the machine
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
        subprocess.run(["umount", "--lazy", str(self._root)], capture_output=True, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def machine(shared: Path) -> Iterator[Machine]:
    """Give a booted machine; one at a time, since they share a control group."""
    base()
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Machine(shared)
        try:
            made.boot()
            yield made
        finally:
            made.close()
