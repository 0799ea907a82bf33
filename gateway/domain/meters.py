"""Meters, their channels, and the settings an operator gives them."""

from dataclasses import dataclass, field
from enum import StrEnum

# The largest common clamp, SCT-013-000, carries 100 A (YHDC datasheet).
LARGEST_CLAMP_A = 100.0
# The clamp of the reference design, SCT-013-030 (YHDC datasheet): 30 A gives 1 V.
USUAL_CLAMP_A = 30.0


class Role(StrEnum):
    """What a channel measures."""

    GRID = "grid"
    SOLAR = "solar"
    LOAD = "load"


def usual_role(channel: str) -> Role:
    """Return the role that a channel's name suggests: `grid`, `solar`, else a load."""
    return Role(channel) if channel in ("grid", "solar") else Role.LOAD


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One channel; `rating_a` is the clamp's or circuit's rated current, None = unknown."""

    name: str
    role: Role
    rating_a: float | None = None


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """One meter as registered. A `recorded` meter carries given times and is never silent."""

    id: str
    recorded: bool = False
    label: str = ""
    registered_ms: int = 0
    channels: dict[str, ChannelInfo] = field(default_factory=dict)
