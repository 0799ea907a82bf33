"""The catalogue: what stands in a home, what it draws, and when it runs.

Powers and run times are typical values, chosen, unless a source is named; current
shapes and their sources stand in `simulation.shapes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from simulation import shapes
from simulation.habits import Always, Curve, Cycle, Habit, Heating, Step, Uses, weights
from simulation.shapes import Shape

# How power follows voltage, P ~ V ** exponent (static load models, textbook).
RESISTOR, MOTOR, ELECTRONIC = 2.0, 1.0, 0.0
MEALS = weights(0.1, h07_08=3.0, h12_13=2.0, h18_20=4.0)
AWAKE = weights(h07_22=1.0)
EVENING = weights(h19_23=1.0)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that draws current at level 1.

    `power_w` is active power at nominal voltage. `jitter` is the window-to-window
    relative deviation. `burst_ms` and `duty`: it is fired on for that share of
    every such period (zero-crossing control); 0 = steady.
    """

    power_w: float
    shape: Shape
    exponent: float = RESISTOR
    jitter: float = 0.003
    burst_ms: int = 0
    duty: float = 1.0


@dataclass(frozen=True, slots=True)
class Appliance:
    """Parts and the habit that drives them."""

    name: str
    parts: Sequence[Part]
    habit: Habit


def kettle(power_w: float = 2200.0, per_day: float = 4.0) -> Appliance:
    """Resistive, a few minutes, around meals."""
    script = (Step(0, 0, 170),)
    return Appliance("kettle", (heater(power_w),), Uses(per_day, MEALS, script, (0.4, 1.3)))


def water_heater(power_w: float = 1800.0) -> Appliance:
    """Resistive store on a thermostat, mostly after showers."""
    use = Uses(5.0, weights(0.3, h06_08=4.0, h20_22=3.0), (Step(0, 0, 1200),), (0.4, 1.6))
    return Appliance("water_heater", (heater(power_w),), use)


def fridge(power_w: float = 95.0) -> Appliance:
    """Compressor with a quarter second of locked-rotor current."""
    parts = (
        Part(power_w, shapes.COMPRESSOR, MOTOR, 0.012),
        # Locked rotor draws 5 to 7 times the running current (textbook).
        Part(power_w * 4.0, shapes.STARTING, RESISTOR, 0.05),
    )
    return Appliance("fridge", parts, Cycle(1100.0, 2300.0, start_s=0.25))


def workshop_compressor(power_w: float = 1500.0) -> Appliance:
    """Air compressor: induction motor, hard start, working hours."""
    parts = (
        Part(power_w, shapes.MOTOR, MOTOR, 0.015),
        Part(power_w * 3.5, shapes.STARTING, RESISTOR, 0.05),
    )
    script = (Step(1, 0, 0.4), Step(0, 0.4, 240))
    use = Uses(14.0, weights(h08_11=2.0, h13_17=2.0), script, (0.8, 1.2), weekend=0.2)
    return Appliance("compressor", parts, use)


def power_tools(power_w: float = 900.0) -> Appliance:
    """Universal motors behind triacs, short and often."""
    part = Part(power_w, shapes.UNIVERSAL, MOTOR, 0.08)
    use = Uses(30.0, weights(h08_11=2.0, h13_17=2.0), (Step(0, 0, 90),), (0.2, 2.0), 0.2)
    return Appliance("power_tools", (part,), use)


def vacuum_cleaner(power_w: float = 750.0) -> Appliance:
    """Universal motor, once every other day."""
    part = Part(power_w, shapes.UNIVERSAL, MOTOR, 0.02)
    return Appliance("vacuum", (part,), Uses(0.5, weights(h09_18=1.0), (Step(0, 0, 900),)))


def washing_machine() -> Appliance:
    """Heater first, then a drum that turns and pauses, then spinning."""
    parts = (heater(1900.0), Part(160.0, shapes.MOTOR, MOTOR, 0.08), electronics(6.0))
    script = (
        Step(2, 0, 4500),
        Step(0, 240, 900),
        Step(1, 180, 12, 180, 8),
        Step(1, 3800, 420, level=2.6),
    )
    return Appliance("washing_machine", parts, Uses(0.7, weights(h08_20=1.0), script, weekend=1.5))


def dishwasher() -> Appliance:
    """Two heatings with a pump between."""
    parts = (heater(1850.0), Part(75.0, shapes.MOTOR, MOTOR, 0.03))
    script = (Step(1, 0, 5400), Step(0, 300, 900), Step(0, 4000, 780))
    return Appliance("dishwasher", parts, Uses(0.8, weights(h13_14=1.0, h20_21=3.0), script))


