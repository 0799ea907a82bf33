"""DNS messages (RFC 1035), as far as an mDNS or DNS question for an address needs them."""

import struct

from errors import LinkError

A = 1
PTR = 12
SRV = 33
INTERNET = 1
RESPONSE = 0x8000
RECURSION = 0x0100
CACHE_FLUSH = 0x8000  # mDNS's mark in the class (RFC 6762, 10.2)
HEADER = 12
POINTER = 0xC0
LONGEST_LABEL = 63
LONGEST_NAME = 255
MOST_RECORDS = 64
MOST_JUMPS = 16
STRUCT_ERROR = getattr(struct, "error", ValueError)  # MicroPython raises ValueError
FIXED = struct.calcsize(">HHIH")  # type, class, TTL, length of a record


def question(message_id: int, names: "list[tuple[str, int]]", flags: int = 0) -> bytes:
    """Return a query for (name, type) pairs; LinkError when a name cannot be written."""
    message = struct.pack(">HHHHHH", message_id, flags, len(names), 0, 0, 0)
    for name, kind in names:
        message += _packed(name) + struct.pack(">HH", kind, INTERNET)
    return message


def records(message: bytes, message_id: int) -> "list[tuple[str, int, object]]":
    """Return the (name in lower case, type, value) of an answer's A, PTR and SRV records.

    The value of an A is its dotted address, of a PTR a name, of a SRV (priority, port,
    target). LinkError when the message is no answer to `message_id`, or malformed.
    """
    try:
        return _records(message, message_id)
    except (IndexError, ValueError, STRUCT_ERROR) as error:
        msg = "malformed DNS message"
        raise LinkError(msg) from error


def _records(message: bytes, message_id: int) -> "list[tuple[str, int, object]]":
    if len(message) < HEADER:
        msg = "malformed DNS message"
        raise LinkError(msg)
    given, flags, questions, *counts = struct.unpack(">HHHHHH", message[:HEADER])
    total = sum(counts)
    if given != message_id or not flags & RESPONSE or questions > MOST_RECORDS:
        msg = "no answer to this question"
        raise LinkError(msg)
    at = HEADER
    for _ in range(questions):
        _, at = name_at(message, at)
        at += 4
    found: list[tuple[str, int, object]] = []
    for _ in range(min(total, MOST_RECORDS)):
        name, at = name_at(message, at)
        kind, where, _, length = struct.unpack(">HHIH", message[at : at + FIXED])
        at += FIXED
        if at + length > len(message):
            msg = "malformed DNS message"
            raise LinkError(msg)
        if where & ~CACHE_FLUSH == INTERNET:
            value = _value(message, at, length, kind)
            if value is not None:
                found.append((name, kind, value))
        at += length
    return found


def _value(message: bytes, at: int, length: int, kind: int) -> object:
    if kind == A and length == 4:  # noqa: PLR2004 - an IPv4 address
        return "{}.{}.{}.{}".format(*message[at : at + 4])
    if kind == PTR:
        return name_at(message, at)[0]
    if kind == SRV and length > 6:  # noqa: PLR2004 - RFC 2782: priority, weight, port
        priority, _, port = struct.unpack(">HHH", message[at : at + 6])
        return priority, port, name_at(message, at + 6)[0]
    return None


def name_at(message: bytes, at: int) -> "tuple[str, int]":
    """Return the name at a place in lower case, and where what follows it starts.

    Pointers (RFC 1035, 4.1.4) must lead backwards, so that they cannot lead in a circle.
    """
    labels: list[str] = []
    end = 0  # where the name ends in the message: after its first pointer
    size = jumps = 0
    while True:
        length = message[at]
        if length & POINTER == POINTER:
            target = (length & ~POINTER) << 8 | message[at + 1]
            end = end or at + 2
            jumps += 1
            if target >= at or jumps > MOST_JUMPS:
                msg = "malformed DNS name"
                raise LinkError(msg)
            at = target
            continue
        at += 1
        if length == 0:
            return ".".join(labels), end or at
        size += length + 1
        if length > LONGEST_LABEL or size > LONGEST_NAME or at + length > len(message):
            msg = "malformed DNS name"
            raise LinkError(msg)
        labels.append(message[at : at + length].decode().lower())
        at += length


def _packed(name: str) -> bytes:
    packed = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode()
        if not 1 <= len(raw) <= LONGEST_LABEL:
            msg = f"{name} is no host name"
            raise LinkError(msg)
        packed += bytes((len(raw),)) + raw
    if len(packed) >= LONGEST_NAME:
        msg = "a host name that is too long"
        raise LinkError(msg)
    return packed + b"\0"
