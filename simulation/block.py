"""Blocks of windows: the whole electrical computation, always cut at the same places.

Every result comes from a block that starts at a multiple of its length, so that how
windows are asked for cannot change the last bit of a float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulation import clamps, mains, noise, shapes, solar
from simulation.appliances import ELECTRONIC, Part
from simulation.circuit import Circuit, Drawn
from simulation.clamps import Clamp
from simulation.faults import CLAMP_KINDS, LOAD_KINDS, Fault, FaultKind
from simulation.noise import Floats, Ints
from simulation.schedule import Runs, Schedule
from simulation.shapes import Shape
from simulation.spec import SOLAR, HomeSpec

BLOCK = 4096  # windows; fits the cache of a small processor
_JITTER = 55
_HOUR_MS = 3_600_000
_DAY_H = 24
_REACTOR = Shape(89.0)  # tan 89 deg var for each watt of loss
# EN 50549: an inverter leaves the grid outside about 0.8 to 1.15 of nominal.
_PV_STAYS = (0.80, 1.15)


@dataclass(frozen=True, slots=True)
class Block:
    """Windows of one block: what is seen, and what a waveform needs to match it."""

    start_ms: Ints
    v: Floats
    f: Floats
    seen: Mapping[str, Drawn]
    energy_uj: Sequence[Ints]  # per channel, signed: whole mW times ms
    clip: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    volts: Floats  # of the fundamental, before the sensor
    volt_gain: Floats
    amperes: Floats  # (parts, windows) per unit of level
    levels: Floats  # (parts, windows), means
    clamp: Mapping[str, Clamp]


class Row(NamedTuple):
    """A part and its channel; `appliance` and `piece` find its runs, -1 = none."""

    part: Part
    channel: str | None
    appliance: int = -1
    piece: int = -1
    fault: Fault | None = None


class Plant:
    """A home's parts and faults, able to compute any block."""

    def __init__(self, seed: int, spec: HomeSpec, dt_ms: int, faults: Sequence[Fault]) -> None:
        self.spec = spec
        self.dt_ms = dt_ms
        self.rows = _rows(spec, faults)
        self.circuit = Circuit(
            spec.mains, [row.part for row in self.rows], [row.channel for row in self.rows]
        )
        self._seed = seed
        self._faults = faults
        appliances = [fitting.appliance for fitting in spec.fittings]
        self._schedule = Schedule(seed, appliances, spec.place)
        _check(spec, faults)

    def runs(self, start_ms: int, end_ms: int) -> list[list[Runs]]:
        """Return the runs of each appliance's parts that touch a span of time."""
        return self._schedule.runs(start_ms, end_ms)

    def fridge_runs(self, row: Row, start_ms: Ints) -> NDArray[np.bool_]:
        """Return in which windows a fault keeps this part running."""
        forced = np.zeros(len(start_ms), dtype=np.bool_)
        if row.piece == 0 and self.spec.fittings[row.appliance].appliance.name == "fridge":
            for fault in self._of(FaultKind.FRIDGE_RUNNING):
                forced |= clamps.active(fault, start_ms)
        return forced

    def block(self, index: int) -> Block:
        """Return the block of windows that starts at `index * BLOCK * dt_ms`."""
        start = (index * BLOCK + np.arange(BLOCK, dtype=np.int64)) * self.dt_ms
        source, frequency = self._supply(start)
        mean, square = self._levels(start, source)
        jitter = np.array([row.part.jitter for row in self.rows])[:, None]
        shape = (len(self.rows), BLOCK)
        random = noise.stream(self._seed, _JITTER, index).standard_normal(shape)
        wobble = np.maximum(1 + jitter * random, 0.0)
        volts, amperes = self.circuit.settle(source, mean, wobble)
        volt_gain = self._volt_gain(start)
        clamp = {c: clamps.clamp(self._faults, c, start) for c in self.spec.channels}
        seen = {
            channel: clamp[channel].see(
                self.circuit.draw(channel, volts, amperes, mean, square), volt_gain
            )
            for channel in self.spec.channels
        }
        energy = [np.rint(s.p * 1000).astype(np.int64) * self.dt_ms for s in seen.values()]
        return Block(
            start_ms=start,
            v=volts * volt_gain * np.sqrt(1 + self.circuit.thd**2),
            f=frequency,
            seen=seen,
            energy_uj=energy,
            clip=np.any([c.limit_a < np.inf for c in clamp.values()], axis=0),
            silent=self._any(FaultKind.METER_SILENT, start),
            volts=volts,
            volt_gain=volt_gain,
            amperes=amperes,
            levels=mean,
            clamp=clamp,
        )

    def _of(self, kind: FaultKind) -> list[Fault]:
        return [fault for fault in self._faults if fault.kind is kind]

    def _any(self, kind: FaultKind, start_ms: Ints) -> NDArray[np.bool_]:
        out = np.zeros(len(start_ms), dtype=np.bool_)
        for fault in self._of(kind):
            out |= clamps.active(fault, start_ms)
        return out

    def _supply(self, start_ms: Ints) -> tuple[Floats, Floats]:
        """Return source voltage and frequency with their faults."""
        spec = self.spec.mains
        local_h = (start_ms / _HOUR_MS + self.spec.place.utc_offset_h) % _DAY_H
        volts = mains.source_v(self._seed, spec, start_ms, local_h)
        frequency = mains.frequency_hz(self._seed, spec, start_ms)
        for kind in (FaultKind.VOLTAGE_SWELL, FaultKind.UNDER_VOLTAGE):
            for fault in self._of(kind):
                shift = fault.size * spec.nominal_v - spec.mean_v
                volts = np.where(clamps.active(fault, start_ms), volts + shift, volts)
        for fault in self._of(FaultKind.FREQUENCY_SHIFT):
            frequency = frequency + fault.size * clamps.active(fault, start_ms)
        dark = self._any(FaultKind.OUTAGE, start_ms)
        volts = np.where(dark, 0.0, np.maximum(volts, 0.0))
        return volts, np.where(volts > 0, frequency, 0.0)

    def _volt_gain(self, start_ms: Ints) -> Floats:
        gain = np.ones(len(start_ms))
        for fault in self._of(FaultKind.VOLTAGE_SENSOR_OFF):
            gain[clamps.active(fault, start_ms)] *= fault.size
        return gain

    def _levels(self, start_ms: Ints, source_v: Floats) -> tuple[Floats, Floats]:
        """Return mean and mean squared level of each part in each window."""
        edges = np.append(start_ms, start_ms[-1] + self.dt_ms)
        runs = self.runs(int(edges[0]), int(edges[-1]))
        mean = np.zeros((len(self.rows), len(start_ms)))
        square = np.zeros_like(mean)
        for number, row in enumerate(self.rows):
            if row.appliance >= 0:
                level, squared = runs[row.appliance][row.piece].mean(edges)
                forced = self.fridge_runs(row, start_ms)
                duty = row.part.duty
                mean[number] = duty * np.where(forced, 1.0, level)
                square[number] = duty * np.where(forced, 1.0, squared)
            else:
                level = (
                    clamps.active(row.fault, start_ms).astype(np.float64)
                    if row.fault
                    else self._sunshine(start_ms, source_v)
                )
                mean[number], square[number] = level, level**2
        return mean, square

    def _sunshine(self, start_ms: Ints, source_v: Floats) -> Floats:
        """Return the roof's watts; the inverter leaves the grid when that is out of bounds."""
        if self.spec.roof is None:
            return np.zeros(len(start_ms))
        middle = start_ms + self.dt_ms // 2
        watts = solar.power_w(self._seed, self.spec.place, self.spec.roof, middle)
        for fault in self._of(FaultKind.PV_STRING_LOST):
            watts = np.where(clamps.active(fault, start_ms), watts * (1 - fault.size), watts)
        per_unit = source_v / self.spec.mains.nominal_v
        stays = (per_unit > _PV_STAYS[0]) & (per_unit < _PV_STAYS[1])
        return np.where(stays, watts, 0.0)


