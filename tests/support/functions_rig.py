"""The functions of the cloud, run by Google's own functions-framework on loopback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx

from tests.support.metadata_stub import MetadataStub
from tests.support.port_process import PortProcess

SOURCE = Path(__file__).resolve().parents[2] / "functions" / "main.py"
HOST = Path(__file__).with_name("functions_host.py")
NAMES = ("command", "join", "leave", "push")
# By these a library would know the project; functions of the second generation have none of them.
UNSET = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS")


class FunctionsRig(PortProcess):
    """One process with all functions; a context manager. It finds emulators by the environment.

    Whose project it is only a metadata server tells, as it does where `gcloud` deploys them.
    """

    start_s: ClassVar[float] = 90.0

    def __init__(self, project: str, port: int = 0) -> None:
        super().__init__(port)
        self._metadata = MetadataStub(project)

    @property
    def address(self) -> str:
        """Return what `cloud.functions_url` must be."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._metadata.__enter__()
        return super().__enter__()

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)
        self._metadata.__exit__(*given)

    def _launch(self) -> subprocess.Popen[bytes]:
        known = {name: value for name, value in os.environ.items() if name not in UNSET}
        return subprocess.Popen(
            [sys.executable, HOST, SOURCE, str(self.port), *NAMES],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**known, "CLOUDSDK_CONFIG": os.devnull, **self._metadata.environment},
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
