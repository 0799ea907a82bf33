"""The broker session against a real mosquitto: manual acknowledgement, acks, refusals."""

import asyncio
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.adapters.mqtt import BrokerSession
from gateway.domain.errors import BrokerLostError, ConfigError
from gateway.pipeline.registers import Register
from gateway.services.batches import Ack
from gateway.settings import MqttSettings
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

Message = tuple[str, bytes, int, bool]


async def moment() -> None:
    await asyncio.sleep(0.01)


def settings(port: int, **fields: object) -> MqttSettings:
    return MqttSettings.model_validate({"port": port, **fields})


def ack(meter: str, upto: int) -> Ack:
    return Ack(meter, 1, upto, (), {"grid": (Register(5.0), None)})


def client(port: int, topic: str = "") -> tuple[paho.Client, list[paho.MQTTMessage]]:
    """Connect as a meter does, subscribed to a topic."""
    heard: list[paho.MQTTMessage] = []
    made = paho.Client(CallbackAPIVersion.VERSION2)
    made.on_message = lambda _c, _u, message: heard.append(message)
    made.connect("127.0.0.1", port)
    if topic:
        made.subscribe(topic, 1)
    made.loop_start()
    return made, heard


async def test_what_was_not_acknowledged_comes_again(own_broker: Mosquitto) -> None:
    got: list[Message] = []

    def deliver(*message: object) -> None:
        got.append(message)  # type: ignore[arg-type]

    meter, _ = client(own_broker.port)
    async with BrokerSession(settings(own_broker.port), "gw", deliver):
        for number in range(3):
            meter.publish("ww/v1/home/readings", f"{number}", qos=1).wait_for_publish(5)
        async with asyncio.timeout(5):
            while len(got) < 3:
                await moment()
    got.clear()
    async with BrokerSession(settings(own_broker.port), "gw", deliver) as link:
        async with asyncio.timeout(5):
            while len(got) < 3:
                await moment()
        assert [payload for _, payload, _, _ in got] == [b"0", b"1", b"2"]
        link.acknowledge([token for _, _, token, _ in got])
        await asyncio.sleep(0.2)
    got.clear()
    async with BrokerSession(settings(own_broker.port), "gw", deliver):
        await asyncio.sleep(0.3)
    assert got == []
    meter.loop_stop()


async def test_paused_it_reads_nothing_and_resumed_it_goes_on(own_broker: Mosquitto) -> None:
    got: list[object] = []
    meter, _ = client(own_broker.port)
    async with BrokerSession(settings(own_broker.port), "gw", lambda *m: got.append(m)) as link:
        link.pause()
        meter.publish("ww/v1/home/state", "x", qos=1).wait_for_publish(5)
        await asyncio.sleep(0.2)
        assert got == []
        link.resume()
        async with asyncio.timeout(5):
            while not got:
                await moment()
    meter.loop_stop()


async def test_acks_are_retained_and_the_newest_wins(own_broker: Mosquitto) -> None:
    async with BrokerSession(settings(own_broker.port), "gw", lambda *_: None) as link:
        for upto in range(200):
            for meter in ("one", "two"):
                link.send_ack(ack(meter, upto), 5)
        await asyncio.sleep(0.5)
    late, heard = client(own_broker.port, "ww/v1/+/ack")
    async with asyncio.timeout(5):
        while len(heard) < 2:
            await moment()
    late.loop_stop()
    assert all(message.retain for message in heard)
    assert {message.topic for message in heard} == {"ww/v1/one/ack", "ww/v1/two/ack"}
    assert all(b'"upto":199' in message.payload for message in heard)


async def test_a_lost_connection_is_told(own_broker: Mosquitto) -> None:
    async with BrokerSession(settings(own_broker.port), "gw", lambda *_: None) as link:
        own_broker.kill()
        with pytest.raises(BrokerLostError):
            await asyncio.wait_for(link.closed(), 5)
        link.send_ack(ack("home", 1), None)  # nobody hears it, nothing breaks
        link.acknowledge([1])


async def test_no_broker_is_told_with_its_address() -> None:
    port = free_port()
    with pytest.raises(BrokerLostError, match=f"broker 127.0.0.1:{port}"):
        async with BrokerSession(settings(port), "gw", lambda *_: None):
            pass


async def test_a_bad_password_file_is_the_operator_s_to_mend(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text("secret")
    (tmp_path / "mqtt").chmod(0o644)
    bad = settings(free_port(), username="gateway", password_file=tmp_path / "mqtt")
    with pytest.raises(ConfigError, match="chmod 600"):
        async with BrokerSession(bad, "gw", lambda *_: None):
            pass
