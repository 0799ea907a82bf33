"""What the sensors make of the truth: gains, wrong sides, drift, clipping."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.circuit import Drawn
from simulation.faults import Fault, FaultKind
from simulation.noise import Floats, Ints


@dataclass(frozen=True, slots=True)
class Clamp:
    """One channel's gain (negative when reversed) and peak limit in A, per window."""

    gain: Floats
    limit_a: Floats

    def see(self, truth: Drawn, volt_gain: Floats) -> Drawn:
        """Return what an exact meter behind this clamp measures.

        A clipped current is taken as a sine, whose RMS and fundamental are known.
        """
        amperes = np.abs(self.gain) * truth.i
        rms, first = _clipped(amperes * np.sqrt(2), self.limit_a)
        power = self.gain * volt_gain * first
        return Drawn(amperes * rms, truth.p * power, truth.q * power)


def clamp(faults: Sequence[Fault], channel: str, start_ms: Ints) -> Clamp:
    """Return a channel's clamp in windows that start at these times."""
    gain = np.ones(len(start_ms))
    limit = np.full(len(start_ms), np.inf)
    for fault in faults:
        if fault.channel != channel:
            continue
        mask = active(fault, start_ms)
        if fault.kind is FaultKind.REVERSED_CLAMP:
            gain[mask] *= -1
        elif fault.kind is FaultKind.BYPASS:
            gain[mask] *= fault.size
        elif fault.kind is FaultKind.CLAMP_DRIFT:
            share = (start_ms[mask] - fault.start_ms) / fault.duration_ms
            gain[mask] *= 1 + fault.size * share
        elif fault.kind is FaultKind.CLIPPED_SENSOR:
            limit[mask] = np.minimum(limit[mask], fault.size)
    return Clamp(gain, limit)


def active(fault: Fault, start_ms: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which windows, by their start, the fault is in."""
    return (start_ms >= fault.start_ms) & (start_ms < fault.end_ms)


def _clipped(peak: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Return the factors of RMS and fundamental of a sine cut at a limit.

    Integrals of the sine up to the angle where it meets the limit, and of the
    flat top beyond (textbook).
    """
    ratio = np.minimum(limit / np.maximum(peak, 1e-12), 1.0)
    angle = np.arcsin(ratio)
    half = angle / 2 - np.sin(2 * angle) / 4
    square = (2 / np.pi) * (half + ratio**2 * (np.pi / 2 - angle))
    first = (4 / np.pi) * (half + ratio * np.cos(angle))
    return np.sqrt(2 * square), first
