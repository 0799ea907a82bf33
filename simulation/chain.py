"""The analog chain of one simulated meter: from the wires to the converter's codes.

Phase leads of the sensors are applied as shifts in time, by evaluating the source at
the shifted instants: nothing is filtered, so nothing rings or smears. The shift is the
lead of the fundamental divided by the nominal angular frequency, and is the same for
all harmonics.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.analog import REFERENCE_C, Converter, CurrentClamp, VoltageAdapter
from simulation.noise import Floats
from simulation.sources import Source

TICKS = 1 << 30  # µs; the board's counter starts again there
FRAME_US, READ_US = 250, 35
_BIAS_V = 1.65
_BIAS_DRIFT_V = 0.006
_JITTER_US = 4.0  # a frame starts that late at most, unless something holds it up
_READ_JITTER_US = 1.5
_LATE_SHARE = 0.0002  # of frames: Wi-Fi's interrupts and the flash's cache
_LATE_US = 400.0
_DAY_S = 86_400.0
_THIN = 4  # every fourth instant is enough to know a burst's RMS

Codes = NDArray[np.uint16]
Ticks = NDArray[np.uint32]


class Chain:
    """One board's analog parts, the same for the same seed; noise depends on the calls.

    `linear`: the board's own idea of its codes, see Converter. `temperature_c` may be
    set; it swings by 2 K over a day. `frozen` repeats the last codes for ever, and the
    inputs of clamps in `open_clamps` are left at the bias with hum on them.
    `between_us` is the true time between two reads, of which `read_us` is the nominal.
    `quiet` leaves out what keeps two boards of the same parts from being alike in time:
    noise, spikes, jitter, late frames and drift.
    """

    def __init__(
        self,
        seed: int,
        clamps: int = 1,
        *,
        frame_us: int = FRAME_US,
        read_us: int = READ_US,
        quiet: bool = False,
    ) -> None:
        random = np.random.default_rng([seed, clamps, 0])
        self.clamps = clamps
        self.frame_us = frame_us
        self.read_us = read_us
        self.quiet = quiet
        self.adapter = VoltageAdapter.draw(random)
        self.sensors = [CurrentClamp.draw(random) for _ in range(clamps)]
        self.converter = Converter(random)
        self.temperature_c = float(random.uniform(0.0, 50.0))
        self.frozen = False
        self.open_clamps: set[int] = set()
        # The true time between two reads: 35 µs ± 15 % on boards, so 60 to 80 µs for a pair.
        self.between_us = read_us * random.uniform(0.85, 1.15)
        self._bias_v = _BIAS_V + random.uniform(-0.01, 0.01, clamps + 1)
        self._bias_rate = 2 * np.pi / random.uniform(300.0, 3000.0, (clamps + 1, 2))
        self._bias_angle = random.uniform(0, 2 * np.pi, (clamps + 1, 2))
        self._noise = np.random.default_rng([seed, clamps, 1])
        self._last: Codes | None = None
        if quiet:
            self.converter.noise_v = self.converter.spike_share = 0.0

    @classmethod
    def typical(cls, seed: int, clamps: int = 1) -> "Chain":
        """Return a board with sensors just as published: it reads well uncalibrated.

        Its converter, noise and timing are those of the seed.
        """
        chain = cls(seed, clamps)
        chain.adapter = VoltageAdapter.typical()
        chain.sensors = [CurrentClamp.typical() for _ in range(clamps)]
        return chain

    @property
    def linear(self) -> NDArray[np.uint16]:
        """Return 4096 values: what a code is believed to be, in 1/16 code of 3.1 V."""
        return self.converter.linear

    def codes(self, source: Source, start_s: float, frames: int) -> tuple[Ticks, Codes]:
        """Return each frame's tick, and (frames, 1 + clamps) codes in reading order.

        Ticks are µs since the source's zero, modulo 2**30, never before the frame is
        due, and the first is exactly due. Codes are as read_u16 gives them. Noise goes
        on from call to call; all else depends on the instant only.
        """
        late_us = self._lateness(frames)
        due_us = round(start_s * 1e6) + np.arange(frames, dtype=np.int64) * self.frame_us
        ticks = ((due_us + late_us.astype(np.int64)) % TICKS).astype(np.uint32)
        read_s = (due_us + late_us) * 1e-6
        volts = np.empty((frames, 1 + self.clamps))
        for place in range(1 + self.clamps):
            instants = read_s + place * self.between_us * 1e-6
            if not self.quiet:
                instants = instants + self._noise.normal(0, _READ_JITTER_US * 1e-6, frames)
            volts[:, place] = self._input(source, place, instants)
            volts[:, place] += self._bias(place, instants)
        codes = self.converter.convert(volts, self._noise)
        if self.frozen:
            return ticks, np.broadcast_to(self._still(codes), codes.shape).copy()
        self._last = codes[-1]
        return ticks, codes

    def _still(self, codes: Codes) -> Codes:
        if self._last is None:
            self._last = codes[-1]
        return self._last

    def _input(self, source: Source, place: int, instants: Floats) -> Floats:
        """Return what a sensor gives around its bias."""
        warmer_k = self._warmer_k(float(instants[0]))
        per_rad = 1 / (2 * np.pi * source.nominal_hz)
        if place == 0:
            shift = self.adapter.lead(warmer_k) * per_rad
            return source.volts(instants + shift) * self.adapter.factor(warmer_k)
        clamp = place - 1
        if clamp in self.open_clamps:
            # The capacitor at the bias keeps an open input still; a little hum couples in.
            return source.volts(instants) * 2e-6
        sensor = self.sensors[clamp]
        thin = source.amps(clamp, instants[::_THIN])
        rms_a = float(np.sqrt(np.mean(thin * thin)))
        shift = sensor.lead(rms_a, warmer_k) * per_rad
        return source.amps(clamp, instants + shift) * sensor.factor(rms_a, warmer_k)

    def _warmer_k(self, at_s: float) -> float:
        swing = 0.0 if self.quiet else 2.0 * np.sin(2 * np.pi * at_s / _DAY_S)
        return float(self.temperature_c + swing - REFERENCE_C)

    def _bias(self, place: int, instants: Floats) -> Floats | float:
        """Return the bias: slow enough to be taken at both ends of a burst."""
        if self.quiet:
            return float(self._bias_v[place])
        ends = instants[[0, -1]]
        angles = np.outer(ends, self._bias_rate[place]) + self._bias_angle[place]
        first, last = self._bias_v[place] + _BIAS_DRIFT_V / 2 * np.sin(angles).sum(axis=1)
        return np.linspace(first, last, len(instants))

    def _lateness(self, frames: int) -> Floats:
        """Return how late each frame starts, µs; one held up pushes those after it."""
        if self.quiet:
            return np.zeros(frames)
        late = self._noise.random(frames) * _JITTER_US
        held = np.flatnonzero(self._noise.random(frames) < _LATE_SHARE)
        late[held] += self._noise.exponential(_LATE_US, len(held))
        late[0] = 0.0
        if not len(held):
            return late
        busy_us = (1 + self.clamps) * self.between_us
        spare = np.arange(frames) * (self.frame_us - busy_us)
        out: Floats = np.maximum.accumulate(late + spare) - spare
        return np.maximum(out, late)
