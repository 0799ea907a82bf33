"""A simulated home's wires at any instants, so that a simulated meter can hang in it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.home import Home
from simulation.noise import Floats
from simulation.sources import Cycle

_KEPT = 4  # windows: a burst touches two, a meter that boots again goes on near by
_OUTAGE_HZ = 50.0  # the time base while there is no mains
_GRID_MS = 1  # levels change at whole milliseconds


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One window: its start, angle and frequency, and what flows until each boundary."""

    start_s: float
    turns: float
    hz: float
    volts: Cycle
    until_s: Floats
    amps: list[list[Cycle]]  # by channel, then by piece of the window
    limits: Sequence[float]


class HomeSource:
    """A home as a source; clamp k is the home's k-th channel.

    The source's zero is `start_ms` of Unix time. Faults injected into the home show from
    the next window on. The angle goes on from window to window; after a jump in time to
    elsewhere it starts at 0, as nobody has seen what was between.
    """

    def __init__(self, home: Home, start_ms: int) -> None:
        self.home = home
        self.start_ms = home.align(start_ms)
        self.channels = home.spec.channels
        self._windows: OrderedDict[int, _Stretch] = OrderedDict()

    @property
    def nominal_hz(self) -> float:
        """See Source."""
        return self.home.spec.mains.nominal_hz

    def volts(self, t_s: Floats) -> Floats:
        """See Source."""
        out = np.empty(len(t_s))
        for window, part in self._split(t_s):
            out[part] = window.volts.at(self._angle(window, t_s[part]))
        return out

    def amps(self, clamp: int, t_s: Floats) -> Floats:
        """See Source; a clamp beyond the home's channels carries nothing."""
        out = np.zeros(len(t_s))
        if clamp >= len(self.channels):
            return out
        for window, part in self._split(t_s):
            inside = t_s[part]
            angle = self._angle(window, inside)
            pieces = np.searchsorted(inside, window.until_s)
            low = 0
            for cycle, high in zip(window.amps[clamp], pieces.tolist(), strict=True):
                flow = cycle.at(angle[low:high])
                limit = window.limits[clamp]
                out[part.start + low : part.start + high] = np.clip(flow, -limit, limit)
                low = high
        return out

    def _angle(self, window: _Stretch, t_s: Floats) -> Floats:
        out: Floats = window.turns + (t_s - window.start_s) * window.hz
        return out

    def _split(self, t_s: Floats) -> list[tuple[_Stretch, slice]]:
        """Return the windows that the instants are in, and which instants."""
        dt_s = self.home.dt_ms / 1000
        # A sensor's lead may ask for an instant before the first window.
        numbers = np.maximum(np.floor(t_s / dt_s), 0).astype(np.int64)
        first, last = int(numbers[0]), int(numbers[-1])
        bounds = np.searchsorted(numbers, np.arange(first, last + 2)).tolist()
        return [
            (self._window(number), slice(bounds[k], bounds[k + 1]))
            for k, number in enumerate(range(first, last + 1))
            if bounds[k] < bounds[k + 1]
        ]

    def _window(self, number: int) -> _Stretch:
        if number not in self._windows:
            before = self._windows.get(number - 1)
            dt_s = self.home.dt_ms / 1000
            turns = (before.turns + before.hz * dt_s) % 1.0 if before else 0.0
            self._windows[number] = self._made(number, turns)
            if len(self._windows) > _KEPT:
                self._windows.popitem(last=False)
        return self._windows[number]

    def _made(self, number: int, turns: float) -> _Stretch:
        dt_ms = self.home.dt_ms
        flows = self.home.flows(self.start_ms + number * dt_ms, _GRID_MS)
        start_s = number * dt_ms / 1000
        return _Stretch(
            start_s=start_s,
            turns=turns,
            hz=flows.hz or _OUTAGE_HZ,
            volts=Cycle(flows.voltage),
            until_s=start_s + flows.until_ms / 1000,
            amps=[[Cycle(piece) for piece in channel] for channel in flows.currents],
            limits=flows.limits,
        )
