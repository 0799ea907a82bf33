"""The parts between the wires and the converter's codes, each board's drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation.noise import Floats

CODES = 4096  # 12 bit
SCALE_V = 3.1  # what 65536 sixteenths of a code stand for in the linear table
DEAD_BELOW_V, DEAD_ABOVE_V = 0.12, 3.0  # ESP32 ADC1 at 11 dB
REFERENCE_C = 25.0  # curves hold at this temperature
CT_V_PER_A = 1.0 / 30.0  # SCT-013-030: 1 V at 30 A
ADAPTER_V_PER_V = 0.75 / 230.0  # ZMPT101B, trimmed to 0.75 V RMS at 230 V

# Phase lead in degrees and ratio error of an SCT-013-030, by current in A. Measured by
# the field (published for emonTx and IoTaWatt); every board here differs from them.
_TABLE_A = np.array([0.01, 0.1, 1.0, 10.0, 25.0])
_TABLE_LEAD_DEG = np.array([3.6, 3.0, 2.2, 1.4, 1.2])
_TABLE_RATIO = np.array([-0.020, -0.012, -0.006, -0.002, 0.0])
_ADAPTER_LEAD_DEG = 2.0
_SPREAD_MEAN, _SPREAD_SLOPE = 0.21, 0.09  # together the 30 % by which boards differ
_INL_V = 0.008
_LEAST_A = 1e-4


@dataclass(frozen=True, slots=True)
class CurrentClamp:
    """A current transformer: its own curves over the logarithm of the RMS current."""

    log_a: Floats
    lead_rad: Floats
    ratio: Floats
    gain: float
    gain_per_k: float
    lead_per_k: float

    @classmethod
    def draw(cls, random: np.random.Generator) -> "CurrentClamp":
        """Draw a clamp whose knots stand elsewhere than those of the published table."""
        knots = np.linspace(np.log(0.006), np.log(40.0), 9)
        knots += random.uniform(-0.3, 0.3, len(knots))
        return cls(
            log_a=knots,
            lead_rad=np.deg2rad(_spread(random, knots, _TABLE_LEAD_DEG)),
            ratio=_spread(random, knots, _TABLE_RATIO),
            gain=CT_V_PER_A * (1 + random.uniform(-0.01, 0.01)),
            gain_per_k=random.uniform(-30e-6, 30e-6),
            lead_per_k=float(np.deg2rad(random.uniform(-0.002, 0.002))),
        )

    @classmethod
    def typical(cls) -> "CurrentClamp":
        """Return a clamp that is just as the published table has it."""
        lead_rad = np.deg2rad(_TABLE_LEAD_DEG)
        return cls(np.log(_TABLE_A), lead_rad, _TABLE_RATIO, CT_V_PER_A, 0.0, 0.0)

    def factor(self, rms_a: float, warmer_k: float) -> float:
        """Return volts per ampere at this current."""
        ratio = float(np.interp(np.log(max(rms_a, _LEAST_A)), self.log_a, self.ratio))
        return self.gain * (1 + ratio) * (1 + self.gain_per_k * warmer_k)

    def lead(self, rms_a: float, warmer_k: float) -> float:
        """Return by how many radians of the fundamental the output leads at this current."""
        lead = float(np.interp(np.log(max(rms_a, _LEAST_A)), self.log_a, self.lead_rad))
        return lead + self.lead_per_k * warmer_k


@dataclass(frozen=True, slots=True)
class VoltageAdapter:
    """A ZMPT101B module: one ratio, one phase lead."""

    gain: float
    lead_rad: float
    gain_per_k: float
    lead_per_k: float

    @classmethod
    def draw(cls, random: np.random.Generator) -> "VoltageAdapter":
        """Draw an adapter trimmed by hand to about 0.75 V."""
        return cls(
            gain=ADAPTER_V_PER_V * (1 + random.uniform(-0.03, 0.03)),
            lead_rad=float(np.deg2rad(_ADAPTER_LEAD_DEG * random.uniform(0.7, 1.3))),
            gain_per_k=random.uniform(-25e-6, 25e-6),
            lead_per_k=float(np.deg2rad(random.uniform(-0.002, 0.002))),
        )

    @classmethod
    def typical(cls) -> "VoltageAdapter":
        """Return an adapter that is just as the design page has it."""
        return cls(ADAPTER_V_PER_V, float(np.deg2rad(_ADAPTER_LEAD_DEG)), 0.0, 0.0)

    def factor(self, warmer_k: float) -> float:
        """Return volts at the converter per volt of mains."""
        return self.gain * (1 + self.gain_per_k * warmer_k)

    def lead(self, warmer_k: float) -> float:
        """Return by how many radians of the fundamental the output leads."""
        return self.lead_rad + self.lead_per_k * warmer_k


class Converter:
    """An ESP32 ADC1 channel set at 11 dB: bent scale, dead zones, noise, spikes.

    `linear[code]` is what the chip's eFuse calibration believes a code to be, in
    sixteenths of a code of a straight 3.1 V scale. It is wrong by this chip's own
    smooth integral non-linearity of up to 8 mV, which nothing tells the firmware.
    """

    def __init__(self, random: np.random.Generator) -> None:
        low = DEAD_BELOW_V + random.uniform(-0.02, 0.0)
        high = DEAD_ABOVE_V + random.uniform(0.0, 0.03)
        bend = random.uniform(0.1, 0.3)  # fewer volts per code low, more near the top
        x = np.linspace(0.0, 1.0, 4001)
        self._volts: Floats = low + (high - low) * x
        self._codes: Floats = (CODES - 1) * (x + bend * x * x * (1 - x))
        true_v = np.interp(np.arange(CODES), self._codes, self._volts)
        believed = true_v + _wander(random, true_v / SCALE_V)
        rounded = np.rint(believed / SCALE_V * (16 * CODES))
        self.linear: NDArray[np.uint16] = np.clip(rounded, 0, 16 * CODES - 1).astype(np.uint16)
        self.noise_v = 0.0025 * random.uniform(0.9, 1.1)
        self.spike_share = 0.0005
        self.spike_v = 0.05

    def convert(self, volts: Floats, random: np.random.Generator) -> NDArray[np.uint16]:
        """Return what read_u16 gives for these inputs: 12-bit codes in the upper bits."""
        size = volts.shape
        seen = volts + self.noise_v * random.standard_normal(size, dtype=np.float32)
        spikes = np.flatnonzero(random.random(size, dtype=np.float32) < self.spike_share)
        if len(spikes):
            signs = random.choice((-1.0, 1.0), len(spikes))
            seen.reshape(-1)[spikes] += signs * self.spike_v * random.uniform(0.4, 1.6, len(spikes))
        place = (seen - self._volts[0]) * ((len(self._volts) - 1) / np.ptp(self._volts))
        np.clip(place, 0, len(self._volts) - 1.001, out=place)
        index = place.astype(np.int32)
        low = self._codes[index]
        code = low + (place - index) * (self._codes[index + 1] - low) + 0.5
        out: NDArray[np.uint16] = code.astype(np.uint16)
        np.minimum(out, CODES - 1, out=out)
        # MicroPython fills the lower bits by repeating the upper ones.
        return np.asarray((out << 4) | (out >> 8), dtype=np.uint16)


def _spread(random: np.random.Generator, log_a: Floats, table: Floats) -> Floats:
    """Return a table at other currents, a smooth 30 % away from the published one."""
    base = np.interp(log_a, np.log(_TABLE_A), table)
    mean = random.uniform(-_SPREAD_MEAN, _SPREAD_MEAN)
    wave = np.sin(log_a / random.uniform(1.5, 3.0) + random.uniform(0, 2 * np.pi))
    out: Floats = base * (1 + mean + _SPREAD_SLOPE * wave)
    return out


def _wander(random: np.random.Generator, x: Floats) -> Floats:
    """Return a smooth random curve over 0 to 1 with a peak of 5 to 8 mV."""
    curve = np.zeros_like(x)
    for turns in (random.uniform(0.5, 1.0), random.uniform(1.0, 1.8), random.uniform(1.8, 2.6)):
        curve += random.normal() / turns * np.sin(2 * np.pi * (turns * x + random.random()))
    curve -= curve.mean()
    out: Floats = curve * (_INL_V * random.uniform(0.6, 1.0) / np.abs(curve).max())
    return out
