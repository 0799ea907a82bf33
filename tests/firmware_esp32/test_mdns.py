"""The gateway found by multicast DNS: a real responder, and names that lead nowhere."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final
from xml.etree import ElementTree as ET

import dnsmsg
import mdns
import pytest
import udp
from errors import LinkError
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from tests.support.firmware import ROOT, needs_vm, vm

SERVICE: Final = mdns.SERVICES[0] + "."
ASKED: Final = 0x1234
IP_MULTICAST_IF: Final = 32
LOOPBACK: Final = bytes((127, 0, 0, 1))


class LoopbackQuestion(udp.Question):
    """Sends its multicast to this machine alone."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(address, port)
        self._socket.setsockopt(0, IP_MULTICAST_IF, LOOPBACK)


@pytest.fixture
async def responder(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncZeroconf]:
    """Run a real mDNS responder that the meter's questions reach through loopback."""
    monkeypatch.setattr(mdns, "Question", LoopbackQuestion)
    running = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
    yield running
    await running.async_close()


async def announce(
    responder: AsyncZeroconf, host: str, port: int = 8883, service: str = SERVICE
) -> None:
    info = ServiceInfo(
        service,
        f"Wattwarden on {host}.{service}",
        port=port,
        server=f"{host}.local.",
        addresses=[socket.inet_aton("127.0.0.1")],
        properties={"v": "1"},
    )
    await (await responder.async_register_service(info, cooperating_responders=True))


async def test_the_gateway_is_found(responder: AsyncZeroconf) -> None:
    await announce(responder, "wattpi")
    assert await mdns.find_gateways(ASKED) == [("wattpi.local", "127.0.0.1", 8883)]
    assert await mdns.find_host("wattpi.local", ASKED) == "127.0.0.1"
    assert await mdns.find_host("nobody.local", ASKED, within_ms=200) is None


async def test_our_own_service_comes_before_any_broker(responder: AsyncZeroconf) -> None:
    await announce(responder, "aaa", 1883, mdns.SERVICES[1] + ".")
    await announce(responder, "wattpi")
    found = await mdns.find_gateways(ASKED)
    assert found[0] == ("wattpi.local", "127.0.0.1", 8883)


@needs_vm
async def test_the_vm_finds_it_too(responder: AsyncZeroconf) -> None:
    await announce(responder, "wattpi")
    program = """
import asyncio, json, mdns, udp
class Loopback(udp.Question):
    def __init__(self, address, port):
        super().__init__(address, port)
        self._socket.setsockopt(0, 32, bytes((127, 0, 0, 1)))
mdns.Question = Loopback
print(json.dumps(asyncio.run(mdns.find_gateways(4660))))
"""
    said = await asyncio.to_thread(vm, program)
    assert json.loads(said) == [["wattpi.local", "127.0.0.1", 8883]]


async def test_nobody_there_is_an_empty_list() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert await mdns.find_gateways(ASKED, "127.0.0.1", port, 200) == []


def test_the_service_file_announces_what_the_meter_looks_for() -> None:
    text = (ROOT / "systemd" / "wattwarden.avahi.service").read_text()
    group = ET.fromstring(text)  # noqa: S314 - our own file
    types = {str(kind.text): group.findtext(".//port") for kind in group.iter("type")}
    assert types == {mdns.SERVICES[0].removesuffix(".local"): "8883"}


# -- messages -----------------------------------------------------------------------------


def answer(body: bytes, records: int = 1) -> bytes:
    return struct.pack(">HHHHHH", ASKED, 0x8400, 0, records, 0, 0) + body


def test_a_compressed_answer_is_read() -> None:
    name = b"\x05Grid1\x05local\x00"  # at 12
    first = name + struct.pack(">HHIH", dnsmsg.A, 0x8001, 120, 4) + bytes((10, 0, 0, 7))
    target = b"\x02pi\xc0\x12"  # pi.local
    second = b"\xc0\x0c" + struct.pack(">HHIH", dnsmsg.SRV, 1, 120, 6 + len(target))
    second += struct.pack(">HHH", 0, 0, 8883) + target
    assert dnsmsg.records(answer(first + second, 2), ASKED) == [
        ("grid1.local", dnsmsg.A, "10.0.0.7"),
        ("grid1.local", dnsmsg.SRV, (0, 8883, "pi.local")),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"\xc0\x0c" + bytes(10),  # points to itself
        b"\xc0\xff" + bytes(10),  # points forwards, out of the message
        b"\x7f" + bytes(200),  # a label of a forbidden kind
        b"\x05ab",  # cut off
        (b"\x3f" + b"a" * 63) * 5 + bytes(11),  # longer than a name may be
        b"\x01a\x00" + struct.pack(">HHIH", 1, 1, 0, 400) + bytes(4),  # data beyond the end
        b"\x02\xff\xfe\x00" + bytes(10),  # no UTF-8
    ],
)
def test_malformed_names_are_link_errors(body: bytes) -> None:
    with pytest.raises(LinkError):
        dnsmsg.records(answer(body), ASKED)


def test_another_questions_answer_is_refused() -> None:
    with pytest.raises(LinkError):
        dnsmsg.records(answer(b"", 0), ASKED + 1)


PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"\xc0\x0c", b"\xc0\x10", b"\x05local\x00", b"\x04_tcp"]),
    st.builds(
        lambda kind, length: struct.pack(">HHIH", kind, 1, 9, length),
        st.sampled_from([dnsmsg.A, dnsmsg.PTR, dnsmsg.SRV, 16]),
        st.integers(0, 40),
    ),
)


@given(st.lists(PIECES, max_size=30), st.integers(0, 0xFFFF))
def test_no_message_breaks_the_parser(pieces: list[bytes], count: int) -> None:
    message = answer(b"".join(pieces), count)
    known = mdns.Known()
    known.add(message, ASKED)
    known.services()
    assert len(known.missing()) <= mdns.MOST_GATEWAYS
    try:
        found = dnsmsg.records(message, ASKED)
    except LinkError:
        return
    assert len(found) <= dnsmsg.MOST_RECORDS
    assert all(len(name) <= dnsmsg.LONGEST_NAME for name, _, _ in found)


@given(st.binary(max_size=300))
def test_no_datagram_breaks_the_parser(raw: bytes) -> None:
    mdns.Known().add(raw, ASKED)
    mdns.Known().add(struct.pack(">H", ASKED) + raw, ASKED)
