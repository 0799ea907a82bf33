"""Windows of about a second: volts, hertz, amperes, watts and vars from calibrated sums."""

from math import cos, sin, sqrt

from moments import Moments, RawSums, real
from sampler import FRAMES, Sampler
from ticks import ticks_diff, ticks_us
from wire import CLIP, LATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from curves import Calibration
    from hardware import Measured

WINDOW_MS = 1000
DEAD_V = 10.0  # below, the mains is gone: what the adapter then shows is noise
# Flags tell of windows whose values suffered; single samples do not matter.
_CLIPPED_MIN = 10
_LATE_SHARE = 50  # one frame in 50
# Three standard deviations of noise: what a window cannot tell from nothing is nothing,
# or registers would creep both ways (IEC 62053-21 asks meters not to run without load).
_SIGMAS = 3.0


class Window:
    """What one window measured; lists have one entry per clamp.

    up_ms    monotonic time at its end; dt_ms what it covers, since the window before
    v, f     V and Hz; an outage reads 0.0 and 0.0, a voltage without 40 to 70 Hz None
    i, p, q  A, W (signed), var (+ inductive)
    flags    bits of wire.py; clipped  samples per clamp at the converter's ends
    quiet    per clamp: nothing above the noise floor
    frozen   a converter input that gave one and the same code throughout
    raw      the same before calibration, for `calibrate`
    """

    def __init__(self, up_ms: int, dt_ms: int, raw: RawSums) -> None:
        clamps = len(raw.p)
        self.up_ms = up_ms
        self.dt_ms = dt_ms
        self.v: float | None = 0.0
        self.f: float | None = 0.0
        self.i = [0.0] * clamps
        self.p = [0.0] * clamps
        self.q = [0.0] * clamps
        self.flags = 0
        self.clipped: list[int] = list(raw.clipped)
        self.quiet = [True] * clamps
        self.frozen = False
        self.raw = raw


class PowerMeter:
    """Measures window after window; `calibration` may be replaced between two of them.

    `busy_us` is the time the last window took besides sampling. `tap`, if set, is shown the
    sampler after each burst. ValueError when the calibration is for another number of clamps.
    """

    def __init__(self, board: "Measured", calibration: "Calibration") -> None:
        self.board = board
        self.calibration = calibration
        if len(calibration.channels) != board.clamps:
            msg = "the calibration is for another number of clamps"
            raise ValueError(msg)
        self._sampler = Sampler(board)
        self._moments = Moments(board.clamps)
        self._end_ms: int | None = None
        self.busy_us = 0
        self.tap: Callable[[Sampler], None] | None = None

    async def window(self) -> Window:
        """Measure about a second; what passes between two calls is covered, not measured."""
        board, moments = self.board, self._moments
        if self._end_ms is None:
            self._end_ms = board.up_ms()
        begin_ms = self._end_ms
        # Ends nearest to a second: a burst takes about an eighth of it.
        half_ms = FRAMES * board.frame_us // 2000
        moments.clear()
        busy_us = 0
        while True:
            self._sampler.burst()
            began_us = ticks_us()
            moments.add(self._sampler, FRAMES)
            if self.tap is not None:
                self.tap(self._sampler)
            busy_us += self._sampler.busy_us + ticks_diff(ticks_us(), began_us)
            now_ms = board.up_ms()
            if now_ms - begin_ms + half_ms >= WINDOW_MS:
                break
            await board.pace()
        self._end_ms = now_ms
        began_us = ticks_us()
        window = self._judge(now_ms, now_ms - begin_ms)
        self.busy_us = busy_us + ticks_diff(ticks_us(), began_us)
        await board.pace()
        return window

    def _judge(self, up_ms: int, dt_ms: int) -> Window:
        moments = self._moments
        raw = moments.raw(self.board.read_us)
        window = Window(up_ms, dt_ms, raw)
        volts = self.calibration.volts_per_code(raw.v_rms) * raw.v_rms
        if volts >= DEAD_V:
            window.v = volts
            window.f = raw.f or None  # a voltage that is not mains has no such frequency
        for k in range(self.board.clamps):
            self._channel(window, k)
        if max(moments.clipped) >= _CLIPPED_MIN:
            window.flags |= CLIP
        if moments.late * _LATE_SHARE > moments.frames:
            window.flags |= LATE
        for low, high in zip(moments.low, moments.high):  # noqa: B905 - no strict= on the board
            if low >= high:
                window.frozen = True
        return window

    def _channel(self, window: Window, k: int) -> None:
        """Turn one clamp's sums into A, W and var."""
        raw, row = window.raw, self.calibration.channels[k]
        if not raw.frames:
            return
        # Variance of a mean square over n samples of noise N: 2 N² / n.
        doubt = _SIGMAS * row.noise * sqrt(2 / raw.frames)
        square = raw.i2[k] - row.noise
        p = raw.p[k] - row.leak_p * raw.v2
        q = raw.q[k] - row.leak_q * raw.v2
        # Of a mean product of v with noise: N V² / n.
        floor = _SIGMAS * sqrt(row.noise * raw.v2 / raw.frames)
        if square < doubt and abs(p) < floor:
            return
        window.quiet[k] = False
        codes = sqrt(square) if square > 0 else real(0)
        if raw.v2 > 0:
            codes = max(codes, abs(p) / raw.v_rms)
        gain, phase = row.at(codes)
        gain *= row.sign
        window.i[k] = abs(gain) * codes
        if not window.v:
            return
        watts = gain * self.calibration.volts_per_code(raw.v_rms)
        window.p[k] = watts * (p * cos(phase) - q * sin(phase))
        window.q[k] = watts * (q * cos(phase) + p * sin(phase))
        window.i[k] = max(window.i[k], abs(window.p[k]) / window.v)
