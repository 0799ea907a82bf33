"""By which names a browser may call the gateway: the guard against DNS rebinding."""

import ipaddress
from collections.abc import Iterable

LOOPBACK_NAMES = ("localhost", "*.localhost")
LOCAL_NAMES = ("*.local",)  # multicast DNS (RFC 6762): no public name server answers for it


def host_name(header: str) -> str:
    """Return the name or address of a Host header, without port, brackets and final dot."""
    text = header.strip().lower()
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return ""
    return name.removesuffix(".")


def is_address(name: str) -> bool:
    """Tell whether this is a plain IP address, which no name server can rebind."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Tell whether a peer is this machine."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


class KnownHosts:
    """Decides on Host headers."""

    def __init__(self, names: Iterable[str]) -> None:
        patterns = {name.lower() for name in (*LOOPBACK_NAMES, *LOCAL_NAMES, *names) if name}
        self._names = {name for name in patterns if not name.startswith("*.")}
        self._suffixes = tuple(name[1:] for name in patterns if name.startswith("*."))

    def accept(self, header: str) -> bool:
        """Tell whether a request with this Host header is meant for us."""
        name = host_name(header)
        return bool(name) and (
            name in self._names or name.endswith(self._suffixes) or is_address(name)
        )
