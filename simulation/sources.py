"""What is on the wires: volts and amperes at any instants, for the analog chain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from simulation.mains import Mains
from simulation.noise import Floats
from simulation.shapes import HIGHEST_ORDER, RESISTIVE, Phasors, Shape

_POINTS = 8192  # of a cycle: linear interpolation of the 40th order is then 1.2e-4 of it off
_DRIFT_S = 61.0  # the frequency's swing: slow, and prime to windows of 1 s and 10 s
_SWAY_S = 7.3


class Source(Protocol):
    """What an analog chain samples. Instants are seconds on the source's own axis.

    `volts` and `amps` may be asked for any instants, each array in rising order;
    `nominal_hz` is the mains frequency to which phase errors of sensors refer.
    """

    @property
    def nominal_hz(self) -> float:
        """Return 50 or 60."""

    def volts(self, t_s: Floats) -> Floats:
        """Return the mains voltage, V, at each instant."""

    def amps(self, clamp: int, t_s: Floats) -> Floats:
        """Return the current through one clamp, A, at each instant."""


class Truth(NamedTuple):
    """What an ideal meter reads: V, Hz, A, W, and var of the fundamental (+ inductive)."""

    v: float
    f: float
    i: float
    p: float
    q: float

    @property
    def pf(self) -> float:
        """Return |P| / (V I), 0 without current."""
        return abs(self.p) / (self.v * self.i) if self.i > 0 else 0.0


class Cycle:
    """One period as a table, read at any angle; built from RMS phasors of orders 1 to 40."""

    def __init__(self, phasors: Phasors) -> None:
        spectrum = np.zeros(_POINTS // 2 + 1, dtype=np.complex128)
        # irfft wants cosines: sqrt(2) |c| sin(x + arg c) = Re(-j sqrt(2) c e^{jx}).
        spectrum[1 : HIGHEST_ORDER + 1] = -1j * np.sqrt(2) * phasors * (_POINTS / 2)
        table = np.fft.irfft(spectrum)
        self._table = np.append(table, table[0])
        self._step = np.append(np.diff(self._table), 0.0)

    def at(self, turns: Floats) -> Floats:
        """Return the values at these angles, in turns."""
        place = (turns - np.floor(turns)) * _POINTS
        index = place.astype(np.int32)
        out: Floats = self._table[index] + (place - index) * self._step[index]
        return out


@dataclass(frozen=True, slots=True)
class Load:
    """A load by its active power while it is on; `shape` tells its current.

    `burst` = (on, period) in cycles: fired for `on` of every `period` cycles.
    Negative watts are generation.
    """

    watts: float
    shape: Shape = RESISTIVE
    burst: tuple[int, int] | None = None

    @property
    def duty(self) -> float:
        """Return the share of time it is on."""
        return self.burst[0] / self.burst[1] if self.burst else 1.0


@dataclass(frozen=True, slots=True)
class Wire:
    """The mains: RMS voltage with all harmonics, and frequency, with slow swings.

    `drift_hz` is the amplitude of a swing of the frequency over a minute, `sway` the
    relative amplitude of a swing of the voltage over some seconds (flicker, sags).
    """

    volts_v: float = 230.0
    frequency_hz: float = 50.0
    drift_hz: float = 0.0
    sway: float = 0.0
    mains: Mains = Mains()  # noqa: RUF009 - frozen

    @property
    def nominal_hz(self) -> float:
        """Return which of 50 and 60 Hz this is."""
        return 50.0 if self.frequency_hz < 55.0 else 60.0  # noqa: PLR2004 - the middle

    def turns(self, t_s: Floats) -> Floats:
        """Return the voltage's angle in turns: the integral of the frequency."""
        steady = self.frequency_hz * t_s
        if not self.drift_hz:
            return steady
        rate = 2 * np.pi / _DRIFT_S
        out: Floats = steady + self.drift_hz / rate * (1 - np.cos(rate * t_s))
        return out

    def swing(self, t_s: Floats) -> Floats | float:
        """Return the momentary factor of the voltage."""
        if not self.sway:
            return 1.0
        out: Floats = 1 + self.sway * np.sin(2 * np.pi / _SWAY_S * t_s)
        return out


