"""Keeps Home Assistant informed: which meters there are, and how they are."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from gateway.domain.alerts import Alert, AlertState
from gateway.domain.readings import Stored
from gateway.services.deriving import Deriver
from gateway.services.homeassistant import (
    GATEWAY,
    OWN,
    Discovery,
    live_topic,
    problem_payload,
)
from gateway.services.ledger import Ledger
from gateway.services.live import OLDEST_MS, values
from gateway.services.placer import Now
from gateway.services.views import SILENT_MS

LOOK_S = 1.0
COUNTERS_EVERY = 10  # looks: energy is for the hour, not for the second
ONLINE, OFFLINE = "online", "offline"
KWH_DIGITS = 6


class HomeLink(Protocol):
    """A connection to Home Assistant's broker."""

    def publish(self, topic: str, payload: str) -> None:
        """Publish retained, at QoS 1; an empty payload removes what stands there."""

    def retained(self) -> list[str]:
        """Return the topics of our configurations that the broker held when we came."""

    async def closed(self) -> None:
        """Return never; raise BrokerLostError when the connection is gone."""


Connect = Callable[[], AbstractAsyncContextManager[HomeLink]]


@dataclass(slots=True)
class HomeAssistantFeed:
    """The service. `mirror`: the broker is another one, so it needs the live values too."""

    discovery: Discovery
    connect: Connect
    deriver: Deriver
    ledger: Callable[[], Ledger]
    now: Now
    mirror: bool
    _told: dict[str, str] = field(default_factory=dict)
    _counted: dict[str, float] = field(default_factory=dict)
    _heard: dict[str, tuple[int, float]] = field(default_factory=dict)  # row, monotonic s
    _looks: int = 0

    async def run(self) -> None:
        """Tell what changes until cancelled; BrokerLostError when the connection is gone."""
        await self.deriver.loaded.wait()
        async with self.connect() as link:
            self._told.clear()
            self._looks = 0
            self._remove_strangers(link)
            link.publish(self.discovery.gateway_topic, ONLINE)
            closed = asyncio.ensure_future(link.closed())
            try:
                while not closed.done():
                    self.look(link)
                    await asyncio.wait([closed], timeout=LOOK_S)
                closed.result()
            finally:
                closed.cancel()
                await asyncio.gather(closed, return_exceptions=True)
                link.publish(self.discovery.gateway_topic, OFFLINE)

    def look(self, link: HomeLink) -> None:
        """Tell what is new."""
        wanted = dict(self._wanted())
        for topic in [t for t in self._told if t not in wanted and self._is_ours_to_remove(t)]:
            del self._told[topic]
            link.publish(topic, "")
        for topic, payload in wanted.items():
            if self._told.get(topic) != payload:
                self._told[topic] = payload
                link.publish(topic, payload)
        self._looks += 1

    def _wanted(self) -> Iterator[tuple[str, str]]:
        """Yield every topic with what it should hold; those of values only while they are fresh."""
        alerts: dict[str, list[Alert]] = {}
        for alert in self.deriver.desk.book.open_alerts:
            if alert.state is not AlertState.RESOLVED:
                alerts.setdefault(alert.meter or GATEWAY, []).append(alert)
        yield self.discovery.gateway_entity()
        yield live_topic(GATEWAY, OWN, "problem"), problem_payload(alerts.get(GATEWAY, []))
        for meter_id, meter in self.ledger().meters.items():
            reading = self.deriver.latest.get(meter_id)
            if meter.removed or meter.info.recorded or reading is None:
                continue
            yield from self.discovery.entities(meter.info, None, reading)
            yield live_topic(meter_id, OWN, "available"), self._availability(meter_id, reading)
            yield live_topic(meter_id, OWN, "problem"), problem_payload(alerts.get(meter_id, []))
            yield from self._counters(meter.no, meter_id)
            if self.mirror and abs(reading.received_ms - reading.at_ms) <= OLDEST_MS:
                for name, channel in reading.ch.items():
                    for name_of, value in values(reading, channel):
                        yield live_topic(meter_id, name, name_of), repr(value)

    def _availability(self, meter: str, reading: Stored) -> str:
        """Tell whether a meter was heard in the last two minutes, by the monotonic clock."""
        mono_s = self.now.mono_s()
        row, heard_s = self._heard.get(meter, (-1, mono_s))
        if row != reading.row:
            heard_s = mono_s
            if row < 0:  # the first of this run may be old
                age_ms = max(0, self.now.wall_ms() - reading.received_ms)
                heard_s -= age_ms / 1000
            self._heard[meter] = (reading.row, heard_s)
        return ONLINE if mono_s - heard_s < SILENT_MS / 1000 else OFFLINE

    def _counters(self, number: int, meter: str) -> Iterator[tuple[str, str]]:
        """Yield the energies: register + base, which a meter that starts anew lets fall never."""
        track = self.deriver.tracks.get(number)
        if track is None:
            return
        for name, roll in track.roll.channels.items():
            for way, register, base_wh in (
                ("in", roll.reg_in, roll.base_in), ("out", roll.reg_out, roll.base_out)
            ):  # fmt: skip
                if register is None:
                    continue
                topic = live_topic(meter, name, f"energy_{way}_kwh")
                if self._looks % COUNTERS_EVERY == 0 or topic not in self._counted:
                    kwh = round((register.wh + base_wh) / 1000, KWH_DIGITS)
                    self._counted[topic] = max(kwh, self._counted.get(topic, 0.0))
                yield topic, repr(self._counted[topic])

    def _is_ours_to_remove(self, topic: str) -> bool:
        """Tell whether a topic goes with its meter; a value that is merely old stays."""
        meter = self.discovery.meter_of(topic)
        if meter is None and topic.startswith("ww/v1/"):
            meter = topic.split("/")[2]
        return meter is not None and self._is_gone(meter)

    def _is_gone(self, meter: str) -> bool:
        known = self.ledger().meters.get(meter)
        return meter != GATEWAY and (known is None or known.removed or known.info.recorded)

    def _remove_strangers(self, link: HomeLink) -> None:
        """Remove what an earlier run told of meters that are gone."""
        for topic in link.retained():
            meter = self.discovery.meter_of(topic)
            if meter is not None and self._is_gone(meter):
                link.publish(topic, "")
