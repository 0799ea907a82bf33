"""What a meter's account is worth, at a real mosquitto on our password file, ACL and TLS."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from provisioning import login_check
from provisioning.errors import BrokerError
from provisioning.meter_config import Door
from tests.support.certificates import EXPIRED
from tests.support.certificates import Authority as OtherAuthority
from tests.support.kit_site import KitBroker
from tests.support.mosquitto import find_mosquitto
from tests.support.ports import free_port

NAMES = ("kitchen", "garage")
TAILS = (
    "readings", "state", "events", "result", "bundle/get",
    "ack", "cmd", "desired", "bundle/chunk", "live/grid/p",
)  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KitBroker]:
    """Run mosquitto on files that the kit's own code made."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    made = KitBroker(tmp_path_factory.mktemp("kit"))
    for name in ("gateway", *NAMES):
        made.accounts.set_password(name, f"secret-of-{name}")
    with made:
        yield made


def door(broker: KitBroker, *, name: str = "localhost", ca: bytes | None = None) -> Door:
    return Door("localhost", broker.tls_port, name, ca or broker.authority.certificate)


@asynccontextmanager
async def login(broker: KitBroker, user: str | None) -> AsyncIterator[aiomqtt.Client]:
    context = ssl.create_default_context(cadata=broker.authority.certificate.decode())
    async with aiomqtt.Client(
        "localhost", broker.tls_port, tls_context=context, username=user, identifier=user,
        password=None if user is None else f"secret-of-{user}",
    ) as client:  # fmt: skip
        yield client


async def drain(client: aiomqtt.Client, last: str) -> set[str]:
    topics: set[str] = set()
    async with asyncio.timeout(10):
        async for message in client.messages:
            if message.topic.value == last:
                return topics
            topics.add(message.topic.value)
    msg = "the connection ended"
    raise AssertionError(msg)


async def test_a_meter_reads_and_writes_nothing_of_another(broker: KitBroker) -> None:
    async with login(broker, "gateway") as gateway, login(broker, "kitchen") as meter:
        await gateway.subscribe("ww/v1/#", qos=1)
        for topic in ("ww/v1/#", "#", "ww/v1/+/readings", *(f"ww/v1/garage/{t}" for t in TAILS)):
            await meter.subscribe(topic, qos=1)
        await meter.subscribe("ww/v1/kitchen/ack", qos=1)
        for tail in TAILS:
            await meter.publish(f"ww/v1/garage/{tail}", b"forged", qos=1)
            await gateway.publish(f"ww/v1/garage/{tail}", b"private", qos=1)
        await gateway.publish("ww/v1/kitchen/ack", b"end", qos=1)
        assert await drain(meter, "ww/v1/kitchen/ack") == set()
        await gateway.publish("ww/v1/end", b"", qos=1)
        forged = [m async for m in collected(gateway, "ww/v1/end") if m.payload == b"forged"]
    assert forged == []


async def collected(client: aiomqtt.Client, last: str) -> AsyncIterator[aiomqtt.Message]:
    async with asyncio.timeout(10):
        async for message in client.messages:
            if message.topic.value == last:
                return
            yield message


@pytest.mark.parametrize(
    ("user", "password"),
    [(None, None), ("kitchen", "secret-of-garage"), ("kitchen", ""), ("nobody", "x")],
)
@pytest.mark.parametrize("encrypted", [True, False])
async def test_anonymous_and_wrong_clients_get_nothing(
    broker: KitBroker, user: str | None, password: str | None, *, encrypted: bool
) -> None:
    context = ssl.create_default_context(cadata=broker.authority.certificate.decode())
    port = broker.tls_port if encrypted else broker.port
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
        async with aiomqtt.Client(
            "localhost", port, tls_context=context if encrypted else None,
            username=user, password=password,
        ):  # fmt: skip
            pass


def test_without_tls_the_door_for_meters_says_nothing(broker: KitBroker) -> None:
    with socket.create_connection(("localhost", broker.tls_port), timeout=5) as wire:
        wire.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")
        wire.settimeout(5)
        try:
            answer = wire.recv(100)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"\x20")  # no CONNACK


async def removed_while_connected(broker: KitBroker) -> float:
    """Take a connected meter's account away; return when, once the broker has cut it off."""
    began_s = 0.0
    try:
        async with login(broker, "leaver") as meter, asyncio.timeout(10):
            await meter.publish("ww/v1/leaver/readings", b"last", qos=1)
            began_s = time.monotonic()
            assert broker.accounts.remove("leaver")
            broker.accounts.reload()
            async for _ in meter.messages:
                pass
    except aiomqtt.MqttError:
        return began_s
    msg = "the broker let it stay"
    raise AssertionError(msg)


async def test_a_removed_meter_is_cut_off_and_refused_within_5_s(broker: KitBroker) -> None:
    broker.accounts.set_password("leaver", "secret-of-leaver")
    broker.accounts.reload()
    login_check.wait_for_login("localhost", door(broker), "leaver", "secret-of-leaver")
    async with login(broker, "gateway") as gateway:
        await gateway.subscribe("ww/v1/leaver/readings", qos=1)
        began_s = await removed_while_connected(broker)
        cut_after_s = time.monotonic() - began_s
        assert cut_after_s < 5
        assert login_check.login("localhost", door(broker), "leaver", "secret-of-leaver") == 5
        assert time.monotonic() - began_s < 5
        async with asyncio.timeout(5):
            assert (await anext(aiter(gateway.messages))).payload == b"last"
    # Others were not disturbed.
    assert login_check.login("localhost", door(broker), "kitchen", "secret-of-kitchen") == 0


def test_the_kit_s_own_look_at_the_door(broker: KitBroker, tmp_path: Path) -> None:
    login_check.look("localhost", door(broker))
    with pytest.raises(BrokerError, match=r"not made out to 'other\.local'; .*--broker-name"):
        login_check.look("localhost", door(broker, name="other.local"))
    stranger = OtherAuthority(tmp_path / "other").ca_file.read_bytes()
    with pytest.raises(BrokerError, match=r"not from the site's authority .*wattwarden install"):
        login_check.look("localhost", door(broker, ca=stranger))
    closed = Door("localhost", free_port(), "localhost", broker.authority.certificate)
    with pytest.raises(BrokerError, match=r"does not open .*is mosquitto running"):
        login_check.look("localhost", closed)
    with pytest.raises(BrokerError, match=r"the broker refuses kitchen \(code 5\).*password_file"):
        login_check.wait_for_login("localhost", door(broker), "kitchen", "another", within_s=1)


def test_an_expired_certificate_tells_of_the_clock(tmp_path: Path) -> None:
    authority = OtherAuthority(tmp_path / "ca")
    files = authority.server("localhost", until=EXPIRED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Door("localhost", server.getsockname()[1], None, authority.ca_file.read_bytes())

        async def look() -> None:
            served = await asyncio.start_server(lambda *_: None, sock=server, ssl=context)
            async with served:
                await asyncio.to_thread(login_check.look, "127.0.0.1", place)

        with pytest.raises(BrokerError) as caught:
            asyncio.run(look())
    assert "this machine's clock says 20" in str(caught.value)
    assert "timedatectl set-ntp true" in str(caught.value)
    assert "renew the certificate" in str(caught.value)
