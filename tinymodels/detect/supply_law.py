"""Does the voltage still fall under load as it used to? Sequential tests of the supply's slope.

A bypass or a drifting clamp hides power, not the drop it causes: per kW that is still seen the
voltage falls further, by 1/m where the share m is left. A reversed clamp sees it rise. For each
such share a CUSUM (Page, Biometrika 1954) sums the log likelihood ratio of the home's own slope
and that one, block by block, from the sums of dP² and dP·dV over the blocks' steps.
"""

import math
from typing import Final

from msgspec import Struct, field

HOUR_MS: Final = 3_600_000
MEMORY_MS: Final = 14 * 24 * HOUR_MS  # of the usual slope and of how wild voltages are
SHARES: Final = (0.35, 0.5, 0.7, 0.85)  # of the power that is still seen
# Steps of less say little: 0.05 kW² is one of 220 W.
LEAST_KW2: Final = 0.05
ENOUGH_KW2: Final = 20.0  # before so much was seen there is no usual slope
STIFFEST_V_PER_KW: Final = -0.2  # a supply that hardly gives way tells nothing
LEAST_NOISE_V: Final = 0.3
PRIOR_NOISE_V: Final = 3.0
PRIOR_BLOCKS: Final = 20.0
# No block says more than this either way, however wild it is; no sum grows for ever.
MOST_STEP: Final = 2.0
MOST_SUM: Final = 25.0
WINSOR: Final = 3.0


class SupplyLaw(Struct, array_like=True, gc=False):
    """The usual slope, the noise around it, and the sums for each share and for a reversal."""

    square: float = 0.0  # kW²
    product: float = 0.0  # kW·V
    noise: float = PRIOR_BLOCKS * PRIOR_NOISE_V**2
    blocks: float = PRIOR_BLOCKS
    hidden: list[float] = field(default_factory=lambda: [0.0] * len(SHARES))
    reversed: float = 0.0

    def add(self, square: float, product: float, since_ms: int) -> tuple[float, float, float]:
        """Take in a block's sums of dP² (kW²) and dP·dV (kW·V).

        Return how strongly it speaks for hidden power, for a reversed clamp (both in nats, 0
        while nothing does), and the usual slope in V/kW (NaN while it is unknown).
        """
        slope = self.slope()
        if square >= LEAST_KW2:
            if math.isnan(slope):
                self.hidden, self.reversed = [0.0] * len(SHARES), 0.0
            else:
                self._test(square, product, slope)
            self._learn(square, product, slope, since_ms)
        return max(self.hidden), self.reversed, slope

    def slope(self) -> float:
        """Return the usual slope in V/kW, NaN while too little was seen, or nothing gives way."""
        if self.square < ENOUGH_KW2:
            return math.nan
        found = self.product / self.square
        return found if found <= STIFFEST_V_PER_KW else math.nan

    def _test(self, square: float, product: float, slope: float) -> None:
        """Add what this block says to each sum."""
        variance = max(self.noise / self.blocks, LEAST_NOISE_V**2)
        for number, share in enumerate(SHARES):
            told = _ratio(square, product, slope, slope / share, variance)
            self.hidden[number] = min(max(self.hidden[number] + told, 0.0), MOST_SUM)
        told = _ratio(square, product, slope, -slope, variance)
        self.reversed = min(max(self.reversed + told, 0.0), MOST_SUM)

    def _learn(self, square: float, product: float, slope: float, since_ms: int) -> None:
        """Move what is usual a little towards this block."""
        kept = math.exp(-since_ms / MEMORY_MS)
        usual = self.product / self.square if self.square else product / square
        off = product - (usual if math.isnan(slope) else slope) * square
        most = WINSOR * math.sqrt(self.noise / self.blocks * square)
        off = min(max(off, -most), most)
        self.square = kept * self.square + square
        self.product = kept * self.product + product
        self.noise = kept * self.noise + off * off / square
        self.blocks = kept * self.blocks + 1


def _ratio(square: float, product: float, usual: float, other: float, variance: float) -> float:
    """Return the log likelihood ratio of two slopes for Gaussian noise, bounded."""
    told = ((other - usual) * product - (other**2 - usual**2) / 2 * square) / variance
    return min(max(told, -MOST_STEP), MOST_STEP)
