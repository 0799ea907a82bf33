"""Finding the gateway and `.local` names by multicast DNS (RFC 6762, one-shot queries of 5.1)."""

import dnsmsg
from errors import LinkError
from ticks import ticks_diff, ticks_ms
from udp import Question

GROUP = "224.0.0.251"
PORT = 5353
# In this order: our own service (systemd/wattwarden.avahi.service), then any broker.
SERVICES = ("_wattwarden-mqtt._tcp.local", "_mqtt._tcp.local")
ASK_EVERY_MS = 1_000
WITHIN_MS = 3_000
MOST_GATEWAYS = 4
MOST_KNOWN = 64  # records remembered during one search


class Known:
    """The records heard so far, bounded."""

    def __init__(self) -> None:
        self._records: list[tuple[str, int, object]] = []

    def add(self, message: bytes, message_id: int) -> None:
        """Take an answer's records; what is malformed or not for us is ignored."""
        try:
            heard = dnsmsg.records(message, message_id)
        except LinkError:
            return
        for record in heard:
            if record not in self._records and len(self._records) < MOST_KNOWN:
                self._records.append(record)

    def address(self, host: str) -> "str | None":
        """Return the IPv4 address of a host, if heard."""
        for name, kind, value in self._records:
            if kind == dnsmsg.A and name == host:
                return str(value)
        return None

    def services(self) -> "list[tuple[int, str, int]]":
        """Return (rank, target, port) of every service heard of, best first."""
        found = []
        for rank, service in enumerate(SERVICES):
            for name, kind, instance in self._records:
                if kind == dnsmsg.PTR and name == service:
                    found += self._targets(rank, str(instance))
        found.sort()
        return [(rank, target, port) for rank, _, target, port in found[:MOST_GATEWAYS]]

    def _targets(self, rank: int, instance: str) -> "list[tuple[int, int, str, int]]":
        found = []
        for name, kind, value in self._records:
            if kind == dnsmsg.SRV and name == instance and isinstance(value, tuple):
                priority, port, target = value
                found.append((rank, int(priority), str(target), int(port)))
        return found

    def missing(self) -> "list[tuple[str, int]]":
        """Return what to ask next so that every service found becomes an address."""
        wanted = []
        for name, kind, instance in self._records:
            if kind == dnsmsg.PTR and name in SERVICES and not self._targets(0, str(instance)):
                wanted.append((str(instance), dnsmsg.SRV))
        for _, target, _ in self.services():
            if self.address(target) is None:
                wanted.append((target, dnsmsg.A))
        return wanted[:MOST_GATEWAYS]


async def find_gateways(
    message_id: int, group: str = GROUP, port: int = PORT, within_ms: int = WITHIN_MS
) -> "list[tuple[str, str, int]]":
    """Return (host name, IPv4 address, port) of the gateways in this network, best first.

    Empty when none answers in time. `message_id` is a random 16-bit number; LinkError when
    nothing can be sent.
    """
    known = Known()
    ask = [(service, dnsmsg.PTR) for service in SERVICES]
    question = Question(group, port)
    try:
        started = asked = ticks_ms()
        question.send(dnsmsg.question(message_id, ask))
        while ticks_diff(ticks_ms(), started) < within_ms:
            for message in await question.answers(min(within_ms, 200)):
                known.add(message, message_id)
            found = _complete(known)
            if found and not known.missing():
                return found
            if ticks_diff(ticks_ms(), asked) >= ASK_EVERY_MS:
                asked = ticks_ms()
                question.send(dnsmsg.question(message_id, known.missing() or ask))
    finally:
        question.close()
    return _complete(known)


async def find_host(
    name: str, message_id: int, group: str = GROUP, port: int = PORT, within_ms: int = WITHIN_MS
) -> "str | None":
    """Return the IPv4 address of a `.local` name, or None when nobody answers in time."""
    known = Known()
    wanted = name.rstrip(".").lower()
    question = Question(group, port)
    try:
        started = ticks_ms()
        while ticks_diff(ticks_ms(), started) < within_ms:
            question.send(dnsmsg.question(message_id, [(wanted, dnsmsg.A)]))
            for message in await question.answers(ASK_EVERY_MS):
                known.add(message, message_id)
            address = known.address(wanted)
            if address is not None:
                return address
    finally:
        question.close()
    return None


def _complete(known: Known) -> "list[tuple[str, str, int]]":
    found = []
    for _, target, port in known.services():
        address = known.address(target)
        if address is not None and port:
            found.append((target, address, port))
    return found