def oven() -> Appliance:
    """Heats up, then a thermostat; a fan and a lamp all along."""
    parts = (heater(2300.0), Part(60.0, shapes.MOTOR, MOTOR, 0.02))
    script = (Step(0, 0, 540), Step(0, 600, 70, 18, 80), Step(1, 0, 3300))
    return Appliance("oven", parts, Uses(0.5, weights(h11_12=1.0, h18_19=3.0), script, weekend=1.6))


def microwave() -> Appliance:
    """Magnetron, switched on and off within half a minute at part power."""
    parts = (Part(1250.0, shapes.MICROWAVE, MOTOR, 0.015),)
    return Appliance("microwave", parts, Uses(2.0, MEALS, (Step(0, 0, 14, 5, 8),)))


def induction_hob() -> Appliance:
    """Full power at first, then fired in bursts within each second.

    Published recordings of an induction hob show PF 0.71 at a THD of 3 %: that is
    a duty of one half, since PF = sqrt(duty) for whole-cycle bursts.
    """
    parts = (
        Part(1800.0, shapes.INDUCTION, ELECTRONIC, 0.008),
        Part(1800.0, shapes.INDUCTION, ELECTRONIC, 0.008, burst_ms=1000, duty=0.5),
    )
    script = (Step(0, 0, 300), Step(1, 300, 560))
    return Appliance("induction_hob", parts, Uses(1.8, MEALS, script))


def hair_dryer() -> Appliance:
    """Half power through a diode, then full."""
    parts = (Part(800.0, shapes.HALF_WAVE), Part(1600.0, shapes.RESISTIVE))
    script = (Step(0, 0, 120), Step(1, 120, 240))
    return Appliance("hair_dryer", parts, Uses(0.6, weights(h07_08=2.0, h21_22=1.0), script))


def led_lights(power_w: float = 70.0) -> Appliance:
    """LED lamps, only while it is dark and somebody is awake."""
    levels = weights(h06_07=0.8, h08_17=0.5, h18_22=1.0, h23_23=0.5)
    part = Part(power_w, shapes.LED_LAMP, ELECTRONIC, 0.01)
    return Appliance("led_lights", (part,), Curve(levels, only_dark=True))


def dimmed_lamp(power_w: float = 60.0) -> Appliance:
    """Filament lamp behind a phase-cut dimmer, in the evening."""
    part = Part(power_w, shapes.DIMMED, 1.6, 0.004)
    return Appliance("dimmed_lamp", (part,), Uses(0.9, EVENING, (Step(0, 0, 7200),)))


def television_and_computers(power_w: float = 160.0) -> Appliance:
    """Rectifiers with capacitors, few by day and many in the evening."""
    levels = weights(h00_06=0.1, h07_16=0.35, h17_18=0.7, h19_22=1.0, h23_23=0.4)
    part = Part(power_w, shapes.SWITCHED, ELECTRONIC, 0.03)
    return Appliance("electronics", (part,), Curve(levels))


def standby(power_w: float = 45.0) -> Appliance:
    """Router, chargers, clocks: always there."""
    return Appliance("standby", (electronics(power_w),), Always())


def filters(leading_var: float = 60.0) -> Appliance:
    """Interference capacitors: vars that lead, a little loss."""
    # tan 80 deg = 5.67: so many var for each watt of the FILTERS shape
    part = Part(leading_var / 5.67, shapes.FILTERS, RESISTOR, 0.0)
    return Appliance("filters", (part,), Always())


def heat_pump(power_w: float = 2600.0) -> Appliance:
    """Variable-speed compressor that follows the weather."""
    part = Part(power_w, shapes.INVERTER_DRIVE, ELECTRONIC, 0.02)
    return Appliance("heat_pump", (part,), Heating())


def ev_charger(power_w: float = 3600.0) -> Appliance:
    """16 A on-board charger that tapers at the end, in the evening."""
    part = Part(power_w, shapes.CHARGER, ELECTRONIC, 0.002)
    script = (Step(0, 0, 6000), *(Step(0, 6000 + 300 * k, 300, level=0.8**k) for k in (1, 2, 3)))
    return Appliance("ev_charger", (part,), Uses(0.6, weights(h18_21=1.0), script, (0.7, 1.3)))


def heater(power_w: float) -> Part:
    """Return a heating element."""
    return Part(power_w, shapes.RESISTIVE)


def electronics(power_w: float) -> Part:
    """Return a small supply without power-factor correction."""
    return Part(power_w, shapes.SWITCHED, ELECTRONIC, 0.02)
