"""Sampled waveforms that agree with the window values of the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulation.block import Block, Plant
from simulation.noise import Floats, Ints
from simulation.shapes import HIGHEST_ORDER, Phasors

LEAST_RATE_HZ = 100.0
_OUTAGE_HZ = 50.0  # the time base while there is no mains


@dataclass(frozen=True, slots=True)
class Waveform:
    """Seconds since the first sample, volts, and amperes per channel."""

    t_s: Floats
    v: Floats
    i: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Flows:
    """What one window's waveforms are made of: RMS phasors of orders 1 to 40.

    `currents[channel][piece]` flow until `until_ms[piece]` after the window's start;
    `limits` are the peaks, A, at which clamps clip, and `hz` is 0 in an outage.
    """

    hz: float
    voltage: Phasors
    until_ms: Floats
    currents: Sequence[Sequence[Phasors]]
    limits: Sequence[float]


def flows(plant: Plant, block: Block, start_ms: int, grid_ms: int) -> Flows:
    """Return what flows in the window from `start_ms`, which the block must hold.

    Levels are looked up every `grid_ms`; a piece is as long as none of them changes.
    """
    window = int((start_ms - block.start_ms[0]) // plant.dt_ms)
    at = start_ms + np.arange(0, plant.dt_ms, grid_ms, dtype=np.float64)
    where = np.full(len(at), window)
    flow = _levels_at(plant, [block], where, at) * block.amperes[:, window, None]
    changed = np.flatnonzero(np.any(np.diff(flow, axis=1) != 0, axis=0)) + 1
    pieces = flow[:, [0, *changed.tolist()]]
    clamps = [block.clamp[channel] for channel in plant.spec.channels]
    currents = [
        list((pieces.T * plant.circuit.signs(name)) @ plant.circuit.currents * clamp.gain[window])
        for name, clamp in zip(plant.spec.channels, clamps, strict=True)
    ]
    return Flows(
        hz=float(block.f[window]),
        voltage=plant.circuit.voltage * (block.volts[window] * block.volt_gain[window]),
        until_ms=np.append(changed * float(grid_ms), plant.dt_ms),
        currents=currents,
        limits=[float(clamp.limit_a[window]) for clamp in clamps],
    )


def sample(
    plant: Plant, blocks: Sequence[Block], at_ms: int, cycles: int, rate_hz: float
) -> Waveform:
    """Sample whole cycles from `at_ms` on; the blocks must cover them."""
    window, phase = _time_base(plant, blocks, at_ms, cycles, rate_hz)
    t_s = np.arange(len(phase)) / rate_hz
    at = at_ms + t_s * 1000
    orders = np.arange(1, HIGHEST_ORDER + 1)
    turning = np.sqrt(2) * np.exp(1j * phase[:, None] * orders)
    volts = _joined(blocks, "volts")[window]
    v = volts * (turning @ plant.circuit.voltage).imag * _joined(blocks, "volt_gain")[window]
    flow = _levels_at(plant, blocks, window, at) * np.hstack([b.amperes for b in blocks])[:, window]
    # Levels are constant for long: one matrix product per stretch, not per sample.
    changed = np.flatnonzero(np.any(np.diff(flow, axis=1) != 0, axis=0)) + 1
    bounds = [0, *changed.tolist(), len(phase)]
    currents: dict[str, Floats] = {}
    for channel in plant.spec.channels:
        signed = flow * plant.circuit.signs(channel)[:, None]
        out = np.empty(len(phase))
        for low, high in pairwise(bounds):
            phasors = signed[:, low] @ plant.circuit.currents
            out[low:high] = (turning[low:high] @ phasors).imag
        gain = np.concatenate([b.clamp[channel].gain for b in blocks])[window]
        limit = np.concatenate([b.clamp[channel].limit_a for b in blocks])[window]
        currents[channel] = np.clip(out * gain, -limit, limit)
    return Waveform(t_s, v, currents)


def _time_base(
    plant: Plant, blocks: Sequence[Block], at_ms: int, cycles: int, rate_hz: float
) -> tuple[Ints, Floats]:
    """Return each sample's window and the angle of the voltage, up to whole cycles."""
    frequency = _joined(blocks, "f")
    # 40 Hz is below any mains frequency here, so this is surely enough samples.
    many = int(np.ceil(cycles * rate_hz / 40)) + 1
    at = at_ms + np.arange(many) * (1000 / rate_hz)
    window = ((at - blocks[0].start_ms[0]) // plant.dt_ms).astype(np.int64)
    turns = np.where(frequency > 0, frequency, _OUTAGE_HZ)[window] / rate_hz
    angle = np.concatenate(([0.0], np.cumsum(turns[:-1])))
    # Rounded so that 10 cycles of 160 samples are 1600 and never 1601.
    inside = np.round(angle, 9) < cycles
    return window[inside], 2 * np.pi * angle[inside]


def _joined(blocks: Sequence[Block], field: str) -> Floats:
    return np.concatenate([getattr(block, field) for block in blocks])


def _levels_at(plant: Plant, blocks: Sequence[Block], window: Ints, at: Floats) -> Floats:
    """Return each part's level at each sample, bursts included."""
    means = np.hstack([block.levels for block in blocks])
    starts = np.concatenate([block.start_ms for block in blocks])[window]
    runs = plant.runs(int(at[0]), int(at[-1]) + 1)
    out = np.empty((len(plant.rows), len(at)))
    for number, row in enumerate(plant.rows):
        if row.appliance < 0:
            out[number] = means[number, window]
            continue
        level = runs[row.appliance][row.piece].at(at)
        level = np.where(plant.fridge_runs(row, starts), 1.0, level)
        if row.part.burst_ms:
            level = level * (at % row.part.burst_ms < row.part.duty * row.part.burst_ms)
        out[number] = level
    return out
