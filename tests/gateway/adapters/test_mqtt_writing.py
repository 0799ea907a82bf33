"""Packets written many at a time: what is read of them is what was to be sent."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.mqtt_writing import PacketWriter, pubacks, publish_packet
from tests.gateway.adapters.test_mqtt_frames import rig


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    st.binary(max_size=40_000),
    st.integers(0, 65_535),
)
def test_what_is_written_is_read(topic: str, payload: bytes, packet_id: int) -> None:
    with rig() as on:
        on.feed(publish_packet(topic, payload, packet_id))
        assert on.got == [(topic, payload, packet_id, True)]


def test_acknowledgements_in_one_piece() -> None:
    assert pubacks([1, 65_535]) == b"\x40\x02\x00\x01\x40\x02\xff\xff"


async def test_what_comes_together_goes_together() -> None:
    with rig() as on:
        writer = PacketWriter(on.paho)
        packet_id = writer.publish_surely("ww/v1/m/ack", b"{}")
        writer.acknowledge([5])
        writer.publish("ww/v1/m/live/grid/p", b"1.5")
        writer.acknowledge([])
        await asyncio.sleep(0.01)
        on.paho.loop_write()
        assert on.broker.recv(1000) == (
            publish_packet("ww/v1/m/ack", b"{}", packet_id)
            + pubacks([5])
            + publish_packet("ww/v1/m/live/grid/p", b"1.5", 0)
        )
        writer.flush()  # nothing waits
        assert not on.paho.want_write()


async def test_what_waits_when_the_connection_breaks_is_dropped() -> None:
    with rig() as on:
        writer = PacketWriter(on.paho)
        writer.publish("t", b"1")
        on.broker.close()
        on.reader.read()
        await asyncio.sleep(0.01)
        assert not on.paho.want_write()
