"""Physics: what does not fit is flagged and never rejected, since real meters round."""

from gateway.domain.readings import Channel

# A clamp of class 1 to 3, a voltage sensor of 1 %, and rounding: real meters exceed |P| = V·I
# by a few per cent (the meters in published household data by up to 4 % at small currents).
PHYSICS_RATIO = 1.05
PHYSICS_FLOOR_VA = 15.0


def breaks_physics(voltage_v: float | None, channels: dict[str, Channel]) -> bool:
    """Tell whether any channel's |P| exceeds V·I beyond the sensor's tolerance."""
    for channel in channels.values():
        volts = voltage_v if channel.v is None else channel.v
        if channel.p is None or channel.i is None or volts is None:
            continue
        if abs(channel.p) > volts * channel.i * PHYSICS_RATIO + PHYSICS_FLOOR_VA:
            return True
    return False
