"""A home that can be asked what its meter measures in any window since it was built."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation import waveform
from simulation.block import BLOCK, Block, Plant
from simulation.faults import Fault
from simulation.noise import Floats, Ints
from simulation.spec import HomeSpec
from simulation.waveform import Flows, Waveform

UJ_PER_MWH = 3_600_000  # a register counts whole microjoules, shown as whole mWh
_BLOCKS_KEPT = 4
_ITERATE = 1024


@dataclass(frozen=True, slots=True)
class ChannelWindows:
    """One channel: A, W, var (+ inductive), and registers at each window's end in mWh.

    Of `grid`, + is import; of `solar`, + is generation.
    """

    i: Floats
    p: Floats
    q: Floats
    in_mwh: Ints
    out_mwh: Ints


@dataclass(frozen=True, slots=True)
class Windows:
    """Consecutive windows; `end_ms` is where each ends. V is RMS with all harmonics."""

    end_ms: Ints
    dt_ms: int
    v: Floats
    f: Floats
    channels: Mapping[str, ChannelWindows]
    clip: NDArray[np.bool_]
    silent: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChannelWindow:
    """One channel in one window; see `ChannelWindows`."""

    i: float
    p: float
    q: float
    in_mwh: int
    out_mwh: int


@dataclass(frozen=True, slots=True)
class Window:
    """One window; see `Windows`."""

    end_ms: int
    dt_ms: int
    v: float
    f: float
    channels: Mapping[str, ChannelWindow]
    clip: bool
    silent: bool


class Home:
    """A simulated home, the same for the same seed, spec, start and faults.

    Windows lie on multiples of `dt_ms` of Unix time, and registers start from 0 at
    `since_ms`. Results do not depend on how they are asked for: in one batch, one by
    one, or out of order (going far ahead costs the time of the windows between,
    since registers are sums). What is returned is what an exact meter sees behind
    the clamps as they are, faults included.
    """

    def __init__(
        self,
        seed: int,
        spec: HomeSpec,
        *,
        since_ms: int,
        dt_ms: int = 1000,
        faults: Sequence[Fault] = (),
    ) -> None:
        if seed < 0 or dt_ms <= 0 or since_ms < 0 or since_ms % dt_ms:
            msg = "seed >= 0, dt_ms > 0, and since_ms a multiple of dt_ms from 0 on are needed"
            raise ValueError(msg)
        self.spec = spec
        self.dt_ms = dt_ms
        self.since_ms = since_ms
        self._seed = seed
        self._faults: tuple[Fault, ...] = ()
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        # Microjoules at the start of each block: (channel, in/out).
        start = np.zeros((len(spec.channels), 2), dtype=np.int64)
        self._energy = {since_ms // (dt_ms * BLOCK): start}
        self.inject(*faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return every fault injected so far."""
        return self._faults

    def inject(self, *faults: Fault) -> None:
        """Add faults, also while running; windows before their start stay as they were.

        ValueError for a fault on a channel or an appliance that the home has not.
        """
        self._plant = Plant(self._seed, self.spec, self.dt_ms, (*self._faults, *faults))
        self._faults = (*self._faults, *faults)
        if faults:
            touched = min(fault.start_ms for fault in faults) // (self.dt_ms * BLOCK)
            first = min(self._energy)
            self._blocks.clear()
            self._energy = {k: e for k, e in self._energy.items() if k <= max(touched, first)}

    def align(self, at_ms: int) -> int:
        """Return the start of the window that holds an instant."""
        return at_ms // self.dt_ms * self.dt_ms

    def windows(self, start_ms: int, count: int) -> Windows:
        """Return `count` windows, the first of which starts at `start_ms`.

        ValueError when `start_ms` is no multiple of `dt_ms` or before `since_ms`.
        """
        if start_ms % self.dt_ms or start_ms < self.since_ms or count < 1:
            msg = f"{count} windows from {start_ms}: not aligned, too early or none"
            raise ValueError(msg)
        first = start_ms // self.dt_ms
        pieces = []
        for index in range(first // BLOCK, (first + count - 1) // BLOCK + 1):
            low, high = max(first - index * BLOCK, 0), min(first + count - index * BLOCK, BLOCK)
            pieces.append(self._slice(index, low, high))
        return pieces[0] if len(pieces) == 1 else _join(pieces)

    def iterate(self, start_ms: int, count: int | None = None) -> Iterator[Window]:
        """Yield windows one by one, for ever without a count."""
        done = 0
        while count is None or done < count:
            size = _ITERATE if count is None else min(_ITERATE, count - done)
            yield from _each(self.windows(start_ms + done * self.dt_ms, size))
            done += size

    def waveform(self, at_ms: int, cycles: int, rate_hz: float) -> Waveform:
        """Return the sampled voltage and currents of whole cycles from an instant on.

        The voltage's fundamental rises through zero at the first sample. ValueError
        before `since_ms`, or for a rate under 100 Hz or no cycles.
        """
        if at_ms < self.since_ms or cycles < 1 or rate_hz < waveform.LEAST_RATE_HZ:
            msg = f"{cycles} cycles at {rate_hz} Hz from {at_ms} cannot be sampled"
            raise ValueError(msg)
        per_block = self.dt_ms * BLOCK
        # 40 Hz is below any mains frequency here, so this is surely long enough.
        last_ms = at_ms + int(cycles * 1000 / 40) + self.dt_ms
        blocks = [self._block(k) for k in range(at_ms // per_block, last_ms // per_block + 1)]
        return waveform.sample(self._plant, blocks, at_ms, cycles, rate_hz)

    def flows(self, start_ms: int, grid_ms: int = 1) -> Flows:
        """Return the phasors behind the waveforms of the window that starts at `start_ms`.

        ValueError when `start_ms` is no multiple of `dt_ms` or before `since_ms`.
        """
        if start_ms % self.dt_ms or start_ms < self.since_ms:
            msg = f"{start_ms} is no start of a window of this home"
            raise ValueError(msg)
        block = self._block(start_ms // (self.dt_ms * BLOCK))
        return waveform.flows(self._plant, block, start_ms, grid_ms)

    def _slice(self, index: int, low: int, high: int) -> Windows:
        block = self._block(index)
        energy = self._energy_at(index)
        inside = slice(low, high)
        channels = {}
        for number, (name, seen) in enumerate(block.seen.items()):
            counted = self._counted(block, number)[:, inside] + energy[number][:, None]
            registers = counted // UJ_PER_MWH
            channels[name] = ChannelWindows(
                seen.i[inside], seen.p[inside], seen.q[inside], registers[0], registers[1]
            )
        return Windows(
            block.start_ms[inside] + self.dt_ms,
            self.dt_ms,
            block.v[inside],
            block.f[inside],
            channels,
            block.clip[inside],
            block.silent[inside],
        )

    def _block(self, index: int) -> Block:
        if index not in self._blocks:
            self._blocks[index] = self._plant.block(index)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[index]

    def _energy_at(self, index: int) -> Ints:
        """Return the registers at a block's start, counting on from the nearest known."""
        known = max(k for k in self._energy if k <= index)
        while known < index:
            block = self._block(known)
            counted = [self._counted(block, c)[:, -1] for c in range(len(block.seen))]
            self._energy[known + 1] = self._energy[known] + np.array(counted)
            known += 1
        return self._energy[index]

    def _counted(self, block: Block, channel: int) -> Ints:
        """Return microjoules in and out since the block's start, at each window's end."""
        energy = np.where(block.start_ms >= self.since_ms, block.energy_uj[channel], 0)
        return np.cumsum(np.stack((np.maximum(energy, 0), np.maximum(-energy, 0))), axis=1)


def _join(pieces: Sequence[Windows]) -> Windows:
    """Return consecutive pieces as one."""
    channels = {
        name: ChannelWindows(
            *(
                np.concatenate([getattr(piece.channels[name], field) for piece in pieces])
                for field in ("i", "p", "q", "in_mwh", "out_mwh")
            )
        )
        for name in pieces[0].channels
    }
    end_ms, v, f, clip, silent = (
        np.concatenate([getattr(piece, field) for piece in pieces])
        for field in ("end_ms", "v", "f", "clip", "silent")
    )
    return Windows(end_ms, pieces[0].dt_ms, v, f, channels, clip, silent)


def _each(windows: Windows) -> Iterator[Window]:
    """Yield a batch's windows as plain Python numbers."""
    columns = {
        name: zip(
            *(getattr(channel, field).tolist() for field in ("i", "p", "q", "in_mwh", "out_mwh")),
            strict=True,
        )
        for name, channel in windows.channels.items()
    }
    rows = zip(
        *(getattr(windows, field).tolist() for field in ("end_ms", "v", "f", "clip", "silent")),
        strict=True,
    )
    for end_ms, v, f, clip, silent in rows:
        channels = {name: ChannelWindow(*next(column)) for name, column in columns.items()}
        yield Window(end_ms, windows.dt_ms, v, f, channels, clip, silent)
