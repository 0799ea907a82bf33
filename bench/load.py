"""Meters' traffic for benchmarks: readings, the publisher, the ack watcher."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

BOOT = 3_405_691_582
METERS = 50
WINDOW_MS = 1000
WH_OUT = 5012.38
VOLTS = 230.41
PAYLOAD_BYTES = 191  # of the readings that the peers' figures in docs/performance.md are for
Key = tuple[str, int]  # meter, seq


class Ack(msgspec.Struct):
    """What the watcher needs of an application ack."""

    boot: int
    upto: int


def meter_name(index: int) -> str:
    """Name of the n-th meter of the load."""
    return f"bench-{index:02d}"


def payload(
    seq: int, start_ms: int, wh_in: float, window_ms: int = WINDOW_MS, volts: float = VOLTS
) -> bytes:
    """Encode one single-channel reading: 12 fields, padded to `PAYLOAD_BYTES`."""
    watts = round(1871.2 + (seq * 37 % 5000) / 100, 2)
    reactive = -120.47
    amperes = round((watts**2 + reactive**2) ** 0.5 / volts + 0.0005, 3)
    channel = {"i": amperes, "p": watts, "q": reactive, "wh_in": wh_in, "wh_out": WH_OUT}
    up = (seq + 1) * window_ms
    head = {"boot": BOOT, "seq": seq, "up": up, "t": start_ms + up, "dt": window_ms}
    body = {**head, "v": volts, "f": 49.98, "ch": {"grid": channel}}
    return json.dumps(body, separators=(",", ":")).encode().ljust(PAYLOAD_BYTES)


def key_of(topic: str, body: bytes) -> Key:
    """Return which reading a message holds."""
    return topic.split("/", 3)[2], int(json.loads(body)["seq"])


def register_wh(seq: int, window_ms: int) -> float:
    """Return the register after a window: 1900 W over each, so that it follows the power."""
    return round(12_120_345.12 + seq * 1900 * window_ms / 3_600_000, 3)


def messages(start_ms: int, window_ms: int = WINDOW_MS) -> Iterator[tuple[str, int, bytes]]:
    """Yield (meter, seq, payload) for ever, all meters in turn; boot was at `start_ms`."""
    for seq in itertools.count():
        body = payload(seq, start_ms, register_wh(seq, window_ms), window_ms)
        for index in range(METERS):
            yield meter_name(index), seq, body


def connect(port: int, name: str) -> paho.Client:
    """Connect a paho client whose network loop runs in a thread of its own."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.max_inflight_messages_set(0)
    ready = threading.Event()
    client.on_connect = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not ready.wait(5):
        msg = f"no connection to the broker on port {port}"
        raise TimeoutError(msg)
    return client


def close(client: paho.Client) -> None:
    """Disconnect and end the client's thread."""
    client.disconnect()
    client.loop_stop()


def publish_backlog(port: int, total: int) -> None:
    """Publish `total` single readings, QoS 1, and wait until the broker has all.

    Their times end now, so that no reading is in the future.
    """
    client = connect(port, "bench-publisher")
    start_ms = int(time.time() * 1000) - (total // METERS + 5) * WINDOW_MS
    for sent, (meter, _, body) in enumerate(messages(start_ms)):
        if sent == total:
            break
        info = client.publish(f"ww/v1/{meter}/readings", body, qos=1)
        if sent % 500 == 499:  # keeps paho's queue short
            info.wait_for_publish(30)
    info.wait_for_publish(30)
    close(client)


class AckWatcher:
    """Follows `ww/v1/+/ack` and tells when every meter is covered up to a seq."""

    def __init__(self, port: int, last_seq: int) -> None:
        self.done = threading.Event()
        self.acks = 0
        self.first_at: float | None = None
        self.ended_at = 0.0
        self._last_seq = last_seq
        self._covered: set[str] = set()
        self._decode = msgspec.json.Decoder(Ack).decode
        self._client = connect(port, "bench-watcher")
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.subscribe("ww/v1/+/ack", qos=0)
        subscribed.wait(5)

    def _on_message(self, _client: object, _data: object, message: Any) -> None:  # noqa: ANN401 - paho's
        now = time.monotonic()
        self.acks += 1
        self.first_at = self.first_at or now
        ack = self._decode(message.payload)
        if ack.boot == BOOT and ack.upto >= self._last_seq:
            self._covered.add(message.topic)
            if len(self._covered) == METERS and not self.done.is_set():
                self.ended_at = now
                self.done.set()

    def close(self) -> None:
        """Stop watching."""
        close(self._client)
