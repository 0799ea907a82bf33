"""Publish each meter's newest values for other tools: the contract's `live` topics."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from gateway.domain.readings import Channel, Stored, apparent_power_va, power_factor
from gateway.services.planner import MAX_METERS

EVERY_S = 1.0  # contract, section 2: at most once a second
OLDEST_MS = 10_000  # never from a backlog
Publish = Callable[[str, str], None]


class Live:
    """The service; values are retained, at QoS 0, and those that did not change are not sent."""

    def __init__(self, latest: Mapping[str, Stored], publish: Publish) -> None:
        self._latest = latest
        self._publish = publish
        self._rows: dict[str, int] = {}
        self._sent: dict[str, str] = {}

    async def run(self) -> None:
        """Publish every second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """Publish what is new."""
        for meter, reading in list(self._latest.items())[:MAX_METERS]:
            if self._rows.get(meter) == reading.row:
                continue
            self._rows[meter] = reading.row
            if abs(reading.received_ms - reading.at_ms) > OLDEST_MS:
                continue
            for name, channel in reading.ch.items():
                for field, value in _values(reading, channel):
                    self._tell(f"ww/v1/{meter}/live/{name}/{field}", repr(value))

    def _tell(self, topic: str, text: str) -> None:
        if self._sent.get(topic) != text:
            self._sent[topic] = text
            self._publish(topic, text)


def _values(reading: Stored, channel: Channel) -> Iterator[tuple[str, float]]:
    """Yield a channel's fields that were measured, named as in a reading, and its power factor."""
    voltage_v = reading.v if channel.v is None else channel.v
    fields = {
        "v": voltage_v,
        "f": reading.f,
        "i": channel.i,
        "p": channel.p,
        "q": channel.q,
        "pf": power_factor(channel.p, apparent_power_va(voltage_v, channel.i)),
        "wh_in": channel.wh_in,
        "wh_out": channel.wh_out,
    }
    for name, value in fields.items():
        if value is not None:
            yield name, round(value, 4)
