"""A roof: where the sun stands, what clouds leave of it, what the inverter gives."""

from dataclasses import dataclass

import numpy as np

from simulation import noise
from simulation.noise import Floats, Ints

DAY_MS = 86_400_000
_CLOUD_STEP_MS = 60_000
_CLOUD_STREAM = 71
# Clear, mixed and overcast: cloudiness and how restless it is (chosen).
_SKIES = ((3.2, 0.4), (0.6, 1.0), (-1.6, 1.0))
_CLOUD_MEMORY = np.exp(-1 / 12)  # per minute: clouds pass in about 12 (chosen)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a home stands; east and north are positive.

    `utc_offset_h` turns UTC into the clock people live by; daylight saving time
    is not modelled.
    """

    latitude_deg: float = 38.7
    longitude_deg: float = -9.1
    utc_offset_h: float = 0.0


@dataclass(frozen=True, slots=True)
class Roof:
    """Panels and inverter; azimuth 180 is south."""

    peak_w: float = 3500.0
    inverter_w: float = 3000.0
    tilt_deg: float = 30.0
    azimuth_deg: float = 180.0
    efficiency: float = 0.86  # dirt, heat, wiring, inverter (typical, chosen)


def sun(place: Place, at_ms: Ints) -> tuple[Floats, Floats]:
    """Return the sun's elevation and azimuth in radians, azimuth from north by east.

    Declination and equation of time after Spencer (1971), good to half a degree.
    """
    days = at_ms / DAY_MS
    year = 2 * np.pi * ((days + 0.5) % 365.2425) / 365.2425
    declination = (
        0.006918
        - 0.399912 * np.cos(year)
        + 0.070257 * np.sin(year)
        - 0.006758 * np.cos(2 * year)
        + 0.000907 * np.sin(2 * year)
    )
    time_equation_min = 229.18 * (
        0.000075
        + 0.001868 * np.cos(year)
        - 0.032077 * np.sin(year)
        - 0.014615 * np.cos(2 * year)
        - 0.040849 * np.sin(2 * year)
    )
    solar_day = (days + place.longitude_deg / 360 + time_equation_min / 1440) % 1
    hour_angle = 2 * np.pi * (solar_day - 0.5)
    latitude = np.deg2rad(place.latitude_deg)
    sine = np.sin(latitude) * np.sin(declination)
    sine = sine + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    azimuth = np.pi + np.arctan2(
        np.sin(hour_angle),
        np.cos(hour_angle) * np.sin(latitude) - np.tan(declination) * np.cos(latitude),
    )
    return np.arcsin(sine), np.asarray(azimuth)


def power_w(seed: int, place: Place, roof: Roof, at_ms: Ints) -> Floats:
    """Return AC watts under passing clouds, 0 while the sun is down."""
    clear = clear_sky_w(place, roof, at_ms)
    raw = clear * _transmission(seed, place, at_ms)
    # Below about half a percent of its rating an inverter does not switch in.
    raw[raw < 0.005 * roof.inverter_w] = 0.0
    return np.minimum(raw, roof.inverter_w)


def clear_sky_w(place: Place, roof: Roof, at_ms: Ints) -> Floats:
    """Return AC watts of a cloudless sky before the inverter's limit.

    Beam 1353 * 0.7 ** (AM ** 0.678) W/m2 and a tenth of it diffuse after Meinel
    (1976); air mass AM after Kasten and Young (1989).
    """
    elevation, azimuth = sun(place, at_ms)
    up = np.maximum(elevation, 0.0)
    degrees = np.rad2deg(up)
    air_mass = 1 / (np.sin(up) + 0.50572 * (degrees + 6.07995) ** -1.6364)
    beam = np.where(elevation > 0, 1353 * 0.7 ** (air_mass**0.678), 0.0)
    tilt, facing = np.deg2rad(roof.tilt_deg), np.deg2rad(roof.azimuth_deg)
    incidence = np.sin(up) * np.cos(tilt)
    incidence = incidence + np.cos(up) * np.sin(tilt) * np.cos(azimuth - facing)
    plane = beam * np.maximum(incidence, 0.0) + 0.1 * beam * (1 + np.cos(tilt)) / 2
    return np.asarray(roof.peak_w * roof.efficiency * plane / 1000)


def _transmission(seed: int, place: Place, at_ms: Ints) -> Floats:
    """Return the share of clear-sky power that clouds let through."""
    local = at_ms + int(place.utc_offset_h * 3_600_000)
    out = np.empty(len(at_ms))
    for day in range(int(local[0]) // DAY_MS, int(local[-1]) // DAY_MS + 1):
        inside = local // DAY_MS == day
        minutes = (local[inside] - day * DAY_MS) / _CLOUD_STEP_MS
        knots = cloud_day(seed, day)
        out[inside] = np.interp(minutes, np.arange(len(knots)), knots)
    return out


def cloud_day(seed: int, day: int) -> Floats:
    """Return the transmission at each minute of one day, both ends included.

    A first-order autoregression in minutes around the day's own cloudiness,
    squashed into 0.12 to 1 (chosen to give clear, mixed and overcast days).
    """
    random = noise.stream(seed, _CLOUD_STREAM, day)
    level, restless = _SKIES[random.choice(len(_SKIES), p=[0.45, 0.35, 0.2])]
    shocks = random.standard_normal(1441) * np.sqrt(1 - _CLOUD_MEMORY**2)
    state = float(random.standard_normal())
    states = np.empty(1441)
    for minute, shock in enumerate(shocks.tolist()):
        state = _CLOUD_MEMORY * state + shock
        states[minute] = state
    return np.asarray(0.12 + 0.88 / (1 + np.exp(-(level + 1.5 * restless * states))))
