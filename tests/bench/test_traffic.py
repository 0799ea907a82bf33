"""The traffic generator against a real broker: all comes through, both ways, in any portions."""

import threading
import time

import paho.mqtt.client as paho

from bench.load import close, connect
from bench.traffic import Wire
from tests.support.mosquitto import Mosquitto

MANY = 900  # below what a broker queues for a reader


def test_what_is_published_arrives_in_order(broker: Mosquitto) -> None:
    client, bodies, whole = connect(broker.port, "wire-reader"), [], threading.Event()

    def hear(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        bodies.append(bytes(message.payload))
        if len(bodies) == MANY:
            whole.set()

    client.on_message = hear
    ready = threading.Event()
    client.on_subscribe = lambda *_: ready.set()
    client.subscribe("wire/out", qos=1)
    assert ready.wait(5)
    sent = [b"%d:" % number + b"x" * (number % 700) for number in range(MANY)]
    with Wire(broker.port, "wire-writer") as wire:
        for number, body in enumerate(sent):
            wire.publish("wire/out", body)
            if number % 100 == 99:
                assert list(wire.turn(time.monotonic())) == []
    assert whole.wait(20)
    close(client)
    assert bodies == sent


def test_what_others_publish_is_heard(broker: Mosquitto) -> None:
    client = connect(broker.port, "wire-other")
    heard: list[tuple[str, bytes]] = []
    with Wire(broker.port, "wire-listener") as wire:
        wire.subscribe("wire/+/in")
        for number in range(300):
            client.publish(f"wire/{number}/in", b"y" * number * 100, qos=0)
        until_s = time.monotonic() + 20
        while len(heard) < 300 and time.monotonic() < until_s:
            heard += wire.turn(time.monotonic() + 0.05)
    close(client)
    assert heard == [(f"wire/{number}/in", b"y" * number * 100) for number in range(300)]
