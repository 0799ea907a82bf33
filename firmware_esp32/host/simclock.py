"""The clock of a simulated meter: time is what has been sampled, and never runs back."""

from micropython import const
from ticks import ticks_diff, ticks_ms

_STALL_MS = const(1000)  # without sampling for longer, time goes on by itself


class SimClock:
    """Microseconds since boot, moved by samples; `speed` 1.0 keeps it to real time.

    With speed 0 only samples move it, so that an accelerated run repeats exactly;
    when nothing is sampled for a second (the meter waits for something), it follows
    real time, so that a wait measured with it ends.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._sampled_us = 0
        self._real_ms = 0
        self._mark = ticks_ms()
        self._sampled_at = 0  # real ms of the last burst

    def _elapsed_ms(self) -> int:
        """Return real ms since boot; ticks wrap, so it must be asked now and then."""
        now = ticks_ms()
        self._real_ms += ticks_diff(now, self._mark)
        self._mark = now
        return self._real_ms

    def now_us(self) -> int:
        """Return the present in µs since boot."""
        real_ms = self._elapsed_ms()
        if self._speed:
            return max(self._sampled_us, int(real_ms * 1000 * self._speed))
        stalled_ms = real_ms - self._sampled_at - _STALL_MS
        return self._sampled_us + max(stalled_ms, 0) * 1000

    def take(self, length_us: int) -> int:
        """Move on by a burst of samples; return when its first one is due."""
        start_us = self.now_us()
        self._sampled_us = start_us + length_us
        self._sampled_at = self._real_ms
        return start_us

    def ahead_ms(self) -> int:
        """Return for how many real ms the samples are ahead of real time."""
        if not self._speed:
            return 0
        return int(self._sampled_us / (1000 * self._speed)) - self._elapsed_ms()
