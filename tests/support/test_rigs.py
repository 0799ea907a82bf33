"""The rigs themselves: a meter that loses nothing, physics that fit, honest files."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.csv_files import MINUTE_MS, write_recording
from tests.support.daemon import to_toml
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, recent_house


class Receiver:
    """The least that answers `readings` with acks; it ignores one of n messages.

    Which one is drawn: a count would fall into step with a meter that sends its rest
    in n messages again and again, and be deaf to the same one for ever.
    """

    def __init__(self, port: int, *, deaf_to_one_of: int) -> None:
        self.seen: list[int] = []
        self._deaf_to_one_of = deaf_to_one_of
        self._random = random.Random(7)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "receiver", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe("ww/v1/+/readings", qos=1)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if self._random.randrange(self._deaf_to_one_of) == 0:
            return
        body = json.loads(message.payload)
        readings = body if isinstance(body, list) else [body]
        self.seen += [reading["seq"] for reading in readings]
        got = set(self.seen)
        upto = next(seq for seq in range(len(got) + 1) if seq not in got) - 1
        ack = {"boot": readings[0]["boot"], "upto": upto, "more": [], "now": 1, "regs": {}}
        topic = message.topic.replace("readings", "ack")
        self._client.publish(topic, json.dumps(ack), qos=1, retain=True)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def receiver(own_broker: Mosquitto) -> Iterator[Receiver]:
    """Run a receiver at this test's broker."""
    running = Receiver(own_broker.port, deaf_to_one_of=7)
    yield running
    running.close()


def test_a_meter_resends_until_everything_is_covered(
    own_broker: Mosquitto, receiver: Receiver
) -> None:
    house = recent_house(windows=200, boot=9)
    with MeterClient("m1", own_broker.port, boot=9, resend_after_s=1) as meter:
        meter.send(house.take(100))
        own_broker.kill_and_restart()
        meter.send(house.take(100))
        meter.wait_covered(within_s=20)
        assert meter.covered() == 199
        assert meter.counters.connects == 2
        assert meter.counters.resent > 0
        assert meter.held == {}
    assert set(receiver.seen) == set(range(200))


def test_a_healthy_house_obeys_physics() -> None:
    house = House(start_ms=1_700_000_000_000, boot=1)
    before = 0.0
    for reading in house.take(2000):
        channel = reading["ch"]["grid"]
        assert math.hypot(channel["p"], channel["q"]) <= reading["v"] * channel["i"] + 1e-9
        assert channel["wh_in"] >= before
        assert reading["t"] == 1_700_000_000_000 + reading["up"]
        before = channel["wh_in"]


def test_a_recording_has_the_holes_it_says(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "x.csv", rows=2000, start_ms=0)
    times = [row["t"] for row in recording.rows]
    lines = recording.path.read_text().splitlines()
    assert len(lines) == 2001
    assert lines[1].split(",")[0] == "0"
    assert times[-1] / MINUTE_MS == 2000 + recording.missing - 1
    assert all(row["p"] <= row["v"] * row["i"] for row in recording.rows)


def test_settings_become_toml() -> None:
    sections: dict[str, dict[str, object]] = {"a": {"b": True, "c": 'x"y'}, "d": {"e": 1.5}}
    assert to_toml(sections) == '[a]\nb = true\nc = "x\\"y"\n[d]\ne = 1.5\n'


def test_what_is_not_there_yet_is_waited_for() -> None:
    heard: list[list[int]] = [[], [], [0], [1]]
    until(lambda: heard.pop(0)[-1])
    assert not heard
    with pytest.raises(TimeoutError) as error:
        until(lambda: heard[0], within_s=0.01)
    assert isinstance(error.value.__cause__, IndexError)
