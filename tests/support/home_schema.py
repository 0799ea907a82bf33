"""What Home Assistant's MQTT discovery takes of sensors: a copy, for where it cannot run.

From homeassistant 2024.3.3 (Apache-2.0), components/mqtt/{config,mixins,discovery,sensor,
binary_sensor}.py and components/sensor/const.py, without abbreviations. Stricter in one thing:
an unknown key at the top is dropped there in silence, and is a mistake of ours here.
`make ha-test` compares the copy with the core that it brings along.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    StringConstraints,
    model_validator,
)

TOPIC = re.compile(r"\w+/(sensor|binary_sensor)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config")
LONGEST_TOPIC = 65_535
# Device class of a sensor: units, state classes. Of electricity only; None: no unit.
CLASSES: dict[str, tuple[set[str | None], set[str]]] = {
    "apparent_power": ({"VA"}, {"measurement"}),
    "current": ({"mA", "A"}, {"measurement"}),
    "energy": ({"GJ", "kWh", "MJ", "MWh", "Wh"}, {"total", "total_increasing"}),
    "frequency": ({"Hz", "kHz", "MHz", "GHz"}, {"measurement"}),
    "power": ({"W", "kW"}, {"measurement"}),
    "power_factor": ({"%", None}, {"measurement"}),
    "reactive_power": ({"var"}, {"measurement"}),
    "voltage": ({"mV", "V"}, {"measurement"}),
}


def _subscribable(topic: str) -> str:
    if not 0 < len(topic.encode()) <= LONGEST_TOPIC or re.search(r"[\x00-\x1f\x7f-\x9f]", topic):
        msg = "no topic"
        raise ValueError(msg)
    return topic


Text = Annotated[str, StringConstraints(strict=True)]
Topic = Annotated[Text, AfterValidator(_subscribable)]
Whole = Annotated[NonNegativeInt, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]


class Strict(BaseModel):
    """Takes no key that it does not name."""

    model_config = ConfigDict(extra="forbid")


class Availability(Strict):
    """One of several topics that tell whether an entity is there."""

    topic: Topic
    payload_available: Text = "online"
    payload_not_available: Text = "offline"
    value_template: Text | None = None


class Device(Strict):
    """What an entity is a part of."""

    identifiers: list[Text] = []
    connections: list[tuple[Text, Text]] = []
    manufacturer: Text | None = None
    model: Text | None = None
    name: Text | None = None
    hw_version: Text | None = None
    serial_number: Text | None = None
    sw_version: Text | None = None
    via_device: Text | None = None
    suggested_area: Text | None = None
    configuration_url: Text | None = None

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if not self.identifiers and not self.connections:
            msg = "a device needs identifiers or connections"
            raise ValueError(msg)
        return self


class Origin(Strict):
    """Who publishes the configuration."""

    name: Text
    sw_version: Text | None = None
    support_url: Text | None = None


class Entity(Strict):
    """What every read-only entity may have."""

    state_topic: Topic
    value_template: Text | None = None
    qos: Literal[0, 1, 2] = 0
    encoding: Text = "utf-8"
    availability_topic: Topic | None = None
    availability_template: Text | None = None
    payload_available: Text = "online"
    payload_not_available: Text = "offline"
    availability: list[Availability] | None = None
    availability_mode: Literal["all", "any", "latest"] = "latest"
    device: Device | None = None
    origin: Origin | None = None
    enabled_by_default: Truth = True
    entity_category: Literal["config", "diagnostic"] | None = None
    icon: Annotated[Text, StringConstraints(pattern=r"^\w+:")] | None = None
    json_attributes_topic: Topic | None = None
    json_attributes_template: Text | None = None
    object_id: Text | None = None
    unique_id: Text | None = None
    name: Text | None = None
    device_class: Text | None = None
    expire_after: Whole | None = None
    force_update: Truth = False

    @model_validator(mode="after")
    def _one_way_of_availability(self) -> Self:
        if self.availability is not None and self.availability_topic is not None:
            msg = "availability or availability_topic, not both"
            raise ValueError(msg)
        return self


class Sensor(Entity):
    """A number that is measured or counted."""

    last_reset_value_template: Text | None = None
    suggested_display_precision: Whole | None = None
    state_class: Literal["measurement", "total", "total_increasing"] | None = None
    unit_of_measurement: Text | None = None

    @model_validator(mode="after")
    def _fits_its_class(self) -> Self:
        if self.device_class is None:
            return self
        units, states = CLASSES.get(self.device_class, (set(), set()))
        if self.unit_of_measurement not in units or self.state_class not in {*states, None}:
            found = (self.device_class, self.unit_of_measurement, self.state_class)
            msg = f"class, unit and state class do not go together: {found}"
            raise ValueError(msg)
        return self


class BinarySensor(Entity):
    """Something that is on or off; the classes are those that we use."""

    device_class: Literal["problem", "connectivity", "power"] | None = None
    off_delay: Whole | None = None
    payload_off: Text = "OFF"
    payload_on: Text = "ON"


COMPONENTS: dict[str, type[Entity]] = {"sensor": Sensor, "binary_sensor": BinarySensor}


def check(topic: str, payload: str) -> None:
    """Raise ValueError unless Home Assistant takes a configuration as it stands."""
    found = TOPIC.fullmatch(topic)
    if found is None:
        msg = f"{topic}: Home Assistant does not look there"
        raise ValueError(msg)
    COMPONENTS[found[1]].model_validate_json(payload)
