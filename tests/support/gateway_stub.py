"""A gateway written from the wire contract for tests of a meter's link: acks what it got."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def until(true: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Wait until something holds, or raise TimeoutError.

    What is not there yet (an empty list's last item, a topic that had no message) does not hold
    yet. A busy machine gets three times `within_s`: a limit of the contract is asserted by itself.
    """
    deadline = time.monotonic() + 3 * within_s
    missing: LookupError | None = None
    while True:
        try:
            if true():
                return
            missing = None
        except LookupError as error:
            missing = error
        if time.monotonic() > deadline:
            msg = f"not within {within_s} s"
            raise TimeoutError(msg) from missing
        time.sleep(0.02)


class GatewayStub:
    """Collects one meter's messages and acks them; `now_offset_ms` None = clock untrusted."""

    def __init__(
        self, port: int, meter: str = "meter-1", tls: dict[str, Any] | None = None
    ) -> None:
        self.seqs: list[int] = []  # in order of arrival, repeats too
        self.kinds: list[tuple[float, str]] = []
        self.readings: list[dict[str, Any]] = []
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.acking = True
        self.now_offset_ms: int | None = 0
        self._prefix = f"ww/v1/{meter}/"
        self._port = port
        self._have: set[int] = set()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gateway")
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._take
        if tls is not None:
            self._client.tls_set(**tls)
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def __enter__(self) -> Self:
        self._client.connect_async("localhost", self._port)
        self._client.loop_start()
        until(self._subscribed.is_set, within_s=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def login(self, user: str, password: str) -> None:
        """Use this account; before entering."""
        self._client.username_pw_set(user, password)

    def publish(self, topic: str, payload: object, *, retain: bool = False) -> None:
        """Send to the meter; `payload` as JSON unless it is bytes."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload)
        self._client.publish(self._prefix + topic, raw, 1, retain)

    @property
    def upto(self) -> int:
        """Highest seq up to which nothing is missing."""
        upto = -1
        while upto + 1 in self._have:
            upto += 1
        return upto

    def ack(self, *, retain: bool = True, **more: object) -> None:
        """Send an ack of what is there."""
        now = None if self.now_offset_ms is None else int(time.time() * 1000) + self.now_offset_ms
        ack = {"boot": 7, "upto": self.upto, "more": [], "now": now, "regs": {}, **more}
        self.publish("ack", ack, retain=retain)

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        topics = ("readings", "state", "events", "result", "bundle/get")
        client.subscribe([(self._prefix + topic, 1) for topic in topics])

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        topic = message.topic[len(self._prefix) :]
        body = json.loads(message.payload)
        if topic != "readings":
            self.messages.setdefault(topic, []).append({**body, "_retain": message.retain})
            return
        for row in body:
            self.seqs.append(row["seq"])
            self.kinds.append((time.monotonic(), row["kind"]))
            self.readings.append(row)
        self._have.update(row["seq"] for row in body)
        if self.acking:
            self.ack()
