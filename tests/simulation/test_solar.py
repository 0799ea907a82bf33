"""The sun and the roof against known values."""

import numpy as np
import pytest

from simulation.houses import late_morning
from simulation.solar import DAY_MS, Place, Roof, clear_sky_w, cloud_day, power_w, sun

MINUTES = np.arange(0, DAY_MS, 60_000)
JUNE_21 = 20_260 * DAY_MS  # 2025-06-21
DECEMBER_21 = 20_443 * DAY_MS


@pytest.mark.parametrize(
    ("day_ms", "latitude", "highest"),
    [(JUNE_21, 38.7, 74.7), (DECEMBER_21, 38.7, 27.9), (JUNE_21, -33.9, 32.7)],
)
def test_noon_height_at_the_solstices(day_ms: int, latitude: float, highest: float) -> None:
    """90 degrees less the latitude, plus or minus 23.4."""
    elevation, _ = sun(Place(latitude, 0.0), day_ms + MINUTES)
    assert np.rad2deg(elevation.max()) == pytest.approx(highest, abs=0.6)


def test_length_of_the_longest_day_and_the_hour_of_noon() -> None:
    """Lisbon: 14 h 52 min with refraction, 14 h 42 min by geometry; noon at 12:38 UTC."""
    elevation, azimuth = sun(Place(38.7, -9.1), JUNE_21 + MINUTES)
    assert (elevation > 0).sum() / 60 == pytest.approx(14.7, abs=0.15)
    noon = int(elevation.argmax())
    assert noon == pytest.approx(12 * 60 + 38, abs=4)
    assert np.rad2deg(azimuth[noon]) == pytest.approx(180, abs=3)
    assert np.rad2deg(azimuth[noon - 300]) < 110  # morning: in the east


def test_clear_sky_yield_is_what_roofs_give() -> None:
    """7 to 8.5 kWh/m2 on a tilted plane in Lisbon's June, 3 to 5 in December."""
    roof = Roof(peak_w=1000.0, efficiency=1.0)
    june, december = (
        clear_sky_w(Place(), roof, day + MINUTES).sum() / 60_000 for day in (JUNE_21, DECEMBER_21)
    )
    assert 7 < june < 9
    assert 3 < december < 5.5


def test_clouds_differ_by_day_and_stay_in_bounds() -> None:
    days = np.array([cloud_day(1, day) for day in range(60)])
    assert days.min() >= 0.12
    assert days.max() <= 1.0
    means = days.mean(axis=1)
    assert means.min() < 0.4
    assert means.max() > 0.9


def test_power_obeys_the_inverter_and_the_night() -> None:
    roof = Roof(peak_w=5000.0, inverter_w=3000.0)
    at_ms = np.arange(JUNE_21, JUNE_21 + 20 * DAY_MS, 60_000)
    watts = power_w(1, Place(), roof, at_ms)
    assert watts.max() == 3000.0
    elevation, _ = sun(Place(), at_ms)
    assert (watts[elevation <= 0] == 0).all()
    assert ((watts == 0) | (watts >= 15)).all()


@pytest.mark.parametrize("hour", range(24))
def test_it_is_always_late_morning_somewhere(hour: int) -> None:
    """The demo's sun shines whenever somebody tries it out, also in December."""
    at_ms = DECEMBER_21 + hour * 3_600_000 + 1_800_000
    place = late_morning(at_ms)
    elevation, azimuth = sun(place, np.array([at_ms]))
    assert np.rad2deg(elevation[0]) > 25
    assert np.rad2deg(azimuth[0]) == pytest.approx(172, abs=8)
    assert (at_ms / 3_600_000 + place.utc_offset_h) % 24 == 11.5
