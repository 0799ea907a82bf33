"""The meter's MQTT client against a real broker with password and TLS, in the VM and CPython."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import dial
import mqtt
import packets
import pytest
from errors import LinkError
from hypothesis import given
from hypothesis import strategies as st
from mqtt import Client
from net import RefusedError

from tests.support.certificates import EXPIRED, Authority
from tests.support.firmware import needs_vm
from tests.support.firmware_process import Host, command
from tests.support.mosquitto import Mosquitto

PROGRAM: Final = Path(__file__).with_name("mqtt_program.py")
HOSTS: Final = [pytest.param("vm", marks=needs_vm), "cpython"]
PASSWORD: Final = "correct horse"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Start a broker with TLS that knows the user meter-1 only."""
    directory = tmp_path_factory.mktemp("broker")
    passwords = directory / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), "meter-1", PASSWORD], check=True, timeout=10
    )
    server = authority.server()
    options = {
        "certfile": str(server.certificate),
        "keyfile": str(server.key),
        "set_tcp_nodelay": "true",
        "password_file": str(passwords),
    }
    with Mosquitto(directory, options=options | {"allow_anonymous": "false"}) as running:
        yield running


def run(host: Host, within_s: float = 60, **job: object) -> dict[str, Any]:
    """Run the program to its end; return what it printed last."""
    line, environment = command(host, PROGRAM, job)
    done = subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=within_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("host", HOSTS)
def test_publishes_by_tls_with_password(
    host: Host, broker: Mosquitto, authority: Authority
) -> None:
    result = run(
        host,
        port=broker.port,
        ca=str(authority.ca_file),
        user="meter-1",
        password=PASSWORD,
        messages=20,
        bytes=2000,
    )
    assert result["sent"] == result["received"] == 20
    assert result["largest"] == 2000


