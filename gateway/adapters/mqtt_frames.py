"""Read the broker's packets many at a time; paho takes each in three pieces, one by one.

Only PUBLISH at QoS 0 and 1 is read here, and the PUBACKs of what paho did not send. Every other
packet, and the news of a broken connection, goes to paho as if it had read the socket itself
(measured: docs/performance.md).
"""

import socket
import ssl
from collections.abc import Callable

from paho.mqtt.client import Client

READ_BYTES = 65_536  # some 300 readings: the loop's other work waits a few milliseconds
# When the last read was a full one: each costs a turn of the loop, and a busy loop has few. With
# small reads a flood of one meter then waits in the broker's one queue, before all others'
# messages, and not here, where the fairness rule sees it (decision 24).
READ_MUCH_BYTES = 524_288
# MQTT 3.1.1, 2.2 and 3.3.1: the packet's type and QoS; DUP (8) and RETAIN (1) are masked out.
TYPE_AND_QOS = 0xF6
PUBLISH_QOS_0, PUBLISH_QOS_1 = 0x30, 0x32
PUBACK, PUBACK_BYTES = 0x40, 2  # its packet id (3.4)
RETAIN = 0x01
LENGTH_BYTES = 4  # at most, of the remaining length (2.2.3)
MORE = 0x80

Deliver = Callable[[str, bytes, int, bool], None]
Confirmed = Callable[[int], bool]


class FrameReader:
    """Stands between a connected paho client's socket and paho.

    `deliver` gets topic, payload, packet id (0 at QoS 0) and whether it was retained.
    `confirmed` gets a PUBACK's packet id; False says that paho has to know of it.
    """

    def __init__(self, paho: Client, deliver: Deliver, confirmed: Confirmed) -> None:
        self._paho = paho
        self._deliver = deliver
        self._confirmed = confirmed
        self._rest = b""  # of a packet that has not come whole
        self._read_bytes = READ_BYTES
        self._for_paho = memoryview(b"")
        self._broken: OSError | None = None
        self._closed = False
        # paho reads what we hand over where it would have read its socket.
        self._receive = paho._sock_recv  # noqa: SLF001 - paho offers no other way to feed it
        setattr(paho, "_sock_recv", self._serve)  # noqa: B010 - replaces a method of one client

    def read(self) -> None:
        """Take what the socket holds; paho is told when the connection broke."""
        paho = self._paho
        sock = paho.socket()
        if not isinstance(sock, socket.socket):
            return
        if paho._in_packet["command"]:  # noqa: SLF001 - one it had begun before we came
            paho.loop_read()
            return
        try:
            data = _receive_all(sock, self._read_bytes)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken = error
        else:
            self._read_bytes = READ_BYTES if len(data) < READ_BYTES else READ_MUCH_BYTES
            if data:
                self._take(self._rest + data)
                return
            self._closed = True
        paho.loop_read()

    def _take(self, data: bytes) -> None:
        at, end = 0, len(data)
        while end - at > 1:
            kind, length, body = data[at], data[at + 1], at + 2
            if length & MORE:
                length, body = _long_length(data, at + 1)
            stop = body + length
            if stop > end or body > end:
                break
            if not (self._publish(kind, data, body, stop) or self._puback(kind, data, body, stop)):
                self._hand_over(data[at:stop])
                if self._paho.socket() is None:  # it has closed the connection
                    self._rest = b""
                    return
            at = stop
        self._rest = data[at:]

    def _publish(self, kind: int, data: bytes, body: int, stop: int) -> bool:
        """Deliver a PUBLISH; False for what paho has to look at."""
        what = kind & TYPE_AND_QOS
        if what not in {PUBLISH_QOS_0, PUBLISH_QOS_1} or stop - body < 2:  # noqa: PLR2004 - a length
            return False
        topic_end = body + 2 + (data[body] << 8 | data[body + 1])
        payload, token = topic_end, 0
        if what == PUBLISH_QOS_1:
            payload += 2
            if payload > stop:
                return False
            token = data[topic_end] << 8 | data[topic_end + 1]
        if payload > stop:
            return False
        topic = data[body + 2 : topic_end].decode(errors="replace")
        self._deliver(topic, data[payload:stop], token, bool(kind & RETAIN))
        return True

    def _puback(self, kind: int, data: bytes, body: int, stop: int) -> bool:
        """Tell of a PUBACK; False for what paho has to look at."""
        if kind != PUBACK or stop - body != PUBACK_BYTES:
            return False
        return self._confirmed(data[body] << 8 | data[body + 1])

    def _hand_over(self, packet: bytes) -> None:
        self._for_paho = memoryview(packet)
        self._paho.loop_read()

    def _serve(self, size: int) -> bytes:
        """Give paho what it asks for, as its socket would."""
        if self._for_paho:
            piece, self._for_paho = bytes(self._for_paho[:size]), self._for_paho[size:]
            return piece
        if self._broken is not None:
            raise self._broken
        if self._closed:
            return b""
        if self._paho._in_packet["command"] and not self._rest:  # noqa: SLF001 - begun before us
            return self._receive(size)
        raise BlockingIOError


def _receive_all(sock: socket.socket, most_bytes: int) -> bytes:
    """Read once, and what TLS has decoded already: no further readiness announces it."""
    try:
        data = sock.recv(most_bytes)
        while isinstance(sock, ssl.SSLSocket) and data and sock.pending():
            data += sock.recv(READ_BYTES)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
        raise BlockingIOError from error
    return data


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a remaining length of two bytes or more, and where the packet's body begins.

    One that has not come whole gives a body beyond the data; a malformed one is left to paho.
    """
    length = 0
    for place in range(LENGTH_BYTES):
        if at + place >= len(data):
            break
        byte = data[at + place]
        length |= (byte & ~MORE) << (7 * place)
        if not byte & MORE:
            return length, at + place + 1
    else:
        return 0, at + LENGTH_BYTES + 1  # five bytes: paho calls it a breach of the protocol
    return 0, len(data) + 1
