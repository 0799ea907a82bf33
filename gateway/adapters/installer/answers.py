"""What an installation needs to know about the house, and the settings file made of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.layout import Layout

CREDENTIALS = "/run/credentials/wattwarden.service"
LAN_PORT = 8443
ANNOUNCED = "wattwarden.local"  # what the daemon calls itself by mDNS


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person or a script has chosen; every field has a default that suits a home."""

    site: str = "home"
    timezone: str = "UTC"
    hostname: str = "raspberrypi"
    lan: bool = True  # the app and meters over the home's network, by TLS; else this machine only
    internet: bool = False  # may the daemon talk to the internet (cloud, notifications)
    packages: bool = True  # apt-get what is missing
    card_care: bool = True  # journal capped, no access times written
    start: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names by which people and meters reach this machine."""
        bare = self.hostname.split(".")[0]
        own = [f"{bare}.local", bare, self.hostname, ANNOUNCED, "localhost"]
        return tuple(dict.fromkeys(own))


def timezone_of(layout: Layout) -> str:
    """Return the machine's time zone, UTC where it tells none."""
    link = layout.real("/etc/localtime")
    if link.is_symlink():
        _, found, zone = str(link.readlink()).partition("zoneinfo/")
        if found:
            return zone
    named = layout.real("/etc/timezone")
    return named.read_text().strip() if named.is_file() else "UTC"


def settings_text(example: str, answers: Answers) -> str:
    """Return the shipped example with the house's own values in it."""
    values: dict[tuple[str, str], object] = {
        ("site", "id"): answers.site,
        ("site", "timezone"): answers.timezone,
    }
    if answers.lan:
        values |= {
            ("web", "host"): "0.0.0.0",  # noqa: S104 - the home's network is meant to reach it
            ("web", "port"): LAN_PORT,
            ("web", "cert_file"): "/etc/wattwarden/web.crt",
            ("web", "key_file"): f"{CREDENTIALS}/web.key",
            ("mdns", "enabled"): True,
        }
    return with_values(example, values)


def with_values(text: str, values: Mapping[tuple[str, str], object]) -> str:
    """Set keys of a TOML text that shows each of them, commented out or not; keep comments.

    Raises InstallError for a key the text does not show.
    """
    left = dict(values)
    section, lines = "", []
    for line in text.split("\n"):
        if header := re.fullmatch(r"\[(\w+)\]\s*", line):
            section = header[1]
        key = re.match(r"(?:# )?(\w+) = (\"[^\"]*\"|[^#\s]+)", line)
        if key is not None and (section, key[1]) in left:
            value = json.dumps(left.pop((section, key[1])))
            lines.append(f"{key[1]} = {value}{line[key.end() :]}")
        else:
            lines.append(line)
    if left:
        msg = f"the example settings lack {', '.join('.'.join(key) for key in left)}"
        raise InstallError(msg)
    return "\n".join(lines)


def read_if_there(path: Path) -> str:
    """Return a text file, "" when it is not there."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
