"""Three homes that every demo, bench and test can share."""

from simulation import appliances as a
from simulation.mains import Mains
from simulation.solar import Place, Roof
from simulation.spec import Fitting, HomeSpec

_HOUR_MS = 3_600_000
_ELEVEN = 11
LISBON = Place(38.7, -9.1, 0.0)


def flat(place: Place = LISBON) -> HomeSpec:
    """Return a flat without a roof: one clamp, a stiff town supply."""
    inside = (
        a.standby(38.0),
        a.filters(40.0),
        a.fridge(85.0),
        a.led_lights(50.0),
        a.dimmed_lamp(),
        a.television_and_computers(120.0),
        a.kettle(2000.0),
        a.microwave(),
        a.induction_hob(),
        a.washing_machine(),
        a.hair_dryer(),
        a.vacuum_cleaner(),
    )
    mains = Mains(mean_v=232.0, sag_v_per_kw=1.0)
    return HomeSpec("flat", tuple(Fitting(x) for x in inside), None, mains, place)


def family_house(place: Place = LISBON) -> HomeSpec:
    """Return a family house with 4 kW of panels: clamps at the grid and the inverter."""
    inside = (
        a.standby(60.0),
        a.filters(70.0),
        a.fridge(110.0),
        a.led_lights(110.0),
        a.television_and_computers(220.0),
        a.kettle(2200.0, 5.0),
        a.microwave(),
        a.oven(),
        a.washing_machine(),
        a.dishwasher(),
        a.water_heater(),
        a.hair_dryer(),
        a.vacuum_cleaner(),
    )
    mains = Mains(mean_v=233.0, sag_v_per_kw=1.6)
    roof = Roof(4000.0, 3600.0, 28.0, 190.0)
    return HomeSpec("family-house", tuple(Fitting(x) for x in inside), roof, mains, place)


def workshop(place: Place = LISBON) -> HomeSpec:
    """Return a rural workshop: heat pump on its own clamp, EV charger on another."""
    shared = (
        a.standby(55.0),
        a.filters(90.0),
        a.fridge(100.0),
        a.led_lights(180.0),
        a.television_and_computers(90.0),
        a.kettle(1800.0, 3.0),
        a.workshop_compressor(),
        a.power_tools(),
    )
    fittings = (
        *(Fitting(x) for x in shared),
        Fitting(a.heat_pump(), "load1"),
        Fitting(a.ev_charger(), "load2"),
    )
    mains = Mains(mean_v=231.0, sag_v_per_kw=2.4, drift_v=1.3, flicker_v=0.2)
    return HomeSpec("workshop", fittings, None, mains, place)


def demo_homes(seed: int = 1, place: Place = LISBON) -> list[tuple[int, HomeSpec]]:
    """Return the three homes with a seed of its own for each."""
    specs = (flat(place), family_house(place), workshop(place))
    return [(seed * 10 + number, spec) for number, spec in enumerate(specs)]


def late_morning(at_ms: int, latitude_deg: float = 38.7) -> Place:
    """Return a place where it is between 11 and 12 o'clock: people are up, the sun shines."""
    ahead_h = _ELEVEN - at_ms // _HOUR_MS % 24
    return Place(latitude_deg, 15.0 * ahead_h, float(ahead_h))
