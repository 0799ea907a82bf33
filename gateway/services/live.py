"""Publish each meter's newest values for other tools: the contract's `live` topics."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from gateway.domain.readings import Channel, Stored, apparent_power_va, power_factor
from gateway.services.planner import MAX_METERS

EVERY_S = 1.0  # contract, section 2: at most once a second
OLDEST_MS = 10_000  # never from a backlog
METERS_AT_ONCE = 8  # a millisecond of the loop
QUIET_LOOKS = 10  # after which a meter's values are sent anew: the broker may hold none any more
FIELDS = ("v", "f", "i", "p", "q", "pf", "wh_in", "wh_out")
Publish = Callable[[str, str], None]


class Live:
    """The service; values are retained, at QoS 0, and those that did not change are not sent."""

    def __init__(
        self, latest: Mapping[str, Stored], is_removed: Callable[[str], bool], publish: Publish
    ) -> None:
        self._latest = latest
        self._is_removed = is_removed
        self._publish = publish
        self._rows: dict[str, int] = {}
        self._sent: dict[str, dict[str, str]] = {}  # meter, topic
        self._heard: dict[str, int] = {}  # the look at which a meter was last seen
        self._looks = 0

    async def run(self) -> None:
        """Publish every second, until cancelled."""
        while True:
            self._looks += 1
            for count, _ in enumerate(self._tell_each(), start=1):
                if count % METERS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # readings that have come need not wait for us
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """Publish what is new."""
        self._looks += 1
        for _ in self._tell_each():
            pass

    def _tell_each(self) -> Iterator[None]:
        """Publish what is new, one meter a step."""
        for meter, reading in list(self._latest.items())[:MAX_METERS]:
            if self._rows.get(meter) == reading.row or self._is_removed(meter):
                continue
            self._rows[meter] = reading.row
            if abs(reading.received_ms - reading.at_ms) <= OLDEST_MS:
                self._tell(meter, reading)
                yield

    def _tell(self, meter: str, reading: Stored) -> None:
        sent = self._sent_to(meter)
        for name, channel in reading.ch.items():
            for field, value in values(reading, channel):
                topic, text = f"ww/v1/{meter}/live/{name}/{field}", repr(value)
                if sent.get(topic) != text:
                    sent[topic] = text
                    self._publish(topic, text)

    def _sent_to(self, meter: str) -> dict[str, str]:
        """Return what stands at the broker; nothing after a long silence (see QUIET_LOOKS)."""
        if self._looks - self._heard.get(meter, self._looks) > QUIET_LOOKS:
            self._sent.pop(meter, None)
        self._heard[meter] = self._looks
        return self._sent.setdefault(meter, {})


def values(reading: Stored, channel: Channel) -> Iterator[tuple[str, float]]:
    """Yield a channel's FIELDS that were measured, named as in a reading."""
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
