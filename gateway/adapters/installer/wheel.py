"""A wheel of this project: its version, its fingerprint, and the files it carries for us."""

import hashlib
import zipfile
from pathlib import Path

from gateway.adapters.installer.errors import InstallError, explain

SHARE = "data/data/share/wattwarden/"


class Wheel:
    """One wheel file. Raises InstallError when it is none of ours."""

    def __init__(self, path: Path) -> None:
        """Look into the file."""
        self.path = path.resolve()
        parts = path.name.split("-")
        if path.suffix != ".whl" or parts[0] != "wattwarden" or len(parts) < 5:  # noqa: PLR2004
            msg = f"--wheel: {path} is not a wheel of wattwarden (wattwarden-VERSION-….whl)"
            raise InstallError(msg)
        self.version = parts[1]
        try:
            self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with zipfile.ZipFile(self.path) as archive:
                prefix = f"wattwarden-{self.version}.{SHARE}"
                self._share = {
                    name.removeprefix(prefix): archive.read(name)
                    for name in archive.namelist()
                    if name.startswith(prefix) and not name.endswith("/")
                }
        except OSError as error:
            raise explain(error) from error
        except zipfile.BadZipFile as error:
            msg = f"--wheel: {path} is damaged: {error}; build or copy it again"
            raise InstallError(msg) from error

    def share(self, name: str) -> bytes:
        """Return a file of share/wattwarden, such as `systemd/wattwarden.service`."""
        try:
            return self._share[name]
        except KeyError as error:
            msg = f"--wheel: {self.path} lacks share/wattwarden/{name}; build it again"
            raise InstallError(msg) from error


def newest_in(folder: Path) -> Path:
    """Return the newest wheel of ours in a folder; InstallError when there is none."""
    found = sorted(folder.glob("wattwarden-*.whl"), key=lambda path: path.stat().st_mtime)
    if not found:
        msg = f"no wattwarden-*.whl in {folder}; in a checkout `make wheelhouse` makes one"
        raise InstallError(msg)
    return found[-1]
