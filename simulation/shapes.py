"""Current shapes by harmonics: what each kind of load draws from a sine."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation.noise import Floats

Phasors = NDArray[np.complex128]
_DUST = 1e-6  # what a discrete transform leaves of a zero
HIGHEST_ORDER = 40  # IEC 61000-3-2 and EN 50160 look no further
# Row k of a phasor vector is order k + 1; the angle is that of
# sin(h*w*t + angle) with the fundamental of the voltage at angle 0.


@dataclass(frozen=True, slots=True)
class Shape:
    """A current: displacement of the fundamental, and harmonics relative to it.

    `displacement_deg` > 0 lags (inductive), < 0 leads (capacitive).
    `harmonics` maps an order >= 2 to (ratio to the fundamental, angle in degrees).
    `follows_voltage` marks a linear load, which copies the voltage's harmonics.
    """

    displacement_deg: float = 0.0
    harmonics: Mapping[int, tuple[float, float]] | None = None
    follows_voltage: bool = False

    def phasors(self, voltage: Phasors) -> Phasors:
        """Return RMS phasors per ampere of active fundamental current.

        `voltage` are the voltage's phasors relative to its fundamental.
        """
        angle = np.deg2rad(self.displacement_deg)
        out = np.zeros(HIGHEST_ORDER, dtype=np.complex128)
        if self.follows_voltage:
            out += voltage
        out[0] = np.exp(-1j * angle) / np.cos(angle)
        for order, (ratio, degrees) in (self.harmonics or {}).items():
            out[order - 1] += abs(out[0]) * ratio * np.exp(1j * np.deg2rad(degrees))
        return out


def pulse(ratios: Mapping[int, float], lead_deg: float) -> Shape:
    """Return the pulses a rectifier with a capacitor draws near the voltage's peak.

    A pulse centred `lead_deg` before the peak is a sum of cosines that all peak
    there: order h then has the angle 90 - 90 h + h * lead (textbook Fourier series).
    """
    harmonics = {
        order: (ratio, (90.0 - 90.0 * order + order * lead_deg) % 360.0)
        for order, ratio in ratios.items()
    }
    return Shape(displacement_deg=-lead_deg, harmonics=harmonics)


def of_cycle(current: Floats) -> Shape:
    """Return the shape of one sampled cycle whose voltage is sin; DC is left out.

    DC is left out because no current transformer passes it.
    """
    spectrum = np.fft.rfft(current)[1 : HIGHEST_ORDER + 1]
    turned = spectrum * 1j  # rfft refers to cosines: cos(x) = sin(x + 90 deg)
    first = turned[0]
    harmonics = {
        order: (float(abs(part / first)), float(np.rad2deg(np.angle(part))))
        for order, part in enumerate(turned[1:], start=2)
        if abs(part / first) > _DUST
    }
    return Shape(-float(np.rad2deg(np.angle(first))), harmonics)


_ANGLE = np.arange(8192) * (2 * np.pi / 8192)

RESISTIVE = Shape(follows_voltage=True)

# Phase-cut dimmer at 90 degrees: the sine is blocked for the first half of each
# half cycle (textbook; the fundamental then lags by 32.5 degrees, PF 0.71).
DIMMED = of_cycle(np.where(_ANGLE % np.pi > np.pi / 2, np.sin(_ANGLE), 0.0))

# A diode halves the power of a hair dryer: even harmonics (textbook).
HALF_WAVE = of_cycle(np.where(np.pi > _ANGLE, np.sin(_ANGLE), 0.0))

# Single-phase induction motor, light iron saturation: cos phi 0.6 to 0.85, third
# harmonic under a tenth (typical values, chosen).
COMPRESSOR = Shape(46.0, {3: (0.08, 170.0), 5: (0.03, 20.0), 7: (0.01, 0.0)})
MOTOR = Shape(38.0, {3: (0.10, 160.0), 5: (0.04, 10.0), 7: (0.015, 180.0)})
# Locked rotor: mostly the leakage reactance, cos phi about 0.45 (textbook).
STARTING = Shape(63.0, {3: (0.05, 180.0)})

# Universal motor behind a phase-angle triac (vacuum cleaner, tools): typical, chosen.
UNIVERSAL = Shape(25.0, {3: (0.25, 140.0), 5: (0.09, 60.0), 7: (0.05, 0.0)})

# Lamps up to 25 W: IEC 61000-3-2 class C allows 86 % third and 61 % fifth.
LED_LAMP = pulse({3: 0.80, 5: 0.55, 7: 0.36, 9: 0.24, 11: 0.18, 13: 0.14, 15: 0.10}, 9.0)

# Supplies without power-factor correction, just under IEC 61000-3-2 class D
# (3.4, 1.9, 1.0, 0.5, 0.35 mA/W and 3.85/n: 78, 44, 23, 11.5, 8, 6.8 % at 230 V).
SWITCHED = pulse({3: 0.72, 5: 0.40, 7: 0.20, 9: 0.10, 11: 0.07, 13: 0.05}, 6.0)
# The same with an active front end: a few percent (typical, chosen).
SWITCHED_PFC = Shape(-8.0, {3: (0.07, 180.0), 5: (0.04, 0.0), 7: (0.03, 180.0)})

# Magnetron on a leakage transformer: PF about 0.9, third to a third (typical, chosen).
MICROWAVE = Shape(16.0, {3: (0.28, 200.0), 5: (0.10, 40.0), 7: (0.04, 250.0)})

# Variable-speed compressor with passive choke, within class A absolute limits.
INVERTER_DRIVE = Shape(8.0, {3: (0.18, 190.0), 5: (0.08, 350.0), 7: (0.05, 170.0)})

# On-board EV charger and induction hob: active front end, THD 3 to 5 % (the
# published induction-hob recordings show THD 3 % with PF 0.71 from burst firing).
CHARGER = Shape(-3.0, {3: (0.03, 180.0), 5: (0.02, 10.0), 7: (0.015, 190.0)})
INDUCTION = Shape(-2.0, {3: (0.025, 170.0), 5: (0.015, 20.0)})

# Grid-tied inverter: PF about 1, THD under 5 % as EN 50549 asks (typical, chosen).
PV_INVERTER = Shape(0.0, {3: (0.015, 180.0), 5: (0.012, 0.0), 7: (0.01, 180.0)})

# Interference filter capacitors of everything that is plugged in: nearly pure
# leading current, written as watts of loss in a tiny angle (chosen).
FILTERS = Shape(-80.0)
