"""MQTT 3.1.1 packets (OASIS standard, section numbers in brackets): built and taken apart."""

import struct

from errors import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PUBLISH = 0x30
PUBACK = 0x40
SUBSCRIBE = 0x82  # with the reserved bits [3.8.1]
SUBACK = 0x90
PINGREQ = b"\xc0\x00"
PINGRESP = 0xD0
DISCONNECT = b"\xe0\x00"
QOS_BITS = 0x06
QOS_1 = 0x02
RETAIN = 0x01
REFUSED = 0x80  # a SUBACK's return code for a refused subscription [3.9.3]
LENGTH_BYTES = 4  # [2.2.3]


def text(value: str) -> bytes:
    """Return a string with its length in front [1.5.3]."""
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def header(first: int, length: int) -> bytes:
    """Return a fixed header: the first byte and the remaining length [2.2]."""
    raw = bytearray((first,))
    while True:
        digit = length & 0x7F
        length >>= 7
        raw.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(raw)


def publish_head(topic: str, length: int, packet_id: int, retain: bool) -> bytes:
    """Return all of a PUBLISH but its payload of `length` bytes; QoS 0 when packet_id is 0."""
    first = PUBLISH | (QOS_1 if packet_id else 0) | (RETAIN if retain else 0)
    body = text(topic)
    if packet_id:
        body += struct.pack(">H", packet_id)
    return header(first, len(body) + length) + body


def subscribe(packet_id: int, topics: "list[str]") -> bytes:
    """Return SUBSCRIBE at QoS 1."""
    body = struct.pack(">H", packet_id)
    for topic in topics:
        body += text(topic) + b"\x01"
    return header(SUBSCRIBE, len(body)) + body


def puback(packet_id: int) -> bytes:
    """Return PUBACK."""
    return struct.pack(">BBH", PUBACK, 2, packet_id)


def number(view: "bytes | bytearray | memoryview", at: int = 0) -> int:
    """Return the 16-bit number that stands there."""
    return view[at] << 8 | view[at + 1]


def malformed(what: str) -> "NoReturn":
    """Raise the error for a packet that no broker may send."""
    msg = f"malformed packet from the broker: {what}"
    raise LinkError(msg)