class SteadySource:
    """Loads that stay as they are, on one wire; `loads[k]` flow through clamp k.

    Currents follow the voltage's swings as a resistance does.
    """

    def __init__(self, wire: Wire, *loads: Sequence[Load]) -> None:
        self.wire = wire
        voltage = wire.mains.phasors()
        self._voltage = voltage * (wire.volts_v / np.linalg.norm(voltage))
        self._cycle = Cycle(self._voltage)
        self._loads = loads
        self._phasors = [[self._current(load) for load in clamp] for clamp in loads]
        self._flows = [self._bundle(k) for k in range(len(loads))]

    @property
    def nominal_hz(self) -> float:
        """See Source."""
        return self.wire.nominal_hz

    def volts(self, t_s: Floats) -> Floats:
        """See Source."""
        return self._cycle.at(self.wire.turns(t_s)) * self.wire.swing(t_s)

    def amps(self, clamp: int, t_s: Floats) -> Floats:
        """See Source; a clamp without loads carries nothing."""
        if clamp >= len(self._flows):
            return np.zeros(len(t_s))
        turns = self.wire.turns(t_s)
        out = np.zeros(len(t_s))
        for burst, cycle in self._flows[clamp]:
            flow = cycle.at(turns)
            if burst is not None:
                on, period = burst
                flow *= np.mod(np.floor(turns), period) < on
            out += flow
        return out * self.wire.swing(t_s)

    def truth(self, clamp: int) -> Truth:
        """Return what an ideal meter reads over whole periods of bursts, swings left out."""
        wire, fundamental = self.wire, abs(self._voltage[0])
        if clamp >= len(self._loads) or not self._loads[clamp]:
            return Truth(wire.volts_v, wire.frequency_hz, 0.0, 0.0, 0.0)
        duty = np.array([load.duty for load in self._loads[clamp]])
        phasors = np.array(self._phasors[clamp])
        mean = duty @ phasors
        # What switches varies around its mean; variances of independent bursts add.
        spread = (duty * (1 - duty)) @ (np.abs(phasors) ** 2).sum(axis=1)
        p = float((mean @ self._voltage.conj()).real)
        q = float(-mean[0].imag * fundamental)
        i = float(np.sqrt((np.abs(mean) ** 2).sum() + spread))
        return Truth(wire.volts_v, wire.frequency_hz, i, p, q)

    def _current(self, load: Load) -> Phasors:
        """Return RMS phasors that make the load's active power at this voltage."""
        shape = load.shape.phasors(self._voltage / self._voltage[0])
        per_unit = float((shape @ self._voltage.conj()).real)
        out: Phasors = shape * (load.watts / per_unit)
        return out

    def _bundle(self, clamp: int) -> list[tuple[tuple[int, int] | None, Cycle]]:
        """Return one cycle for all steady loads of a clamp, and one for each burst."""
        pairs = list(zip(self._loads[clamp], self._phasors[clamp], strict=True))
        steady = [phasors for load, phasors in pairs if load.burst is None]
        flows: list[tuple[tuple[int, int] | None, Cycle]] = [
            (load.burst, Cycle(phasors)) for load, phasors in pairs if load.burst is not None
        ]
        if steady:
            flows.append((None, Cycle(np.sum(steady, axis=0))))
        return flows


class RecordingSource:
    """Recorded whole cycles, played over and over, linearly interpolated.

    `volts` and each of `amps` are samples at `rate_hz`; the record should begin and end
    at the same angle, or its seam is a jump. ValueError when lengths differ.
    """

    def __init__(
        self, volts: Floats, amps: Sequence[Floats], *, rate_hz: float, nominal_hz: float
    ) -> None:
        if any(len(a) != len(volts) for a in amps) or len(volts) == 0:
            msg = "a recording needs as many amperes as volts, and at least one"
            raise ValueError(msg)
        self._nominal_hz = nominal_hz
        self._rate_hz = rate_hz
        self._volts = np.append(volts, volts[0])
        self._amps = [np.append(a, a[0]) for a in amps]

    @property
    def nominal_hz(self) -> float:
        """See Source."""
        return self._nominal_hz

    def volts(self, t_s: Floats) -> Floats:
        """See Source."""
        return self._at(self._volts, t_s)

    def amps(self, clamp: int, t_s: Floats) -> Floats:
        """See Source; a clamp that was not recorded carries nothing."""
        if clamp >= len(self._amps):
            return np.zeros(len(t_s))
        return self._at(self._amps[clamp], t_s)

    def _at(self, samples: Floats, t_s: Floats) -> Floats:
        place = np.mod(t_s * self._rate_hz, len(samples) - 1)
        index = place.astype(np.int64)
        low = samples[index]
        out: Floats = low + (place - index) * (samples[index + 1] - low)
        return out


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong on the wires: an outage, and per clamp a factor of its current.

    A factor of -1 is a reversed clamp, 0 one that is around both wires, and a large
    one drives the clamp's output beyond what the converter can take.
    """

    outage: bool = False
    factors: tuple[float, ...] = ()

    def on(self, clamp: int, factor: float, clamps: int = 6) -> "Faults":
        """Return these faults with another factor on one clamp."""
        factors = [*self.factors, *[1.0] * clamps][: max(clamps, len(self.factors))]
        factors[clamp] = factor
        return replace(self, factors=tuple(factors))


class FaultySource:
    """A source with faults that can be changed at any time."""

    def __init__(self, source: Source, faults: Faults | None = None) -> None:
        self.source = source
        self.faults = faults or Faults()

    @property
    def nominal_hz(self) -> float:
        """See Source."""
        return self.source.nominal_hz

    def volts(self, t_s: Floats) -> Floats:
        """See Source; an outage leaves nothing."""
        return np.zeros(len(t_s)) if self.faults.outage else self.source.volts(t_s)

    def amps(self, clamp: int, t_s: Floats) -> Floats:
        """See Source; an outage leaves nothing."""
        factor = self.faults.factors[clamp] if clamp < len(self.faults.factors) else 1.0
        if self.faults.outage or not factor:
            return np.zeros(len(t_s))
        flow = self.source.amps(clamp, t_s)
        return flow if factor == 1.0 else flow * factor
