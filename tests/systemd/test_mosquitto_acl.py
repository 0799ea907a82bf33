"""The shipped broker configuration keeps strangers out and meters apart (contract, section 2)."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from tests.support.mosquitto import find_mosquitto
from tests.support.ports import free_port, wait_for_port

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
USERS = ("gateway", "homeassistant", "kitchen", "garage")
FROM_METER = ("readings", "state", "events", "result", "bundle/get")
TO_METER = ("ack", "cmd", "desired", "bundle/chunk")
LIVE = "live/grid/p"


def shipped_files(place: Path, port: int) -> Path:
    """Lay out the shipped files below `place`, changed in nothing but paths and port."""
    text = (SHIPPED / "wattwarden.conf").read_text()
    text = text.replace("/etc/mosquitto/wattwarden.", f"{place}/wattwarden.")
    assert "listener 1883 127.0.0.1" in text
    text = text.replace("listener 1883 127.0.0.1", f"listener {port} 127.0.0.1")
    if os.geteuid() == 0:
        text += "user root\n"  # else it gives up the right to read the test's files
    shutil.copy(SHIPPED / "acl", place / "wattwarden.acl")
    passwords = place / "wattwarden.passwd"
    passwords.write_text("".join(f"{user}:secret-of-{user}\n" for user in USERS))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, timeout=30)
    conf = place / "mosquitto.conf"
    # What Debian's own main file says before it includes ours.
    conf.write_text(f"persistence true\npersistence_location {place}/\n{text}")
    return conf


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run mosquitto on the shipped configuration; give its port."""
    binary = find_mosquitto()
    if binary is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    number = free_port()
    conf = shipped_files(tmp_path_factory.mktemp("mosquitto"), number)
    process = subprocess.Popen([binary, "-c", str(conf)])
    try:
        wait_for_port(number)
        yield number
    finally:
        process.terminate()
        process.wait(timeout=5)


@asynccontextmanager
async def login(port: int, user: str) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        "127.0.0.1", port, username=user, password=f"secret-of-{user}"
    ) as client:
        yield client


async def heard(listener: aiomqtt.Client, last: str) -> set[str]:
    """Return the topics that arrive until (and without) the one named `last`."""
    topics: set[str] = set()
    async with asyncio.timeout(10):
        async for message in listener.messages:
            if message.topic.value == last:
                return topics
            topics.add(message.topic.value)
    msg = "the connection ended"
    raise AssertionError(msg)


@pytest.mark.parametrize(
    ("user", "password"),
    [(None, None), ("kitchen", "wrong"), ("kitchen", ""), ("nobody", "secret-of-kitchen")],
)
async def test_without_the_right_password_nobody_connects(
    port: int, user: str | None, password: str | None
) -> None:
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
        async with aiomqtt.Client("127.0.0.1", port, username=user, password=password):
            pass


async def test_a_meter_writes_its_own_topics_and_no_others(port: int) -> None:
    tails = (*FROM_METER, *TO_METER, LIVE, "else", "readings/more")
    foreign = [f"ww/v1/garage/{tail}" for tail in tails]
    outside = ["ww/v1/readings", "ww/v2/kitchen/readings", "readings", "ww/v1/kitchen"]
    async with login(port, "gateway") as gateway, login(port, "kitchen") as meter:
        await gateway.subscribe("#", qos=1)
        await gateway.subscribe("ww/v1/#", qos=1)
        for topic in [*(f"ww/v1/kitchen/{tail}" for tail in tails), *foreign, *outside]:
            await meter.publish(topic, b"1", qos=1)
        await meter.publish("ww/v1/kitchen/readings", b"end", qos=1)
        await gateway.publish("ww/v1/end", b"", qos=1)
        arrived = await heard(gateway, "ww/v1/end")
    assert arrived == {f"ww/v1/kitchen/{tail}" for tail in FROM_METER}


async def test_a_meter_reads_what_is_meant_for_it_and_nothing_else(port: int) -> None:
    tails = (*FROM_METER, *TO_METER, LIVE)
    async with login(port, "gateway") as gateway, login(port, "kitchen") as meter:
        for name in ("kitchen", "garage"):
            for tail in tails:
                # Refused here or at delivery: mosquitto versions differ in where they say no.
                await meter.subscribe(f"ww/v1/{name}/{tail}", qos=1)
        await meter.subscribe("ww/v1/#", qos=1)
        for name in ("kitchen", "garage"):
            for tail in tails:
                if (name, tail) != ("kitchen", "ack"):
                    await gateway.publish(f"ww/v1/{name}/{tail}", b"1", qos=1)
        await gateway.publish("ww/v1/kitchen/ack", b"1", qos=1)
        arrived = await heard(meter, "ww/v1/kitchen/ack")
    assert arrived == {f"ww/v1/kitchen/{tail}" for tail in TO_METER if tail != "ack"}


async def test_a_meters_last_will_reaches_the_gateway(port: int) -> None:
    async with login(port, "gateway") as gateway:
        await gateway.subscribe("ww/v1/garage/state", qos=1)
        # A keep-alive of 1 s and a client that falls silent: a meter without power.
        meter = Client(CallbackAPIVersion.VERSION2)
        meter.username_pw_set("garage", "secret-of-garage")
        meter.will_set("ww/v1/garage/state", b'{"online":false}', qos=1, retain=True)
        assert meter.connect("127.0.0.1", port, keepalive=1) == MQTTErrorCode.MQTT_ERR_SUCCESS
        async with asyncio.timeout(10):
            message = await anext(aiter(gateway.messages))
    assert message.payload == b'{"online":false}'


async def test_other_tools_see_live_figures_and_can_write_nothing(port: int) -> None:
    async with login(port, "gateway") as gateway, login(port, "homeassistant") as tool:
        await gateway.subscribe("ww/v1/#", qos=1)
        for filters in ("ww/v1/+/live/+/+", "ww/v1/+/state", "ww/v1/+/readings", "#"):
            await tool.subscribe(filters, qos=1)
        await tool.publish("ww/v1/kitchen/cmd", b"1", qos=1)
        await tool.publish("ww/v1/kitchen/live/grid/p", b"1", qos=1)
        for tail in ("readings", "cmd", "state", LIVE):
            await gateway.publish(f"ww/v1/kitchen/{tail}", b"2", qos=1)
        await gateway.publish("ww/v1/end/live/a/b", b"", qos=1)
        seen = await heard(tool, "ww/v1/end/live/a/b")
        written = await heard(gateway, "ww/v1/end/live/a/b")
    # A state retained by another test may arrive as well; all else would be a leak.
    assert seen - {"ww/v1/garage/state"} == {"ww/v1/kitchen/state", "ww/v1/kitchen/live/grid/p"}
    own = {f"ww/v1/kitchen/{tail}" for tail in ("readings", "cmd", "state", LIVE)}
    assert written - {"ww/v1/garage/state"} == own
