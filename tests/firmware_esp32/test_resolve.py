"""Names to addresses: dotted ones, the system's, and a DNS server that may be of no use."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import resolve
from errors import LinkError

Reply = Callable[[bytes], bytes]


class Server(asyncio.DatagramProtocol):
    """Answers every question with what `reply` makes of it."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.reply(data), addr)


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Server(reply), local_addr=("127.0.0.1", 0)
    )
    yield transport.get_extra_info("sockname")[1]
    transport.close()


def with_alias(question: bytes) -> bytes:
    """Answer with a CNAME and the address of its target."""
    head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 2, 0, 0)
    target = b"\x04time\xc0\x0c"
    alias = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, len(target)) + target
    place = len(question) + 12
    address = struct.pack(">HHHIH", 0xC000 | place, 1, 1, 60, 4) + bytes((192, 0, 2, 9))
    return head + question[12:] + alias + address


async def test_an_alias_leads_to_its_address() -> None:
    async with serving(with_alias) as port:
        assert await resolve.ask("127.0.0.1", "ntp.example.org", 77, port) == "192.0.2.9"


@pytest.mark.parametrize(
    "reply",
    [
        lambda question: question,  # a question is no answer
        lambda question: b"\x00\x00" + with_alias(question)[2:],  # another's answer
        lambda question: with_alias(question)[:-3],
        lambda question: question[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question[12:],
    ],
)
async def test_no_usable_answer_is_none(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "WITHIN_MS", 200)
    async with serving(reply) as port:
        assert await resolve.ask("127.0.0.1", "ntp.example.org", 77, port) is None


async def test_what_needs_no_server() -> None:
    assert await resolve.resolve("192.0.2.1", lambda: 0) == "192.0.2.1"
    assert await resolve.resolve("localhost", lambda: 0) == "127.0.0.1"


@pytest.mark.parametrize("name", ["", "a" * 64 + ".local", "b..local", "nobody.invalid"])
async def test_a_name_that_leads_nowhere_is_a_link_error(name: str) -> None:
    with pytest.raises(LinkError):
        await resolve.resolve(name, lambda: 1)
