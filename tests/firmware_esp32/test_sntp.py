"""Time from an SNTP server on loopback, and from servers that must not be believed."""

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import sntp
from clock import NTP, Clock
from errors import KissError, LinkError
from hypothesis import given
from hypothesis import strategies as st
from sntp import set_by_ntp

from tests.support.firmware import needs_vm, vm

UNIX_S: Final = 2_208_988_800
NONCE: Final = b"12345678"
Answer = Callable[[bytes], bytes]


def stamp(unix_s: float) -> bytes:
    whole = int(unix_s // 1) + UNIX_S
    return struct.pack(">II", whole % (1 << 32), int(unix_s % 1 * (1 << 32)))


def good(
    request: bytes, *, at_s: float | None = None, first: int = 0x24, stratum: int = 2
) -> bytes:
    now = stamp(time.time() if at_s is None else at_s)
    head = bytes((first, stratum, 6, 0xEC)) + bytes(20)
    return head + request[40:48] + now + now


class Server(asyncio.DatagramProtocol):
    """Answers every question with what `answer` makes of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.answer(data), addr)


@asynccontextmanager
async def serving(answer: Answer) -> Any:  # noqa: ANN401 - an async iterator of ports
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Server(answer), local_addr=("127.0.0.1", 0)
    )
    yield transport.get_extra_info("sockname")[1]
    transport.close()


async def ask(answer: Answer, within_ms: int = 300) -> int:
    async with serving(answer) as port:
        return await sntp.query("127.0.0.1", NONCE, port, within_ms)


async def test_the_time_is_that_of_the_server() -> None:
    unix_ms = await ask(good)
    assert abs(unix_ms - time.time() * 1000) < 100


@pytest.mark.parametrize("at_s", [1_763_760_000.5, 2_085_978_495.75, 2_085_978_496.25, 2.3e9])
async def test_the_second_era_begins_in_2036(at_s: float) -> None:
    unix_ms = await ask(lambda request: good(request, at_s=at_s))
    assert abs(unix_ms - at_s * 1000) < 500


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: good(bytes(48)),  # another's question
        lambda request: good(request)[:40],
        lambda _: b"",
        lambda request: good(request, first=0xE4),  # leap indicator: not synchronised
        lambda request: good(request, first=0x23),  # not a server's answer
        lambda request: good(request, stratum=16),
        lambda request: good(request)[:32] + bytes(16),  # no time
        # received an hour before it was sent
        lambda request: good(request)[:32] + stamp(time.time() - 3600) + stamp(time.time()),
    ],
)
async def test_bad_answers_are_refused(answer: Answer) -> None:
    with pytest.raises(LinkError):
        await ask(answer)


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE"])
async def test_a_kiss_of_death_is_told_apart(code: bytes) -> None:
    def kiss(request: bytes) -> bytes:
        return bytes((0xE4, 0, 6, 0xEC)) + bytes(8) + code + bytes(8) + request[40:48] + bytes(16)

    with pytest.raises(KissError):
        await ask(kiss)


async def test_no_server_is_a_link_error() -> None:
    async with serving(good) as port:
        pass
    with pytest.raises(LinkError, match="no answer"):
        await sntp.query("127.0.0.1", NONCE, port, 200)


@given(st.binary(max_size=80))
def test_no_answer_breaks_it(raw: bytes) -> None:
    with contextlib.suppress(LinkError):
        sntp._time((raw + bytes(48))[:60], 10)  # noqa: SLF001 - the parser alone, fast


class Board:
    """What the clock and the question need of a board."""

    def up_ms(self) -> int:
        return 5_000

    def random32(self) -> int:
        return 0xDEADBEEF

    def free_heap(self) -> int:
        return 0

    def rssi(self) -> int | None:
        return None

    async def wifi(self, _ssid: str, _password: str) -> bool:
        return True


@pytest.mark.parametrize(("at_s", "taken"), [(0.0, False), (1_763_760_000.0, True)])
async def test_the_clock_takes_only_plausible_times(at_s: float, taken: object) -> None:
    board = Board()
    clock = Clock(board)
    async with serving(lambda request: good(request, at_s=at_s)) as port:
        await set_by_ntp("127.0.0.1", clock, board, port)
    assert (clock.now_ms() is not None) is taken
    assert clock.source == (NTP if taken else None)


@needs_vm
async def test_the_vm_asks_the_same_way() -> None:
    program = (
        "import sys, asyncio, json\nfrom sntp import query\n"
        "print(json.dumps(asyncio.run(query('127.0.0.1', b'12345678', int(sys.argv[1])))))"
    )
    async with serving(good) as port:
        said = await asyncio.to_thread(vm, program, str(port))
    assert abs(json.loads(said) - time.time() * 1000) < 2_000
