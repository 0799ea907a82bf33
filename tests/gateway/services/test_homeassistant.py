"""What Home Assistant is told: configurations, counters that never fall, goodbye to meters."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.domain.alerts import AlertKind, Finding, Severity
from gateway.services.homeassistant import Discovery
from gateway.services.homeassistant_feed import HomeAssistantFeed
from tests.gateway.services.site_rig import Site, windows
from tests.support import home_schema

OLD = "homeassistant/sensor/wattwarden-home/attic__grid_p/config"


@dataclass
class Broker:
    """Keeps what was published, as a broker does with retained messages."""

    held: dict[str, str] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)

    def publish(self, topic: str, payload: str) -> None:
        self.history.append((topic, payload))
        if payload:
            self.held[topic] = payload
        else:
            self.held.pop(topic, None)

    def retained(self) -> list[str]:
        return [topic for topic in self.held if topic.endswith("/config")]

    async def closed(self) -> None:
        await asyncio.Event().wait()

    def configs(self) -> dict[str, dict[str, Any]]:
        return {t: json.loads(p) for t, p in self.held.items() if t.endswith("/config")}


def feed_of(site: Site, broker: Broker, *, mirror: bool = False) -> HomeAssistantFeed:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Broker]:
        yield broker

    discovery = Discovery("home", "homeassistant")
    return HomeAssistantFeed(
        discovery, connect, site.deriver, lambda: site.ledger, site.now, mirror=mirror
    )


async def measured(site: Site) -> None:
    site.live(windows(0, 9))
    await site.derive()


async def everything(site: Site) -> dict[str, dict[str, Any]]:
    """Return the configurations of the gateway and of a meter that measures all it can."""
    await measured(site)
    broker = Broker()
    feed_of(site, broker).look(broker)
    return broker.configs()


async def test_a_meter_is_a_device_with_what_it_measures(site: Site) -> None:
    await measured(site)
    broker = Broker()
    feed_of(site, broker).look(broker)
    configs = broker.configs()
    power = configs["homeassistant/sensor/wattwarden-home/home__grid_p/config"]
    assert power["state_topic"] == "ww/v1/home/live/grid/p"
    assert (power["device_class"], power["unit_of_measurement"]) == ("power", "W")
    energy = configs["homeassistant/sensor/wattwarden-home/home__grid_energy_in_kwh/config"]
    assert (energy["state_class"], energy["unit_of_measurement"]) == ("total_increasing", "kWh")
    problem = configs["homeassistant/binary_sensor/wattwarden-home/home__alerts/config"]
    assert problem["device_class"] == "problem"
    assert len({config["unique_id"] for config in configs.values()}) == len(configs)
    assert broker.held["ww/v1/home/live/_meter/available"] == "online"
    assert "ww/v1/home/live/grid/p" not in broker.held  # the live service tells it
    count = len(broker.history)
    feed_of(site, broker).look(broker)
    assert len(broker.history) == 2 * count  # a new connection tells all again


async def test_home_assistant_takes_every_configuration_as_it_stands(site: Site) -> None:
    configs = await everything(site)
    assert {topic.split("/")[1] for topic in configs} == set(home_schema.COMPONENTS)
    shown = {config["state_topic"].rpartition("/")[2] for config in configs.values()}
    assert shown == {"p", "v", "i", "q", "f", "energy_in_kwh", "energy_out_kwh", "problem"}
    for topic, config in configs.items():
        home_schema.check(topic, json.dumps(config))


async def test_what_home_assistant_would_refuse_is_seen(site: Site) -> None:
    topic = "homeassistant/sensor/wattwarden-home/home__grid_energy_in_kwh/config"
    good = (await everything(site))[topic]
    for wrong in (
        {"unit_of_measurement": "kwh"}, {"state_class": "measurement"}, {"state_topics": "a"},
        {"availability_topic": "a"}, {"device": {"name": "home"}}, {"device_class": "watts"},
        {"availability_mode": "every"}, {"state_topic": ""}, {"suggested_display_precision": "3"},
        {"device": {**good["device"], "colour": "red"}}, {"origin": {"sw_version": "1"}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="validation error"):
            home_schema.check(topic, json.dumps(good | wrong))
    with pytest.raises(ValueError, match="does not look there"):
        home_schema.check(topic.replace("home__", "home.1__"), json.dumps(good))


async def test_another_broker_gets_the_live_values_too(site: Site) -> None:
    await measured(site)
    broker = Broker()
    feed_of(site, broker, mirror=True).look(broker)
    assert broker.held["ww/v1/home/live/grid/p"] == "500.0"


async def test_the_counters_never_fall(site: Site) -> None:
    await measured(site)
    broker = Broker()
    feed = feed_of(site, broker)
    topic = "ww/v1/home/live/grid/energy_in_kwh"
    feed.look(broker)
    first = float(broker.held[topic])
    # The board was replaced: a new boot, its register begins at nought.
    site.live(windows(0, 9, boot=2, boot_ms=site.now.wall, wh_in=0.5))
    await site.derive()
    for _ in range(10):
        feed.look(broker)
    told = [float(payload) for where, payload in broker.history if where == topic]
    assert told == sorted(told)
    assert float(broker.held[topic]) >= first


async def test_alerts_are_problems_unless_muted(site: Site) -> None:
    await measured(site)
    broker = Broker()
    feed = feed_of(site, broker)
    key = ("home", "grid", AlertKind.OVER_CURRENT)
    at_ms = site.now.wall
    found = Finding(key, active=True, at_ms=at_ms, severity=Severity.CRITICAL, title="Too much")
    await site.deriver.report([found])
    feed.look(broker)
    told = json.loads(broker.held["ww/v1/home/live/_meter/problem"])
    assert (told["state"], told["critical"], told["title"]) == ("ON", 1, "Too much")
    await site.deriver.report([Finding(key, active=False, at_ms=at_ms + 1)])
    feed.look(broker)
    assert json.loads(broker.held["ww/v1/home/live/_meter/problem"])["state"] == "OFF"
    assert json.loads(broker.held["ww/v1/gateway/live/_meter/problem"])["state"] == "OFF"


async def test_silence_is_unavailable_and_a_removed_meter_leaves(site: Site) -> None:
    await measured(site)
    broker = Broker()
    feed = feed_of(site, broker)
    feed.look(broker)
    site.now.pass_s(121)
    feed.look(broker)
    assert broker.held["ww/v1/home/live/_meter/available"] == "offline"
    site.ledger.meters["home"].removed = True
    feed.look(broker)
    assert not [topic for topic in broker.held if "home__" in topic or "/v1/home/" in topic]


async def test_what_was_removed_while_the_gateway_was_down_goes_at_the_start(site: Site) -> None:
    await measured(site)
    broker = Broker({OLD: "{}", "homeassistant/sensor/wattwarden-other/x__p/config": "{}"})
    running = asyncio.create_task(feed_of(site, broker).run())
    await asyncio.sleep(0.05)
    assert OLD not in broker.held
    assert "homeassistant/sensor/wattwarden-other/x__p/config" in broker.held
    assert broker.held["ww/v1/gateway/live/home/available"] == "online"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert broker.held["ww/v1/gateway/live/home/available"] == "offline"