def _rows(spec: HomeSpec, faults: Sequence[Fault]) -> list[Row]:
    """Return all parts; those of faults come last so that the others' noise stays."""
    rows = [
        Row(part, fitting.channel, number, index)
        for number, fitting in enumerate(spec.fittings)
        for index, part in enumerate(fitting.appliance.parts)
    ]
    if spec.roof is not None:
        rows.append(Row(Part(1.0, shapes.PV_INVERTER, ELECTRONIC, 0.0), SOLAR))
    for fault in faults:
        if fault.kind is FaultKind.POOR_POWER_FACTOR:
            loss_w = fault.size / float(np.tan(np.deg2rad(89.0)))
            rows.append(Row(Part(loss_w, _REACTOR), None, fault=fault))
        elif fault.kind in LOAD_KINDS:
            rows.append(Row(Part(fault.size, shapes.RESISTIVE), None, fault=fault))
    return rows


def _check(spec: HomeSpec, faults: Sequence[Fault]) -> None:
    """Raise ValueError for a fault in something the home has not."""
    names = {fitting.appliance.name for fitting in spec.fittings}
    for fault in faults:
        if fault.kind in CLAMP_KINDS and fault.channel not in spec.channels:
            msg = f"{spec.name} has no channel {fault.channel!r} for {fault.kind}"
            raise ValueError(msg)
        if fault.kind is FaultKind.FRIDGE_RUNNING and "fridge" not in names:
            msg = f"{spec.name} has no fridge for {fault.kind}"
            raise ValueError(msg)
        if fault.kind is FaultKind.PV_STRING_LOST and spec.roof is None:
            msg = f"{spec.name} has no roof for {fault.kind}"
            raise ValueError(msg)
