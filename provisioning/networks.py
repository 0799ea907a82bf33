"""Wi-Fi networks for a meter: checked, or read from a file that only its owner can read."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from gateway.domain.errors import BadInputError
from gateway.settings import read_private

MOST_NETWORKS = 4  # that a meter keeps
# IEEE 802.11: an SSID has at most 32 bytes. WPA: a pass phrase has 8 to 63 characters, a key 64.
LONGEST_SSID, SHORTEST_PASSWORD, LONGEST_PASSWORD = 32, 8, 64


@dataclass(frozen=True, slots=True)
class Network:
    """One Wi-Fi network; an open one has the password ""."""

    ssid: str
    password: str = field(repr=False)


def network(ssid: str, password: str) -> Network:
    """Return a network, or raise BadInputError that says what no router would take."""
    if not 1 <= len(ssid.encode()) <= LONGEST_SSID:
        msg = f"Wi-Fi name: {ssid[:40]!r} must have 1 to {LONGEST_SSID} bytes"
        raise BadInputError(msg)
    if password and not SHORTEST_PASSWORD <= len(password.encode()) <= LONGEST_PASSWORD:
        msg = (
            f"Wi-Fi password of {ssid!r}: it has {len(password)} characters, Wi-Fi takes"
            f" {SHORTEST_PASSWORD} to {LONGEST_PASSWORD - 1}; look at the router's label"
        )
        raise BadInputError(msg)
    return Network(ssid, password)


def from_file(path: Path) -> tuple[Network, ...]:
    """Return the networks in a JSON file: {"ssid", "password"}, or a list of at most four.

    ConfigError when others may read the file, BadInputError when it holds something else.
    """
    text = read_private(path, key="--wifi-file")
    try:
        found = json.loads(text)
    except ValueError as error:
        msg = f"--wifi-file: {path} is not JSON: {error}"
        raise BadInputError(msg) from error
    entries = found if isinstance(found, list) else [found]
    networks = tuple(_entry(one, path) for one in entries)
    if not 1 <= len(networks) <= MOST_NETWORKS:
        msg = f"--wifi-file: {path} must hold 1 to {MOST_NETWORKS} networks"
        raise BadInputError(msg)
    return networks


def _entry(entry: object, path: Path) -> Network:
    known = isinstance(entry, dict) and set(entry) <= {"ssid", "password"}
    if not isinstance(entry, dict) or not known or not isinstance(entry.get("ssid"), str):
        msg = f'--wifi-file: {path} must hold {{"ssid": "…", "password": "…"}}, or a list of such'
        raise BadInputError(msg)
    return network(entry["ssid"], str(entry.get("password", "")))
