"""What a simulated home is made of, checked before anything is simulated."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulation.appliances import Appliance
from simulation.mains import Mains
from simulation.solar import Place, Roof

GRID, SOLAR = "grid", "solar"
MOST_CHANNELS = 6  # current inputs of one meter
_METER = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")
_LOAD = re.compile(r"load[1-9]")


@dataclass(frozen=True, slots=True)
class Fitting:
    """An appliance in its place; `channel` is the clamp (`load1` to `load9`) on its cable.

    Without a channel it is only seen by the clamp at the connection point.
    """

    appliance: Appliance
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class HomeSpec:
    """A home: its meter's id, what is in it, its roof, its supply and its place.

    ValueError for an id or channel that the wire contract does not allow.
    """

    name: str
    fittings: Sequence[Fitting]
    roof: Roof | None = None
    mains: Mains = field(default_factory=Mains)
    place: Place = field(default_factory=Place)

    def __post_init__(self) -> None:
        if not _METER.fullmatch(self.name):
            msg = f"{self.name!r} is no meter id"
            raise ValueError(msg)
        for fitting in self.fittings:
            if fitting.channel is not None and not _LOAD.fullmatch(fitting.channel):
                msg = f"{self.name}: channel {fitting.channel!r} is not load1 to load9"
                raise ValueError(msg)
        if len(self.channels) > MOST_CHANNELS:
            msg = f"{self.name}: more than {MOST_CHANNELS} channels"
            raise ValueError(msg)

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels: grid, solar if there is a roof, then the loads."""
        loads = {f.channel for f in self.fittings if f.channel is not None}
        return (GRID, *((SOLAR,) if self.roof else ()), *sorted(loads))
