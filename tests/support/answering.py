"""Answers a meter's commands over MQTT as its firmware does, for tests of what asks them."""

import json
import threading
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


class Answering:
    """A context manager beside a `MeterClient`; `commands` are those it was given."""

    def __init__(self, port: int, meter: str, data: dict[str, Any] | None = None) -> None:
        """Put `data` into every answer."""
        self.commands: list[dict[str, Any]] = []
        self._port = port
        self._meter = meter
        self._data = data or {}
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{meter}-answers")
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic("cmd"), qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._answer

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not self._ready.wait(10):
            msg = f"{self._meter}: no subscription within 10 s"
            raise TimeoutError(msg)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, leaf: str) -> str:
        return f"ww/v1/{self._meter}/{leaf}"

    def _answer(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        command = json.loads(message.payload)
        self.commands.append(command)
        result = {"id": command["id"], "ok": True, "error": None, "data": self._data}
        client.publish(self._topic("result"), json.dumps(result), qos=1)
