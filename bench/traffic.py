"""A generator of MQTT traffic that costs next to nothing: what it takes, the gateway lacks.

paho needs 100 µs of CPU for each publish at QoS 1 and its answer: at 5,000 a second half of one of
two cores, and a queue of its own, which would be measured as the gateway's. Here packets are
written and read as they are (MQTT 3.1.1, OASIS 2014, section 3), by one thread on one socket.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _DISCONNECT = 0x10, 0x20, 0x30, 0x82, 0xE0
_QOS_1 = 0x02
_KEEP_ALIVE_S = 600
_TIMEOUT_S = 10.0
_READ_BYTES = 1 << 20


class Wire:
    """One connection; publishes at QoS 1 whose PUBACKs are read and passed over."""

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in = bytearray()
        self._out = bytearray()
        self._packet_id = 0
        head = _text("MQTT") + struct.pack(">BBH", 4, 0x02, _KEEP_ALIVE_S)
        self._out += _packet(_CONNECT, head + _text(name))
        self._answered(_CONNACK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take leave; wait for the broker to close, or it would lose what it has not read yet."""
        self._socket.sendall(bytes(self._out) + bytes((_DISCONNECT, 0)))
        while self._socket.recv(_READ_BYTES):
            pass
        self._socket.close()

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 0 and wait until that is granted."""
        self._out += _packet(_SUBSCRIBE, struct.pack(">H", 1) + _text(topic) + b"\x00")
        self._answered(0x90)

    def publish(self, topic: str, payload: bytes) -> None:
        """Have a message written by the next `turn`."""
        self._packet_id = self._packet_id % 0xFFFF + 1
        body = _text(topic) + struct.pack(">H", self._packet_id) + payload
        self._out += _packet(_PUBLISH | _QOS_1, body)

    def turn(self, until_s: float) -> Iterator[tuple[str, bytes]]:
        """Write what waits, and yield what is published to us until a moment (monotonic s)."""
        while True:
            left_s = max(0.0, until_s - time.monotonic())
            writers = [self._socket] if self._out else []
            readable, writable, _ = select.select([self._socket], writers, [], left_s)
            if writable:
                del self._out[: self._socket.send(self._out)]
            if readable:
                yield from self._read()
            if not self._out and time.monotonic() >= until_s:
                return

    def _read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the messages among the packets that have come."""
        came = self._socket.recv(_READ_BYTES)
        if not came:
            msg = "the broker closed the connection"
            raise ConnectionError(msg)
        self._in += came
        for kind, body in self._packets():
            if kind & 0xF0 == _PUBLISH:
                end = 2 + int.from_bytes(body[:2], "big")
                yield body[2:end].decode(), body[end:]

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        """Take the whole packets off what was read; each has a length of 7 bits a byte."""
        data, at = self._in, 0
        while len(data) - at >= 2:
            size, shift, begin = 0, 0, at + 1
            while begin < len(data):
                size |= (data[begin] & 0x7F) << shift
                begin += 1
                shift += 7
                if not data[begin - 1] & 0x80:
                    break
            else:
                break
            if len(data) < begin + size:
                break
            yield data[at], bytes(data[begin : begin + size])
            at = begin + size
        del data[:at]

    def _answered(self, kind: int) -> None:
        """Write what waits and wait for a packet of this kind."""
        self._socket.sendall(self._out)
        self._out.clear()
        while True:
            self._in += self._socket.recv(_READ_BYTES)
            if any(found == kind for found, _ in self._packets()):
                return


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), bytearray()
    while True:
        size, low = divmod(size, 128)
        length.append(low | 0x80 if size else low)
        if not size:
            return bytes((kind,)) + bytes(length) + body
