"""What Home Assistant is told by MQTT discovery, so that every meter becomes a device there.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. Values are on the contract's
`live` topics; what the contract has no word for is beside them, under a channel's name that no
meter can have (`_meter`).
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import gateway
from gateway.domain.alerts import Alert, Severity
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored

OWN = "_meter"
GATEWAY = "gateway"  # no meter may be called so: it is the gateway's user name at the broker
APART = "__"  # between a meter's id and the rest: neither has two underscores


class Measured(NamedTuple):
    """How one field of a channel is shown."""

    field: str
    name: str
    device_class: str
    unit: str | None
    state_class: str
    decimals: int


FIELDS = (
    Measured("p", "power", "power", "W", "measurement", 0),
    Measured("v", "voltage", "voltage", "V", "measurement", 1),
    Measured("i", "current", "current", "A", "measurement", 2),
    Measured("q", "reactive power", "reactive_power", "var", "measurement", 0),
    Measured("f", "frequency", "frequency", "Hz", "measurement", 2),
)
ENERGIES = (
    Measured("energy_in_kwh", "energy", "energy", "kWh", "total_increasing", 3),
    Measured("energy_out_kwh", "returned energy", "energy", "kWh", "total_increasing", 3),
)


class Entity(NamedTuple):
    """One configuration: its topic, and what is published there, retained."""

    topic: str
    payload: str


class Discovery:
    """Names and configurations of one site."""

    def __init__(self, site: str, prefix: str) -> None:
        self._site = site
        self._prefix = prefix

    @property
    def node(self) -> str:
        """Return the part of a topic that says that an entity is ours."""
        return f"wattwarden-{self._site}"

    @property
    def pattern(self) -> str:
        """Return the filter that all of our configurations match."""
        return f"{self._prefix}/+/{self.node}/+/config"

    @property
    def gateway_topic(self) -> str:
        """Return where it stands whether the gateway runs; the broker's last will too."""
        return f"ww/v1/{GATEWAY}/live/{self._site}/available"

    def meter_of(self, topic: str) -> str | None:
        """Return whose configuration a topic holds, None for one that is not ours."""
        parts = topic.removeprefix(f"{self._prefix}/").split("/")
        if len(parts) != len(("component", "node", "object", "config")) or parts[1] != self.node:
            return None
        return parts[2].partition(APART)[0]

    def entities(self, info: MeterInfo, fw: str | None, reading: Stored) -> list[Entity]:
        """Return the configurations of a meter by what it measures."""
        device = self._device(info.id, info.label or info.id, fw)
        found = [self._problem(info.id, device)]
        for number, (name, channel) in enumerate(reading.ch.items()):
            label = name.replace("_", " ").capitalize()
            there = {
                "p": channel.p, "i": channel.i, "q": channel.q, "f": reading.f,
                "v": reading.v if channel.v is None else channel.v,
                "energy_in_kwh": channel.wh_in, "energy_out_kwh": channel.wh_out,
            }  # fmt: skip
            for shown in (*FIELDS, *ENERGIES):
                if there[shown.field] is None or (shown.field == "f" and number):
                    continue
                found.append(self._sensor(info.id, name, label, shown, device))
        return found

    def gateway_entity(self) -> Entity:
        """Return the configuration of the gateway's own alerts."""
        return self._problem(GATEWAY, self._device(GATEWAY, "Wattwarden gateway", None))

    def _sensor(
        self, meter: str, channel: str, label: str, shown: Measured, device: dict[str, object]
    ) -> Entity:
        key = f"{meter}{APART}{channel}_{shown.field}"
        config: dict[str, object] = {
            "name": f"{label} {shown.name}",
            "state_topic": live_topic(meter, channel, shown.field),
            "device_class": shown.device_class,
            "state_class": shown.state_class,
            "suggested_display_precision": shown.decimals,
        }
        if shown.unit is not None:
            config["unit_of_measurement"] = shown.unit
        return self._entity("sensor", key, meter, config, device)

    def _problem(self, meter: str, device: dict[str, object]) -> Entity:
        topic = live_topic(meter, OWN, "problem")
        config: dict[str, object] = {
            "name": "Alerts", "state_topic": topic, "device_class": "problem",
            "value_template": "{{ value_json.state }}", "json_attributes_topic": topic,
        }  # fmt: skip
        return self._entity("binary_sensor", f"{meter}{APART}alerts", meter, config, device)

    def _entity(
        self, kind: str, key: str, meter: str, config: dict[str, object], device: dict[str, object]
    ) -> Entity:
        topics = [self.gateway_topic]
        if meter != GATEWAY and kind == "sensor":  # alerts are told of silent meters too
            topics.append(live_topic(meter, OWN, "available"))
        payload = {
            **config,
            "unique_id": f"wattwarden_{self._site}_{key}",
            "object_id": key.replace("-", "_").replace(APART, "_"),
            "availability": [{"topic": topic} for topic in topics],
            "availability_mode": "all",
            "device": device,
            "origin": {"name": "Wattwarden", "sw_version": gateway.__version__},
        }
        topic = f"{self._prefix}/{kind}/{self.node}/{key}/config"
        return Entity(topic, json.dumps(payload, separators=(",", ":")))

    def _device(self, meter: str, name: str, fw: str | None) -> dict[str, object]:
        device: dict[str, object] = {
            "identifiers": [f"wattwarden_{self._site}_{meter}"], "name": name,
            "manufacturer": "Wattwarden", "model": "Gateway",
        }  # fmt: skip
        if meter != GATEWAY:
            device["model"] = "Energy meter"
            device["via_device"] = f"wattwarden_{self._site}_{GATEWAY}"
        if fw:
            device["sw_version"] = fw
        return device


def live_topic(meter: str, channel: str, field: str) -> str:
    """Return the topic of a value (contract, section 2)."""
    return f"ww/v1/{meter}/live/{channel}/{field}"


def problem_payload(alerts: Iterable[Alert]) -> str:
    """Return what a problem sensor shows of open alerts; muted ones do not count."""
    heard = [alert for alert in alerts if not alert.muted]
    worst = max(heard, key=lambda a: (a.severity is Severity.CRITICAL, a.opened_ms), default=None)
    body: Mapping[str, object] = {
        "state": "ON" if heard else "OFF",
        "alerts": len(heard),
        "critical": sum(alert.severity is Severity.CRITICAL for alert in heard),
        "title": None if worst is None else worst.title,
        "detail": None if worst is None else worst.detail,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
