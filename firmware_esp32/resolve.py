"""From a host's name to an IPv4 address without stopping the meter's loop."""

import socket

import dnsmsg
import mdns
from errors import LinkError
from udp import Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DNS_PORT = 53
WITHIN_MS = 3_000


async def resolve(name: str, random32: "Callable[[], int]") -> str:
    """Return the address of `name`: a dotted address, a `.local` name, or one of DNS."""
    if _dotted(name):
        return name
    if name == "localhost":
        return "127.0.0.1"
    message_id = random32() & 0xFFFF
    if name.endswith(".local"):
        address = await mdns.find_host(name, message_id)
    else:
        server = _dns_server()
        if server is None:
            return _by_system(name)
        address = await ask(server, name, message_id)
    if address is None:
        msg = f"no address for {name}"
        raise LinkError(msg)
    return address


async def ask(server: str, name: str, message_id: int, port: int = DNS_PORT) -> "str | None":
    """Ask a DNS server for an A record; None when it has none or does not answer."""
    question = Question(server, port)
    try:
        for _ in range(2):
            question.send(dnsmsg.question(message_id, [(name, dnsmsg.A)], dnsmsg.RECURSION))
            for answer in await question.answers(WITHIN_MS // 2):
                address = _first_address(answer, message_id)
                if address is not None:
                    return address
    finally:
        question.close()
    return None


def _first_address(answer: bytes, message_id: int) -> "str | None":
    try:
        found = dnsmsg.records(answer, message_id)
    except LinkError:
        return None
    for _, kind, value in found:  # a CNAME's target stands in the same answer
        if kind == dnsmsg.A:
            return str(value)
    return None


def _dns_server() -> "str | None":
    # The board's own getaddrinfo stops everything for seconds when DNS is not there.
    try:
        import network  # noqa: PLC0415 - only boards have it
    except ImportError:
        return None
    server = network.ipconfig("dns")
    return str(server) if server and server != "0.0.0.0" else None  # noqa: S104 - "none known"


def _by_system(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, 0, socket.AF_INET, socket.SOCK_STREAM)
        place: Any = found[0][-1]
    except (OSError, IndexError) as error:
        msg = f"no address for {name}: {error}"
        raise LinkError(msg) from error
    if isinstance(place, tuple):
        return str(place[0])
    # The VM's addresses are raw `struct sockaddr_in`.
    return "{}.{}.{}.{}".format(*bytes(place)[4:8])


def _dotted(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)  # noqa: PLR2004 - IPv4
