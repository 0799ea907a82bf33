"""A chain that samples some seconds once and plays them again: for long accelerated runs."""

import numpy as np

from simulation.chain import TICKS, Chain, Codes, Ticks
from simulation.sources import Source

_SECONDS = 10  # whole cycles of 50 and of 60 Hz


class CannedChain(Chain):
    """A board whose samples repeat every ten seconds, at a hundredth of the cost.

    Only for sources of exactly 50 or 60 Hz: others jump where the record begins again.
    A source is recorded when it is first sampled; changes of its faults, or of this
    chain's, do not show until another source takes its place. Frames are never late.
    """

    _source: Source | None = None
    _record: Codes

    def codes(self, source: Source, start_s: float, frames: int) -> tuple[Ticks, Codes]:
        """See Chain; `frames` are at most those of ten seconds."""
        length = _SECONDS * 1_000_000 // self.frame_us
        if source is not self._source:
            self._record = super().codes(source, 0.0, length)[1]
            self._source = source
        start_us = round(start_s * 1e6)
        due_us = start_us + np.arange(frames, dtype=np.int64) * self.frame_us
        first = start_us // self.frame_us % length
        index = np.arange(first, first + frames) % length
        return (due_us % TICKS).astype(np.uint32), self._record[index]
