"""Currents of all parts of a home put together, harmonic by harmonic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.appliances import Part
from simulation.mains import Mains
from simulation.noise import Floats
from simulation.spec import GRID, SOLAR

_BROWN_OUT = 0.7  # of nominal: below it supplies stop holding their power (chosen)
_DEAD_V = 1.0  # below this nothing draws


@dataclass(frozen=True, slots=True)
class Drawn:
    """RMS current, active power and fundamental reactive power (+ inductive)."""

    i: Floats
    p: Floats
    q: Floats


class Circuit:
    """A fixed set of parts on one supply.

    With the current's phasors linear in the parts' amplitudes, P and Q are linear
    forms and I squared is a quadratic one: no harmonic is touched per window.
    """

    def __init__(self, mains: Mains, parts: Sequence[Part], channels: Sequence[str | None]) -> None:
        self._mains = mains
        voltage = mains.phasors()
        self.thd = float(np.sqrt((np.abs(voltage[1:]) ** 2).sum()))
        self.voltage = voltage
        self.currents = np.array([part.shape.phasors(voltage) for part in parts])
        self._channels = np.array([channel or "" for channel in channels])
        self._power = np.array([part.power_w for part in parts])
        self._exponent = np.array([part.exponent for part in parts])
        self._active = (self.currents @ voltage.conj()).real
        self._reactive = -self.currents[:, 0].imag
        self._gram = (self.currents @ self.currents.conj().T).real

    def signs(self, channel: str) -> Floats:
        """Return how each part counts in a channel: 1, 0, or -1 for solar at the grid."""
        mine = self._channels == channel
        if channel == GRID:
            return np.where(self._channels == SOLAR, -1.0, 1.0).astype(np.float64)
        return np.asarray(mine, dtype=np.float64)

    def settle(self, source_v: Floats, levels: Floats, wobble: Floats) -> tuple[Floats, Floats]:
        """Return the fundamental voltage, and amperes of each part per unit of level.

        The drop is `sag_v_per_kw` times the net power, which itself depends on the
        voltage; three rounds settle it to far below a millivolt. `wobble` is each
        part's momentary factor. The shape of the arrays is (parts, windows).
        """
        nominal = self._mains.nominal_v
        asked = self._power[:, None] * wobble
        sign = self.signs(GRID)[:, None]
        exponents = np.unique(self._exponent)
        sums = [
            (sign * asked * levels)[self._exponent == exponent].sum(axis=0)
            for exponent in exponents
        ]
        volts = source_v
        for _ in range(3):
            per_unit = volts / nominal
            net_w = sum(
                total * _response(per_unit, exponent)
                for total, exponent in zip(sums, exponents.tolist(), strict=True)
            )
            volts = np.maximum(source_v - self._mains.sag_v_per_kw * net_w / 1000, 0.0)
        dead = source_v < _DEAD_V
        volts = np.where(dead, 0.0, volts)
        answer = {e: _response(volts / nominal, e) for e in exponents.tolist()}
        factor = np.array([answer[e] for e in self._exponent.tolist()])
        amperes = asked * factor / np.where(dead, 1.0, volts)
        return volts, np.where(dead, 0.0, amperes)

    def draw(
        self, channel: str, volts: Floats, amperes: Floats, mean: Floats, square: Floats
    ) -> Drawn:
        """Return what flows in a channel, given mean and mean squared levels.

        Where a part is on for a share of the window, its mean adds to the others
        phasor by phasor, and what varies around that mean adds in squares: exact
        when one part at a time switches within a window, else the expected value.
        """
        sign = self.signs(channel)
        used = np.flatnonzero(sign)
        flow = sign[used, None] * amperes[used] * mean[used]
        gram = self._gram[np.ix_(used, used)]
        steady = (flow * (gram @ flow)).sum(axis=0)
        spread = np.maximum(square[used] - mean[used] ** 2, 0.0) * amperes[used] ** 2
        varying = np.diagonal(gram) @ spread
        p = volts * (self._active[used] @ flow)
        q = volts * (self._reactive[used] @ flow)
        return Drawn(np.sqrt(np.maximum(steady + varying, 0.0)), p, q)


def _response(per_unit: Floats, exponent: float) -> Floats:
    """Return the factor of a load's power at a voltage relative to nominal."""
    held = np.maximum(per_unit, _BROWN_OUT) ** exponent
    return np.asarray(held * np.minimum(per_unit / _BROWN_OUT, 1.0) ** 2)
