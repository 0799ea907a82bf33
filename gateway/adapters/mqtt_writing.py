"""Write the packets of one turn of the loop in one piece; paho builds and sends each by itself.

Half of what a busy gateway sends are acks, and what paho does for each, with the answer to it, was
a fifth of the loop's time at 500 readings a second (py-spy; docs/performance.md).
"""

import asyncio
from collections.abc import Iterable

from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType

# MQTT 3.1.1, 2.2 and 3.3.1
PUBLISH, QOS_1, RETAIN = 0x30, 0x02, 0x01
MORE, LOW_BITS = 0x80, 7


class PacketWriter:
    """Gathers packets for a connected paho client, and hands them over once in a turn.

    Only from the event loop. What waits is lost with the connection, as in any socket's buffer.
    """

    def __init__(self, paho: Client) -> None:
        self._paho = paho
        self._parts: list[bytes] = []

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a retained message at QoS 0."""
        self._add(publish_packet(topic, payload, 0))

    def publish_surely(self, topic: str, payload: bytes) -> int:
        """Send a retained message at QoS 1; return the packet id that its PUBACK will carry."""
        packet_id = self._paho._mid_generate()  # noqa: SLF001 - ids are shared with paho's own
        self._add(publish_packet(topic, payload, packet_id))
        return packet_id

    def acknowledge(self, tokens: Iterable[int]) -> None:
        """Send the PUBACK of each message."""
        if packets := pubacks(tokens):
            self._add(packets)

    def flush(self) -> None:
        """Hand over what waits; before paho itself sends something that must come after it."""
        packets = b"".join(self._parts)
        self._parts.clear()
        if packets and self._paho.socket() is not None:
            # As a PUBACK: paho does nothing more after writing one.
            self._paho._packet_queue(MessageType.PUBACK, packets, 0, 1)  # noqa: SLF001

    def _add(self, packet: bytes) -> None:
        if not self._parts:
            asyncio.get_running_loop().call_soon(self.flush)
        self._parts.append(packet)


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """Return a retained PUBLISH (MQTT 3.1.1, 3.3), at QoS 1 where it has a packet id."""
    name = topic.encode()
    head = PUBLISH | RETAIN | (QOS_1 if packet_id else 0)
    mid = packet_id.to_bytes(2) if packet_id else b""
    size = 2 + len(name) + len(mid) + len(payload)
    return b"".join((bytes((head,)), _length(size), len(name).to_bytes(2), name, mid, payload))


def pubacks(tokens: Iterable[int]) -> bytes:
    """Return the PUBACK packets of these packet ids (MQTT 3.1.1, 3.4)."""
    return b"".join(b"\x40\x02" + token.to_bytes(2) for token in tokens)


def _length(size: int) -> bytes:
    """Return a remaining length, seven bits a byte (MQTT 3.1.1, 2.2.3)."""
    out = bytearray()
    while size >= MORE:
        out.append(MORE | size & ~MORE & 0xFF)
        size >>= LOW_BITS
    out.append(size)
    return bytes(out)