@pytest.mark.parametrize("host", HOSTS)
def test_a_wrong_password_is_named(host: Host, broker: Mosquitto, authority: Authority) -> None:
    result = run(
        host,
        port=broker.port,
        ca=str(authority.ca_file),
        user="meter-1",
        password="wrong",
        messages=1,
        bytes=1,
    )
    assert "password" in result["refused"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fault", ["ca", "name", "expired"])
def test_a_wrong_certificate_is_refused(
    host: Host, fault: str, authority: Authority, tmp_path: Path
) -> None:
    names = ["other.local"] if fault == "name" else []
    server = authority.server(*names, **({"until": EXPIRED} if fault == "expired" else {}))
    trusted = Authority(tmp_path / "stranger") if fault == "ca" else authority
    options = {"certfile": str(server.certificate), "keyfile": str(server.key)}
    with Mosquitto(tmp_path / "broker", options=options) as broker:
        result = run(host, port=broker.port, ca=str(trusted.ca_file), messages=1, bytes=1)
    words = {"ca": ("CA", "certificate"), "name": ("match",), "expired": ("expired",)}[fault]
    assert any(word in result["refused"] for word in words), result
    assert result["sent"] == 0


@needs_vm
@pytest.mark.parametrize("messages", [300, pytest.param(5000, marks=pytest.mark.soak)])
def test_the_heap_does_not_grow(messages: int, broker: Mosquitto, authority: Authority) -> None:
    result = run(
        "vm",
        port=broker.port,
        ca=str(authority.ca_file),
        user="meter-1",
        password=PASSWORD,
        messages=messages,
        bytes=1000,
        within_s=600,
    )
    grown = result["free_before"] - result["free_after"]
    sys.stdout.write(
        f"{messages} messages by TLS: heap grown by {grown} bytes, {result['elapsed_ms']} ms\n"
    )
    assert result["sent"] == messages
    assert grown < 2048


@pytest.mark.parametrize("host", HOSTS)
def test_a_message_that_is_too_big_is_skipped_and_the_rest_goes_on(
    host: Host, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path) as broker:
        result = run(
            host, port=broker.port, messages=5, bytes=100_000 if host == "cpython" else 9000
        )
    assert result["sent"] == 5
    assert result["received"] == 0
    assert "closed" in result["lost"]


# -- a broker that misbehaves, in this process ------------------------------------------

CONNACK: Final = b"\x20\x02\x00\x00"
Broker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Made = Callable[..., Client]


@asynccontextmanager
async def serving(broker: Broker) -> AsyncIterator[Made]:
    """Serve `broker` on a free port; gives a function that makes its clients."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await broker(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def make(on_message: Callable[..., None] = lambda *_: None, keepalive_s: int = 30) -> Client:
        place = ("127.0.0.1", port)
        return Client(*place, client_id="m", on_message=on_message, keepalive_s=keepalive_s)

    async with server:
        yield make


async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    header = await reader.readexactly(2)
    await reader.readexactly(header[1])
    writer.write(CONNACK)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def silent_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greeted(reader, writer)
    await reader.read(-1)


async def test_no_connack_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNACK_S", 0.2)
    async with serving(silent) as make:
        with pytest.raises(LinkError, match="does not answer"):
            await make().connect()


async def test_a_half_open_connection_is_found_by_keep_alive() -> None:
    async with serving(silent_later) as make:
        client = make(keepalive_s=1)
        await client.connect()
        with pytest.raises(LinkError, match="nothing heard"):
            await asyncio.wait_for(client.run(), 5)


async def test_a_missing_puback_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "PUBACK_MS", 200)
    async with serving(silent_later) as make:
        client = make()
        await client.connect()
        running = asyncio.create_task(client.run())
        with pytest.raises(LinkError, match="no acknowledgement"):
            await asyncio.wait_for(client.publish("a", "b"), 5)
        with pytest.raises(LinkError, match="no acknowledgement"):
            await running


async def test_publishes_in_flight_are_bounded() -> None:
    seen = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await greeted(reader, writer)
        while header := await reader.readexactly(2):
            await reader.readexactly(header[1])
            seen += 1

    async with serving(count) as make:
        client = make()
        await client.connect()
        running = asyncio.create_task(client.run())
        tasks = [asyncio.create_task(client.publish("a", "b")) for _ in range(10)]
        await asyncio.sleep(0.3)
        client.abort("enough")
        results = await asyncio.gather(*tasks, running, return_exceptions=True)
    assert seen == mqtt.MOST_IN_FLIGHT
    assert all(isinstance(result, LinkError) for result in results)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x30\xff\xff\xff\xff\x7f",  # a length of five bytes
        b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
        b"\x32\x02\x00\x00",  # no packet id
        b"\x30\x03\x00\x09a",  # a topic longer than the packet
        b"\x30\x04\x00\x02\xff\xfe",  # a topic that is no UTF-8
        b"\x40\x03\x00\x01\x00",  # a PUBACK of three bytes
        b"\x00\x00",
        b"\xf0\x00",
    ],
)
async def test_malformed_packets_end_the_connection(raw: bytes) -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greeted(reader, writer)
        writer.write(raw)
        await reader.read(-1)

    async with serving(broker) as make:
        client = make()
        await client.connect()
        with pytest.raises(LinkError, match="malformed"):
            await asyncio.wait_for(client.run(), 5)


@pytest.mark.parametrize(("code", "kind"), [(3, LinkError), (4, RefusedError), (5, RefusedError)])
async def test_refusals_say_who_must_act(code: int, kind: type[LinkError]) -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x02\x00" + bytes((code,)))
        await reader.read(-1)

    async with serving(broker) as make:
        with pytest.raises(LinkError) as caught:
            await make().connect()
        assert type(caught.value) is kind


async def test_a_defect_in_the_receiver_does_not_end_the_connection() -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greeted(reader, writer)
        for n in range(3):
            writer.write(b"\x32\x06\x00\x01a\x00" + bytes((n + 1,)) + b"x")
        for n in range(3):
            assert await reader.readexactly(4) == packets.puback(n + 1)

    heard: list[bytes] = []

    def receiver(_topic: str, payload: memoryview, _retained: object) -> None:
        heard.append(bytes(payload))
        raise KeyError(heard)

    async with serving(broker) as make:
        client = make(receiver)
        await client.connect()
        with pytest.raises(LinkError, match="closed"):
            await client.run()
    assert heard == [b"x"] * 3
    assert client.defects == 3


@given(st.integers(0, 268_435_455))
def test_remaining_lengths_are_those_of_the_standard(length: int) -> None:
    raw = packets.header(packets.PUBLISH, length)
    value = sum((digit & 0x7F) << 7 * k for k, digit in enumerate(raw[1:]))
    assert value == length
    assert len(raw) <= 1 + packets.LENGTH_BYTES
    assert all(digit & 0x80 for digit in raw[1:-1])
    assert not raw[-1] & 0x80
