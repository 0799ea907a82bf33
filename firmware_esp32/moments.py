"""Sums of several bursts, exact, and what they say of voltage and current in codes."""

from math import cos, pi, sin, sqrt

from ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampler import Sampler

# Where integers become floats, which have seven digits on an ESP32: after the means were
# taken off. A test puts 32-bit floats here.
real: "Callable[[int | float], Any]" = float

_UNIT = 1024  # sampler.UNIT
_MICRO = 1000000
MAINS_HZ = (40, 70)  # the contract's range; other periods are no mains
_SMALLEST_SINE = 0.01


class RawSums:
    """What one or more windows measured, in converter steps (codes), before calibration.

    `f` in Hz (0 without mains), `v2` the mean square of the voltage, `v_mean` the bias
    it swings around; per clamp: `i2` mean square with noise, `mean` its bias, `p` the mean product
    with the voltage, `q` the same in quadrature (+ inductive), both freed of the time
    between the two readings; `clipped` samples. `frames` is how many the means are of.
    """

    def __init__(self, clamps: int) -> None:
        zero = real(0)
        self.f = zero
        self.v2 = zero
        self.v_mean = zero
        self.frames = zero
        self.i2 = [zero] * clamps
        self.mean = [zero] * clamps
        self.p = [zero] * clamps
        self.q = [zero] * clamps
        self.clipped = [0] * clamps

    @property
    def v_rms(self) -> float:
        """Return the RMS voltage in codes."""
        return sqrt(self.v2)


class Moments:
    """Adds up bursts: central second moments in integers, so that nothing cancels in floats.

    The mean of each burst is taken off within the burst, since the bias drifts. A burst
    counts by the time from the end of the one before to its own: what was not sampled
    between two bursts is taken to be like the second. So a load that is switched every
    few cycles is not counted by how its on-times happen to fall into pauses.
    """

    def __init__(self, clamps: int) -> None:
        self.clamps = clamps
        self._end_ticks: int | None = None
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        places = self.clamps + 1
        self.weight = 0  # frames of whole cycles, in 1/UNIT
        self.time_us = 0  # what they stand for
        self.cycles = 0
        self.span = 0
        self.frames = 0
        self.bursts = 0
        self.late = 0
        self.square = [0] * places
        self.product = [0] * places
        self.turned = [0] * places
        self.plain = [0] * places
        self.clipped = [0] * places
        self.spikes = [0] * places
        self.low = [4095] * places
        self.high = [0] * places

    def add(self, sampler: "Sampler", frames: int) -> None:
        """Take the burst a sampler has just taken."""
        self.frames += frames
        self.bursts += 1
        self.late += sampler.late
        for place in range(self.clamps + 1):
            self.clipped[place] += sampler.clipped[place]
            self.spikes[place] += sampler.spikes[place]
            self.low[place] = min(self.low[place], sampler.low[place])
            self.high[place] = max(self.high[place], sampler.high[place])
        synchronous = self._is_mains(sampler)
        if not synchronous:
            if self.cycles:
                return  # beside whole cycles, a cut through one would only blur
        elif not self.cycles:
            self._drop_uncut()
        weight = sampler.weight
        self.weight += weight
        time_us = self._stands_for(sampler)
        self.time_us += time_us
        if synchronous:
            self.cycles += sampler.cycles
            self.span += sampler.span
        volts = sampler.plain[0]
        for place in range(self.clamps + 1):
            plain = sampler.plain[place]
            mean = plain + sampler.mid[place] * weight // 16
            self.plain[place] += mean * time_us // weight
            square = sampler.square[place] - plain * plain // weight
            self.square[place] += square * time_us // weight
            product = sampler.product[place] - volts * plain // weight
            self.product[place] += product * time_us // weight
            # Over whole cycles the voltage's difference has no mean to take off.
            turned = sampler.behind[place] - sampler.ahead[place]
            self.turned[place] += turned * time_us // weight

    def _stands_for(self, sampler: "Sampler") -> int:
        """Return how much time a burst stands for: its own, and the pause before it."""
        own_us = sampler.weight * sampler.board.frame_us // _UNIT
        before, self._end_ticks = self._end_ticks, sampler.end_ticks
        if before is None:
            return own_us
        # A long absence (flash, network) is no reason to trust one burst that much more.
        return max(own_us, min(ticks_diff(sampler.end_ticks, before), 2 * own_us))

    @staticmethod
    def _is_mains(sampler: "Sampler") -> bool:
        if not sampler.cycles or sampler.span <= 0:
            return False
        scaled = sampler.cycles * _MICRO * _UNIT
        return MAINS_HZ[0] * sampler.span <= scaled <= MAINS_HZ[1] * sampler.span

    def _drop_uncut(self) -> None:
        self.weight = self.time_us = 0
        for sums in (self.square, self.product, self.turned, self.plain):
            for place in range(self.clamps + 1):
                sums[place] = 0

    def raw(self, read_us: int) -> RawSums:
        """Return the means, clamp k freed of its delay of (k + 1) · read_us.

        With ψ = φ - ω·delay the angle between what was read of voltage and current:
        Σv·i = S cos ψ and Σ(v[n-1] - v[n+1])·i = 2 S sin ψ sin ωT, T one frame.
        """
        raw = RawSums(self.clamps)
        if not self.weight:
            return raw
        weight = real(self.weight)
        time_us = real(self.time_us)
        raw.frames = weight / _UNIT
        raw.v2 = real(self.square[0]) / time_us
        raw.v_mean = real(self.plain[0]) / time_us
        step = real(0)
        if self.cycles:
            raw.f = real(self.cycles * _UNIT * _MICRO) / real(self.span)
            step = 2 * pi * self.cycles * _UNIT / weight
        sine = sin(step)
        for k in range(self.clamps):
            raw.i2[k] = real(self.square[k + 1]) / time_us
            raw.mean[k] = real(self.plain[k + 1]) / time_us
            raw.clipped[k] = self.clipped[k + 1]
            p = real(self.product[k + 1]) / time_us
            q = real(0)
            if sine > _SMALLEST_SINE:
                q = real(self.turned[k + 1]) / time_us / (2 * sine)
            delay = 2 * pi * raw.f * (read_us * (k + 1)) / _MICRO
            raw.p[k] = p * cos(delay) - q * sin(delay)
            raw.q[k] = q * cos(delay) + p * sin(delay)
        return raw
