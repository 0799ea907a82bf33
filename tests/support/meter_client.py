"""An independent meter, written from the wire contract alone (no gateway code).

It keeps every reading until an application ack covers it, resends what is uncovered
for ten seconds and, oldest first, after each reconnect, and tells by `state` what it
still holds. Paho's own thread runs the connection; a second one resends.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

Reading = dict[str, Any]
Key = tuple[int, int]  # boot, seq
STATE_EVERY_S = 60.0
LARGEST_ARRAY = 120
TICK_S = 0.1


@dataclass
class Counters:
    """What a meter did and saw."""

    published: int = 0  # readings, first time
    resent: int = 0  # readings, again
    messages: int = 0
    acks: int = 0
    connects: int = 0
    dropped: int = 0


@dataclass
class Held:
    """A reading no ack covers yet."""

    reading: Reading
    sent_at: float | None = None  # monotonic; None = not sent on this connection


@dataclass
class MeterClient:
    """One meter at a broker on loopback; a context manager.

    `array` readings go into one message (1: a bare object). At most `window` readings
    may wait for their ack before `send` blocks, as a meter's own buffer would.
    """

    meter: str
    port: int
    boot: int = field(default_factory=lambda: secrets.randbits(32))
    bootn: int = 1
    array: int = 1
    window: int = 5000
    resend_after_s: float = 10.0
    announce: bool = True  # publish `state` at each connect

    def __post_init__(self) -> None:
        """Prepare an unconnected meter."""
        self.counters = Counters()
        self.acks: list[dict[str, Any]] = []
        self.regs: dict[str, Any] | None = None  # of the newest ack, retained ones too
        self.upto: dict[int, int] = {}
        self.held: dict[Key, Held] = {}
        self.next_seq = 0
        self.up_ms = 0
        self.online = threading.Event()
        self._bootns = {self.boot: self.bootn}
        self._lock = threading.Condition()
        self._stop = threading.Event()
        self._client = self._make_client()
        self._resender = threading.Thread(target=self._resend_forever, daemon=True)
        self._state_at = 0.0

    # -- life -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, *, within_s: float = 10.0) -> None:
        """Connect and wait until subscribed; from then on it reconnects by itself."""
        self._client.connect_async("127.0.0.1", self.port, keepalive=15)
        self._client.loop_start()
        self._resender.start()
        if not self.online.wait(within_s):
            msg = f"{self.meter}: no connection to port {self.port} in {within_s} s"
            raise TimeoutError(msg)

    def close(self) -> None:
        """Leave in good order; what is uncovered stays in `held`."""
        self._stop.set()
        self._resender.join(timeout=5)
        self._client.disconnect()
        self._client.loop_stop()

    def reboot(self, boot: int | None = None) -> int:
        """Start a new boot in memory: seq 0, bootn + 1; held readings are kept."""
        with self._lock:
            self.boot = secrets.randbits(32) if boot is None else boot
            self.bootn += 1
            self._bootns[self.boot] = self.bootn
            self.next_seq = 0
            self.up_ms = 0
        if self.online.is_set():
            self.publish_state()
        return self.boot

    # -- sending --------------------------------------------------------------------

    def send(self, readings: Iterable[Reading], *, within_s: float = 60.0) -> None:
        """Take readings into the buffer and publish them, `array` to a message."""
        group: list[Reading] = []
        for reading in readings:
            group.append(reading)
            if len(group) == self.array:
                self._send_group(group, within_s)
                group = []
        if group:
            self._send_group(group, within_s)

    def drop(self, first: int, last: int, boot: int | None = None) -> None:
        """Give up seqs first…last and report them `dropped`."""
        which = self.boot if boot is None else boot
        with self._lock:
            for seq in range(first, last + 1):
                self.held.pop((which, seq), None)
        self.counters.dropped += last - first + 1
        self.event("dropped", boot=which, seq=last, **{"from": first, "to": last})

    def event(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON
        """Publish an event of this boot."""
        head = {"boot": self.boot, "seq": max(self.next_seq - 1, 0), "up": self.up_ms}
        body = {**head, "t": int(time.time() * 1000), "kind": kind, **fields}
        self._client.publish(self._topic("events"), json.dumps(body), qos=1)

    def publish_raw(self, payload: bytes, *, within_s: float = 10.0) -> None:
        """Publish any bytes as `readings` and wait for the broker's PUBACK."""
        info = self._client.publish(self._topic("readings"), payload, qos=1)
        info.wait_for_publish(within_s)

    def publish_unheard(self, payload: bytes) -> None:
        """Publish any bytes as `readings`, whatever the broker says."""
        self._client.publish(self._topic("readings"), payload, qos=1)

    def publish_state(self) -> None:
        """Publish the retained `state` with what is still held."""
        with self._lock:
            oldest: dict[int, int] = {self.boot: self.next_seq}
            for boot, seq in self.held:
                oldest[boot] = min(seq, oldest.get(boot, seq))
            have = [
                {"boot": boot, "bootn": self._bootns[boot], "from": seq}
                for boot, seq in oldest.items()
            ]
            backlog = len(self.held)
        body = {"online": True, "fw": "1.2.0", "model": 0, "cal": 0, "rssi": -61}
        clock = {"up": self.up_ms, "t": int(time.time() * 1000)}
        identity = {"boot": self.boot, "bootn": self.bootn, "heap": 81234}
        full = {**body, **clock, **identity, "backlog": backlog, "have": have}
        self._client.publish(self._topic("state"), json.dumps(full), qos=1, retain=True)
        self._state_at = time.monotonic()

    # -- waiting --------------------------------------------------------------------

    def covered(self, boot: int | None = None) -> int:
        """Return the highest seq acks cover for a boot, -1 when none."""
        return self.upto.get(self.boot if boot is None else boot, -1)

    def wait_covered(self, *, within_s: float = 30.0) -> None:
        """Block until every reading taken is covered by an ack."""
        self.wait(lambda: not self.held, within_s, "uncovered readings")

    def wait_ack(self, count: int, *, within_s: float = 10.0) -> None:
        """Block until at least `count` acks (retained one included) came."""
        self.wait(lambda: self.counters.acks >= count, within_s, f"fewer than {count} acks")

    def wait(self, done: Callable[[], bool], within_s: float, what: str) -> None:
        """Block until `done()` (called under the lock); raise TimeoutError otherwise."""
        with self._lock:
            if not self._lock.wait_for(done, within_s):
                left = sorted(self.held)[:5]
                msg = f"{self.meter}: {what} after {within_s} s: {len(self.held)} held, {left}"
                raise TimeoutError(msg)

    # -- inside ---------------------------------------------------------------------

    def _topic(self, leaf: str) -> str:
        return f"ww/v1/{self.meter}/{leaf}"

    def _make_client(self) -> paho.Client:
        name = f"{self.meter}-{secrets.token_hex(4)}"
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        client.max_inflight_messages_set(200)
        client.reconnect_delay_set(min_delay=1, max_delay=2)
        client.will_set(self._topic("state"), '{"online":false}', qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        self.counters.connects += 1
        with self._lock:
            for held in self.held.values():
                held.sent_at = None
        client.subscribe(self._topic("ack"), qos=1)

    def _on_subscribe(self, *_: object) -> None:
        if self.announce:
            self.publish_state()
        self.online.set()

    def _on_disconnect(self, *_: object) -> None:
        self.online.clear()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        ack = json.loads(message.payload)
        with self._lock:
            self.counters.acks += 1
            self.acks.append(ack)
            self.regs = ack.get("regs")
            for entry in (ack, *ack.get("more", [])):
                self._cover(entry["boot"], entry["upto"])
            self._lock.notify_all()

    def _cover(self, boot: int, upto: int) -> None:
        self.upto[boot] = max(upto, self.upto.get(boot, -1))
        for key in [key for key in self.held if key[0] == boot and key[1] <= upto]:
            del self.held[key]

    def _send_group(self, group: list[Reading], within_s: float) -> None:
        self.wait(lambda: len(self.held) < self.window, within_s, "a full buffer")
        with self._lock:
            entries = []
            for reading in group:
                entry = Held(reading)
                self.held[reading["boot"], reading["seq"]] = entry
                entries.append(entry)
                if reading["boot"] == self.boot:
                    self.next_seq = max(self.next_seq, reading["seq"] + 1)
                    self.up_ms = reading["up"]
            self.counters.published += len(group)
        if self.online.is_set():
            self._publish(entries)

    def _publish(self, entries: list[Held]) -> None:
        bodies = [entry.reading for entry in entries]
        payload = json.dumps(bodies[0] if self.array == 1 and len(bodies) == 1 else bodies)
        now = time.monotonic()
        for entry in entries:
            entry.sent_at = now
        self._client.publish(self._topic("readings"), payload, qos=1)
        self.counters.messages += 1

    def _due(self) -> list[Held]:
        """Return the oldest readings to send again, one message of them."""
        limit = time.monotonic() - self.resend_after_s
        largest = min(max(self.array, 20), LARGEST_ARRAY)
        with self._lock:
            order = dict(self._bootns)
            due = [
                (order.get(boot, 0), seq, held)
                for (boot, seq), held in self.held.items()
                if held.sent_at is None or held.sent_at < limit
            ]
        due.sort(key=lambda item: item[:2])
        return [held for _, _, held in due[:largest]]

    def _resend_forever(self) -> None:
        while not self._stop.wait(TICK_S):
            if not self.online.is_set():
                continue
            if self.announce and time.monotonic() - self._state_at > STATE_EVERY_S:
                self.publish_state()
            # Bounded per tick, so that live readings are never starved.
            for _ in range(20):
                again = self._due()
                if not again:
                    break
                self.counters.resent += len(again)
                self._publish(again)
