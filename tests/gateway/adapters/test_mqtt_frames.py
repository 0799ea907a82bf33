"""Packets read many at a time: whatever the pieces in which a stream of bytes arrives."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, _ConnectionState

from gateway.adapters.mqtt_frames import FrameReader

Delivered = list[tuple[str, bytes, int, bool]]
PINGRESP = b"\xd0\x00"


def length_bytes(length: int) -> bytes:
    """Return MQTT's remaining length (3.1.1, 2.2.3)."""
    out = bytearray()
    while True:
        length, digit = divmod(length, 128)
        out.append(digit | (128 if length else 0))
        if not length:
            return bytes(out)


def publish(
    topic: str, payload: bytes, *, mid: int, retain: bool = False, dup: bool = False
) -> bytes:
    qos = 1 if mid else 0
    first = 0x30 | dup << 3 | qos << 1 | retain
    name = topic.encode()
    body = len(name).to_bytes(2) + name + (mid.to_bytes(2) if mid else b"") + payload
    return bytes([first]) + length_bytes(len(body)) + body


class Rig:
    """A paho client on one end of a socket pair, the test's bytes on the other."""

    def __init__(self) -> None:
        self.broker, ours = socket.socketpair()
        ours.settimeout(0)
        self.paho = Client(CallbackAPIVersion.VERSION2)
        self.paho.manual_ack_set(on=True)
        # As aiomqtt hands it over: connected, the packet with the broker's greeting read.
        self.paho._sock = ours  # noqa: SLF001
        self.paho._state = _ConnectionState.MQTT_CS_CONNECTED  # noqa: SLF001
        self.got: Delivered = []
        self.confirmed: list[int] = []
        self.pahos: set[int] = set()  # packet ids of what paho sent
        self.lost: list[object] = []
        self.paho.on_disconnect = lambda *args: self.lost.append(args[3])
        self.take_over()

    def take_over(self) -> None:
        """Have packets read by the reader from now on."""
        self.reader = FrameReader(
            self.paho, lambda *message: self.got.append(message), self._confirmed
        )

    def _confirmed(self, packet_id: int) -> bool:
        self.confirmed.append(packet_id)
        return packet_id not in self.pahos

    def feed(self, data: bytes) -> None:
        """Let bytes arrive and be read."""
        self.broker.sendall(data)
        self.reader.read()

    def close(self) -> None:
        self.broker.close()
        if (sock := self.paho.socket()) is not None:
            sock.close()


@contextmanager
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        made.close()


messages = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
        st.binary(max_size=400),
        st.integers(0, 65_535),
        st.booleans(),
    ),
    max_size=8,
)


@given(messages, st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_any_pieces_give_the_same_messages(sent: Delivered, sizes: list[int]) -> None:
    stream = b"".join(publish(t, p, mid=m, retain=r) + PINGRESP for t, p, m, r in sent)
    with rig() as on:
        at = turn = 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            on.feed(stream[at : at + size])
            at, turn = at + size, turn + 1
        assert on.got == sent


def test_a_large_message_comes_whole() -> None:
    body = bytes(range(256)) * 1500  # three bytes of remaining length, more than one read
    packet = publish("ww/v1/m/readings", body, mid=7)
    with rig() as on:
        for at in range(0, len(packet), 60_000):
            on.feed(packet[at : at + 60_000])
        assert on.got == [("ww/v1/m/readings", body, 7, False)]


def test_other_packets_are_pahos() -> None:
    with rig() as on:
        published: list[int] = []
        on.paho.on_publish = lambda _c, _d, mid, *_: published.append(mid)
        info = on.paho.publish("a", b"b", qos=1)
        on.pahos.add(info.mid)
        puback = b"\x40\x02" + info.mid.to_bytes(2)
        on.feed(publish("x", b"1", mid=1) + puback[:3])
        on.feed(puback[3:] + publish("x", b"2", mid=2))
        assert published == [info.mid]
        assert [payload for _, payload, _, _ in on.got] == [b"1", b"2"]


def test_a_packet_that_paho_had_begun_is_pahos() -> None:
    with rig() as on:
        seen: list[bytes] = []
        on.paho.on_message = lambda _c, _d, message: seen.append(bytes(message.payload))
        packet = publish("x", b"begun", mid=3)
        del on.paho.__dict__["_sock_recv"]  # before the reader took over
        on.broker.sendall(packet[:4])
        on.paho.loop_read()
        on.take_over()
        on.feed(packet[4:])
        on.feed(publish("x", b"next", mid=4))
        assert (seen, [payload for _, payload, _, _ in on.got]) == ([b"begun"], [b"next"])


@pytest.mark.parametrize("broken", [b"\x32\x01\x00", b"\x30\x02\x00\x09", b"\x32\x03\x00\x01x"])
def test_a_malformed_publish_ends_the_connection_and_delivers_nothing(broken: bytes) -> None:
    with rig() as on:
        on.feed(broken)
        assert on.got == []
        assert len(on.lost) == 1


def test_a_length_of_five_bytes_ends_the_connection() -> None:
    with rig() as on:
        on.feed(b"\x30\xff\xff\xff\xff\xff" + bytes(40))
        assert on.got == []
        assert len(on.lost) == 1


def test_paho_is_told_when_the_broker_is_gone() -> None:
    with rig() as on:
        on.broker.close()
        on.reader.read()
        assert len(on.lost) == 1


def test_acks_of_what_paho_did_not_send_are_told() -> None:
    with rig() as on:
        on.feed(b"\x40\x02\x00\x07" + b"\x40\x02\xff\xff" + PINGRESP)
        assert on.confirmed == [7, 65_535]
