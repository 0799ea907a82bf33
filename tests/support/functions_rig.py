"""The functions of the cloud, run by Google's own functions-framework on loopback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.support.port_process import PortProcess

SOURCE = Path(__file__).resolve().parents[2] / "functions" / "main.py"
HOST = Path(__file__).with_name("functions_host.py")
NAMES = ("command", "join", "leave", "push")


class FunctionsRig(PortProcess):
    """One process with all functions; a context manager. It finds emulators by the environment."""

    start_s: ClassVar[float] = 90.0

    def __init__(self, project: str, port: int = 0) -> None:
        super().__init__(port)
        self._project = project

    @property
    def address(self) -> str:
        """Return what `cloud.functions_url` must be."""
        return f"http://127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        projects = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT")
        return subprocess.Popen(
            [sys.executable, HOST, SOURCE, str(self.port), *NAMES],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **dict.fromkeys(projects, self._project)},
        )  # fmt: skip

    def call(self, name: str, data: object, token: str | None) -> httpx.Response:
        """Call a function as an app does."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.post(self.url(name), json={"data": data}, headers=headers, timeout=30)

    def url(self, name: str) -> str:
        """Return a function's address."""
        return f"{self.address}/{name}"

    def result(self, name: str, data: object, token: str) -> dict[str, Any]:
        """Return what a call gives; raise where it is refused."""
        found: dict[str, Any] = self.call(name, data, token).raise_for_status().json()["result"]
        return found
