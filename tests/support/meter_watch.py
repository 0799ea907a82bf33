"""Hearing what meters say as the gateway hears it, asking them, and counting what was stored."""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.exports import Row
from tests.support.gateway_stub import until

ASK_AGAIN_S = 5.0
Span = tuple[int, int, int]  # boot, first window, last window


@dataclass(frozen=True, slots=True)
class Heard:
    """One reading on the wire; per channel W, A, the register of energy in, Wh, and the score."""

    span: Span
    up: int
    v: float
    p: Mapping[str, float]
    i: Mapping[str, float]
    wh_in: Mapping[str, float]
    z: Mapping[str, float]


class Watcher:
    """A second client with the gateway's login: hears all meters, and commands them.

    `states` holds each meter's last state, `bootns` every boot's number by boot, `events`
    (meter, event) in order. Messages while the broker is down are not heard.
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.bootns: dict[str, dict[int, int]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.heard: dict[str, list[Heard]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.on_get: Callable[[str, dict[str, Any]], None] | None = None
        self._port = port
        self._ids = itertools.count(1)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="watcher")
        self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("ww/v1/#", 1)
        self._client.on_message = self._take

    def __enter__(self) -> Self:
        self._client.connect("localhost", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, meter: str, tail: str, payload: object, *, retain: bool = False) -> None:
        """Send JSON to a meter."""
        self._client.publish(f"ww/v1/{meter}/{tail}", json.dumps(payload), 1, retain)

    def ask(self, meter: str, kind: str, *, within_s: float = 30.0, **args: object) -> Any:  # noqa: ANN401 - JSON
        """Give a command until it is answered; return the result's data. AssertionError: refused.

        It is given anew, under a new id, while the meter is not there: nothing old is kept.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            name = f"w{next(self._ids)}"
            self.publish(meter, "cmd", {"id": name, "kind": kind, "args": args, "ttl": 86_400_000})
            wait_until = min(deadline, time.monotonic() + ASK_AGAIN_S)
            while name not in self.results and time.monotonic() < wait_until:
                time.sleep(0.02)
            if name in self.results:
                result = self.results[name]
                assert result["ok"], result
                return result["data"]
        msg = f"{meter} did not answer {kind} within {within_s} s"
        raise AssertionError(msg)

    def drained(self, meter: str, *, within_s: float, most: int = 5) -> tuple[int, int]:
        """Wait until nothing of before is held; return (boot, windows of it that are stored).

        At most `most` windows then wait for their ack: those just measured.
        """
        deadline = time.monotonic() + within_s
        while True:
            report = self.ask(meter, "report", within_s=max(1.0, deadline - time.monotonic()))
            held = report["have"]
            if len(held) == 1 and report["backlog"] <= most:
                return held[0]["boot"], held[0]["from"]
            assert time.monotonic() < deadline, f"{meter} still holds {held}: {report}"
            time.sleep(0.2)

    def online(self, meter: str, *, within_s: float = 30.0) -> None:
        """Wait until a meter's last word is that it is there."""
        until(lambda: self.states.get(meter, {}).get("online"), within_s=within_s)

    def measured(self, meter: str, *, more: int = 1, within_s: float = 60.0) -> None:
        """Wait for so many more messages with readings."""
        wanted = len(self.heard.get(meter, [])) + more
        until(lambda: len(self.heard.get(meter, [])) >= wanted, within_s=within_s)

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        _, _, meter, tail = message.topic.split("/", 3)
        if tail not in {"readings", "state", "events", "result", "bundle/get"}:
            return
        body = json.loads(message.payload)
        if tail == "readings":
            self.heard.setdefault(meter, []).extend(_heard(reading) for reading in body)
        elif tail == "state":
            self.states[meter] = body
            for held in body.get("have", []):
                self.bootns.setdefault(meter, {})[held["boot"]] = held["bootn"]
        elif tail == "events":
            self.events.append((meter, body))
        elif tail == "result":
            self.results[body["id"]] = body
        elif self.on_get is not None:
            self.on_get(meter, body)


def _heard(reading: dict[str, Any]) -> Heard:
    n = reading.get("n", 1)
    span = (reading["boot"], reading["seq"] - n + 1, reading["seq"])
    channels = reading["ch"].items()
    wh_in = {name: channel["wh_in"] for name, channel in channels}
    z = {name: channel["z"] for name, channel in channels if "z" in channel}
    p, i = ({name: channel[what] for name, channel in channels} for what in ("p", "i"))
    return Heard(span, reading["up"], reading["v"], p, i, wh_in, z)


def spans_of(rows: Iterable[Row]) -> list[Span]:
    """Return the windows that stored rows cover, in order."""
    return sorted((row["boot"], row["seq"] - row["n"] + 1, row["seq"]) for row in rows)


def stored_windows(rows: Iterable[Row]) -> dict[int, int]:
    """Return how many windows of each boot are stored; fail unless each is stored once.

    A boot's rows must cover it from 0 to its last window without holes or overlap.
    """
    ends: dict[int, int] = {}
    for boot, first, last in spans_of(rows):
        expected = ends.get(boot, 0)
        assert first == expected, f"boot {boot}: after {expected - 1} comes {first} to {last}"
        ends[boot] = last + 1
    return ends


def assert_never_falls(
    rows: Iterable[Row], bootns: Mapping[int, int], field: str, *, within_wh: float
) -> None:
    """Fail unless a register only rises, in the order of boots and windows.

    A meter that lost its power goes on from what it had saved, and from what the gateway had
    acknowledged by then. Windows that reached the gateway only after that (it was down, or
    behind) stand above the new boot's: by `within_wh` at most. Nothing of that is counted twice
    or lost (rule R: a fall counts as zero energy).
    """
    ordered = sorted(rows, key=lambda row: (bootns[row["boot"]], row["seq"]))
    for before, after in itertools.pairwise(ordered):
        if after[field] >= before[field]:
            continue
        assert after["boot"] != before["boot"], (before, after)
        assert before[field] - after[field] <= within_wh, (before, after)
