"""What a calibration leaves open: a budget after the GUM (JCGM 100:2008), per point and load.

Components are relative standard uncertainties. Limits without a known distribution count as
rectangular (4.3.7), what several points share adds in full, the rest in quadrature (5.1).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibration.apply import residual
from calibration.bend import bend_of
from calibration.fit import LOWEST_A, shapes
from calibration.nominal import A_PER_CODE, FRAMES_PER_WINDOW
from calibration.points import Pair, merged, spread
from calibration.record import CalibrationRecord
from calibration.sums import RawSums

COVERAGE = 2.0  # k: about 95 % of a normal distribution
_RECTANGULAR = 1 / math.sqrt(3)
# What the curves leave at points, between them, and at other levels: an ESP32's converter bends
# by up to 8 mV, a clamp's ratio by some tenths of a percent a decade. Found on ten simulated boards
# (`python -m bench.calibration`): 2 kW, half-way between two points, lies 0.1 % (RMS) off the mean
# of the loads on both sides. Of ten other boards (`--first 100`) it covers 97 % of the loads.
FIT_GAIN, FIT_PHASE_RAD, FIT_VOLTS = 5e-4, 4e-4, 2e-4
FIT_BETWEEN, FIT_BETWEEN_DECADES = 8e-4, 0.15  # of gain, so far from a point and farther
FIT_BELOW = 1e-2  # of gain per decade of current below the lowest load
FIT_BELOW_RAD = 6e-3
_NOISE_CHANGES = 0.03  # of the open clamp's mean square, since the calibration
# Temperature: parts drift by up to 30 ppm/K (clamp), 25 ppm/K (adapter), 0.002 degrees/K each;
# 15 K is the standard deviation of 0 to 50 degrees around a room's.
_WARMER_K = 15.0
TEMPERATURE_I = 30e-6 * _RECTANGULAR * _WARMER_K
TEMPERATURE_V = 25e-6 * _RECTANGULAR * _WARMER_K
TEMPERATURE_RAD = math.radians(0.002) * _RECTANGULAR * _WARMER_K * math.sqrt(2)


@dataclass(frozen=True, slots=True)
class Instrument:
    """The reference: its accuracy class in % of the reading, and its last digits in V, A, W."""

    name: str = ""
    class_pct: float = 1.0
    digit_v: float = 0.0
    digit_p: float = 0.0

    def volts(self, reading_v: float) -> float:
        """Return the relative standard uncertainty of a voltage."""
        return self._of(self.digit_v, reading_v)

    def power(self, reading_w: float) -> float:
        """Return the relative standard uncertainty of a power."""
        return self._of(self.digit_p, reading_w)

    def _of(self, digit: float, reading: float) -> float:
        # A digit stands for half of itself up and down.
        rounding = digit / 2 / reading if reading else 0.0
        return math.hypot(self.class_pct / 100, rounding) * _RECTANGULAR


@dataclass(frozen=True, slots=True)
class PointBudget:
    """One point: relative standard uncertainties of the power, by where they come from."""

    channel: str
    i: float
    reference: float
    noise: float
    fit: float
    temperature: float
    phase_rad: float
    residual: float  # of the fitted curve at this point

    @property
    def expanded(self) -> float:
        """Return the relative expanded uncertainty (k = 2) of the power at this point."""
        return COVERAGE * math.sqrt(
            self.reference**2 + self.noise**2 + self.fit**2 + self.temperature**2
        )


@dataclass(frozen=True, slots=True)
class Expanded:
    """Expanded uncertainties (k = 2) of V, I and P of a load, relative."""

    v: float
    i: float
    p: float


@dataclass(frozen=True, slots=True)
class Budget:
    """All points' budgets, and from them the uncertainty of any load.

    `volts` is the standard uncertainty of the voltage at the level of calibration `at_v`,
    `slope` that of its change with the level; `idle_a` each channel's noise in A RMS.
    """

    points: Sequence[PointBudget]
    volts: float
    slope: float
    at_v: float
    idle_a: Mapping[str, float]

    def of_load(
        self, channel: str, *, v: float, i: float, factor: float = 1.0, seconds: float = 10.0
    ) -> Expanded:
        """Return the uncertainty of a load's mean over some seconds, at a power factor.

        KeyError for a channel that the meter does not have.
        """
        own = [point for point in self.points if point.channel == channel]
        gain, phase = _between(own, i)
        # Noise of the current that is in the window itself: P averages it, I² too.
        windows = math.sqrt(seconds * FRAMES_PER_WINDOW)
        noise = self.idle_a[channel] / i / windows
        volts = self._volts(v)
        tangent = math.sqrt(max(1 - factor**2, 0.0)) / max(factor, 1e-3)
        bend = self.slope * (v / self.at_v - 1)  # P's gain holds at the calibration's level
        turned = phase * tangent
        power = math.sqrt(gain**2 + bend**2 + turned**2 + (noise / max(factor, 1e-3)) ** 2)
        # I's gain was made as P's over V's, so V's own error is in it once more; but what the
        # adapter does when it warms up afterwards is in P and V only.
        parts = gain**2 + volts**2 - 2 * TEMPERATURE_V**2
        current = math.sqrt(parts + noise**2 + self._quiet(channel, i) ** 2)
        return Expanded(COVERAGE * volts, COVERAGE * current, COVERAGE * power)

    def _volts(self, v: float) -> float:
        away = self.slope * (v / self.at_v - 1)
        return math.sqrt(self.volts**2 + away**2)

    def _quiet(self, channel: str, i: float) -> float:
        """Return what a noise floor that has changed a little does to a small current."""
        share = (self.idle_a[channel] / i) ** 2 * _NOISE_CHANGES
        return share * 0.5 * _RECTANGULAR


def _between(own: Sequence[PointBudget], i: float) -> tuple[float, float]:
    """Return the gain's and the phase's standard uncertainty at a current."""
    at = sorted(own, key=lambda point: point.i)
    nearest = min(at, key=lambda point: abs(math.log(point.i / i)))
    gain, phase = nearest.expanded / COVERAGE, nearest.phase_rad
    away = min(abs(math.log10(nearest.i / i)) / FIT_BETWEEN_DECADES, 1.0)
    gain = math.hypot(gain, FIT_BETWEEN * away)
    if i >= at[0].i:
        return gain, phase
    decades = math.log10(at[0].i / max(i, LOWEST_A / 10))
    return math.hypot(gain, FIT_BELOW * decades), math.hypot(phase, FIT_BELOW_RAD * decades)


def budget(
    no_load: RawSums,
    loads: Sequence[tuple[str, Sequence[Pair]]],
    record: CalibrationRecord,
    instrument: Instrument,
) -> Budget:
    """Return the budget of a record that was fitted on these loads (channel, stretches)."""
    points, volts, levels, wholes = [], [], [], []
    for channel, pairs in loads:
        whole, scatter = merged(channel, pairs), spread(channel, pairs)
        reference = whole.reference
        points.append(
            PointBudget(
                channel=channel,
                i=reference.i,
                reference=instrument.power(reference.p),
                noise=scatter.gain,
                fit=FIT_GAIN,
                temperature=math.hypot(TEMPERATURE_I, TEMPERATURE_V),
                phase_rad=math.sqrt(scatter.phase_rad**2 + FIT_PHASE_RAD**2 + TEMPERATURE_RAD**2),
                residual=residual(record, channel, whole.sums, reference.p),
            )
        )
        volts.append((reference.v, scatter.volts))
        levels.append(reference.v)
        wholes.append(whole)
    return Budget(
        points=points,
        volts=_voltage(volts, instrument),
        slope=slope_left(
            levels, [error for _, error in volts], bend_of(shapes(no_load, wholes)).doubt
        ),
        at_v=sum(levels) / len(levels),
        idle_a={name: row.rms * A_PER_CODE for name, row in no_load.channels.items()},
    )


def _voltage(volts: Sequence[tuple[float, float]], instrument: Instrument) -> float:
    n = len(volts)
    mean_v = sum(v for v, _ in volts) / n
    noise = math.sqrt(sum(error**2 for _, error in volts)) / n
    parts = (instrument.volts(mean_v), noise, FIT_VOLTS, TEMPERATURE_V)
    return math.sqrt(sum(part**2 for part in parts))


def slope_left(levels_v: Sequence[float], errors: Sequence[float], doubt: float) -> float:
    """Return the standard uncertainty of the voltage gain's slope after the fit.

    The fit weighs what the levels show against what else is known of the bend, with that
    `doubt`; this is what such an estimate leaves (the posterior of a normal prior).
    """
    n = len(levels_v)
    mean = sum(levels_v) / n
    seen = sum((v / mean - 1) ** 2 for v in levels_v)
    repeats = repeatability(errors)
    return 1 / math.sqrt(seen / repeats**2 + 1 / doubt**2)


def repeatability(errors: Sequence[float]) -> float:
    """Return how well the reference repeats a voltage: of the points' errors the mean square."""
    least = 1e-4  # between points, digits and drift
    mean = sum(error**2 for error in errors) / len(errors)
    return math.sqrt(mean + least**2)
