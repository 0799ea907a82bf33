"""The Auth emulator of firebase-tools, fetched once by npm into a cache of the checkout."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.support.port_process import PortProcess

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "firebase-tools"
RELEASE = "15.34.2"
INSTALL_S = 600.0
START_S = 90.0  # it compiles Google's whole API first: seconds on an idle machine
KEY = "any-key"  # the emulator takes every key
PASSWORD = "correct horse battery staple"


class NoAuthEmulatorError(Exception):
    """The emulator cannot be had here; the message says why."""


def installed() -> Path:
    """Return the folder with firebase-tools, installed when it is not there yet.

    Raises NoAuthEmulatorError without node or npm, or where npm's registry does not answer.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        msg = "node and npm are not installed: apt install nodejs npm"
        raise NoAuthEmulatorError(msg)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _present() != RELEASE:
            _install()
    return CACHE


def _present() -> str:
    package = CACHE / "node_modules" / "firebase-tools" / "package.json"
    try:
        return str(json.loads(package.read_text())["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _install() -> None:
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(CACHE))
    try:
        done = subprocess.run(
            ["npm", "install", *options, f"firebase-tools@{RELEASE}"],
            cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        msg = f"npm did not install firebase-tools within {INSTALL_S:.0f} s"
        raise NoAuthEmulatorError(msg) from error
    if done.returncode != 0:
        msg = f"npm could not install firebase-tools: {done.stderr[-500:]}"
        raise NoAuthEmulatorError(msg)


class AuthRig(PortProcess):
    """The emulator as a process; a context manager. `host` is for FIREBASE_AUTH_EMULATOR_HOST."""

    start_s: ClassVar[float] = START_S

    def __init__(self, folder: Path, project: str, port: int = 0) -> None:
        super().__init__(port)
        self._folder = folder
        self.project = project

    @property
    def host(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("auth_emulator.js")
        environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1", "CI": "true"}
        return subprocess.Popen(
            ["node", script, self._folder, str(self.port), self.project],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment,
            cwd=self._folder,
        )  # fmt: skip

    def sign_up(self, email: str) -> dict[str, Any]:
        """Make an account; return `idToken`, `localId` (the uid) and `refreshToken`."""
        return self._ask("accounts:signUp", email=email, password=PASSWORD)

    def sign_in(self, email: str) -> dict[str, Any]:
        """Log in by password; return as `sign_up` does."""
        return self._ask("accounts:signInWithPassword", email=email, password=PASSWORD)

    def delete(self, id_token: str) -> None:
        """Delete an account; its ID token goes on until it ends."""
        self._ask("accounts:delete", idToken=id_token)

    def _ask(self, what: str, **body: str) -> dict[str, Any]:
        url = f"http://{self.host}/identitytoolkit.googleapis.com/v1/{what}?key={KEY}"
        answer = httpx.post(url, json={**body, "returnSecureToken": True}, timeout=20)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found
