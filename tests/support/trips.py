"""Meters that see the mains rise to 1.2 times its voltage: an alert each, within seconds."""

import json

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.readings import House, Reading, now_ms

SWELL_V = 276.0
LASTS = 5  # windows of a second; the rule wants three


def tripping(boot: int, *, age_ms: int = 0, lasts: int = LASTS) -> list[Reading]:
    """Return a second of calm and some of a swell, which ended `age_ms` ago."""
    windows = lasts + 1
    house = House(start_ms=now_ms() - windows * 1000 - 200 - age_ms, boot=boot)
    calm = house.next()
    return [calm, *(house.window(seq, 150.0, SWELL_V) for seq in range(1, windows))]


def trip(port: int, meters: list[str], *, age_ms: int = 0, lasts: int = LASTS) -> None:
    """Have each of these meters send its swell now, all in one moment."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"trips-{meters[0]}")
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [
        client.publish(
            f"ww/v1/{meter}/readings",
            json.dumps(tripping(1000 + number, age_ms=age_ms, lasts=lasts)),
            qos=1,
        )
        for number, meter in enumerate(meters)
    ]
    for info in sent:
        info.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
