"""Sampling: bursts of frames from the converter, centred, cleaned and summed in integers."""

from array import array

import micropython
from micropython import const
from ticks import ticks_add, ticks_diff, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hardware import Sampled
    from micropython import ptr16, ptr32

# Every sum of squares or products over FRAMES codes stays below 2**31, because a code is
# held within ±REACH: 500 · 2047² = 2,095,104,500 < 2,147,483,648.
FRAMES = const(500)
REACH = const(2047)
# Codes are counted from a mid that follows the bias slowly, in 1/16 of a converter step.
# It may be 256 steps (0.19 V) off the middle; a bias farther out is a broken divider.
MIDDLE_16 = 2048 * 16
MID_SPAN_16 = 256 * 16
UNIT = 1024  # crossings and weights are told in 1/1024 of a frame
SPIKES_MAX = const(4)  # more suspects in a burst than this are a waveform, not interference

# The job, one array that carries a pass's input and result (viper takes few arguments).
_FRAMES = const(0)
_STRIDE = const(1)  # codes in a frame
_PLACE = const(2)  # which of them: 0 the voltage, then the clamps
_MID = const(3)
_LOW = const(5)
_HIGH = const(6)
_FIRST = const(7)
_LAST = const(8)
_BEGIN = const(9)
_END = const(10)
_OUT = const(11)  # five sums
_SUSPECTS = const(16)  # SPIKES_MAX places in the buffer
_JOB = const(20)

# Capture's header before the frames' ticks.
_AT_FRAMES = const(0)
_AT_FRAME_US = const(1)
_AT_FIRST = const(2)
_AT = const(3)

_TOP = const(4095)  # of 12 bits
_OFFSET = const(2048)  # codes are kept unsigned in 16 bits
_HYSTERESIS = const(48)  # codes below zero before the next rise counts: 8 V nominal


@micropython.viper
def capture(ticks: object, reads: object, raw: ptr16, at: ptr32) -> int:
    """Read frames as they fall due: raw codes in reading order, ticks since the first, µs.

    A frame more than a quarter of its period behind is late; those after it catch up, so
    that the frames' number goes on telling the time. Returns how many were late.
    """
    # Ticks wrap at 2**30: differences are taken as ticks_diff does.
    frame_us = int(at[_AT_FRAME_US])
    quarter = frame_us >> 2
    late = 0
    place = 0
    first = int(ticks())  # type: ignore[operator]
    tick = first
    due = first
    for frame in range(int(at[_AT_FRAMES])):
        behind = 0
        if frame:
            due = (due + frame_us) & 0x3FFFFFFF
            tick = int(ticks())  # type: ignore[operator]
            behind = ((tick - due + 0x20000000) & 0x3FFFFFFF) - 0x20000000
            while behind < 0:
                tick = int(ticks())  # type: ignore[operator]
                behind = ((tick - due + 0x20000000) & 0x3FFFFFFF) - 0x20000000
        for read in reads:  # type: ignore[attr-defined]
            raw[place] = int(read())
            place += 1
        if behind > quarter:
            late += 1
        at[_AT + frame] = (tick - first) & 0x3FFFFFFF
    at[_AT_FIRST] = first
    return late


@micropython.viper
def centre(codes: ptr16, linear: ptr16, job: ptr32) -> int:
    """Turn one place's raw codes into linear ones around the mid, in converter steps.

    `linear` has a knot each 16 codes (linear.py), straight between them. What rounding takes
    from a current's sample the next one gets, or a small one's gain would hang on how the
    table's steps meet ours where its bias is; the voltage's crossings are better rounded.
    Notes the lowest and highest raw; returns how many lay at either end of the converter.
    """
    stride = int(job[_STRIDE])
    place = int(job[_PLACE])
    mid = int(job[_MID])
    rest = 8  # rounds
    carries = place
    clipped = 0
    low = _TOP
    high = 0
    for _ in range(int(job[_FRAMES])):
        raw = int(codes[place]) >> 4
        if raw < low:
            low = raw
        if raw > high:
            high = raw
        if raw <= 0 or raw >= _TOP:
            clipped += 1
        knot = raw >> 4
        value = int(linear[knot])
        value += ((int(linear[knot + 1]) - value) * (raw & 15) + 8) >> 4
        rest += value - mid
        code = rest >> 4
        rest = rest & 15 if carries else 8
        if code > REACH:
            code = REACH
        elif code < -REACH:
            code = -REACH
        codes[place] = code + _OFFSET
        place += stride
    job[_LOW] = low
    job[_HIGH] = high
    return clipped


@micropython.viper
def despike(codes: ptr16, job: ptr32) -> int:
    """Replace single samples that stick out of both neighbours by the mean of these.

    Interference hits one sample in thousands; a waveform that looks so does it every
    cycle, is found more than SPIKES_MAX times in a burst, and is left as it is. Returns how
    many were replaced.
    """
    stride = int(job[_STRIDE])
    place = int(job[_PLACE])
    spread = int(job[_HIGH]) - int(job[_LOW])
    least = 52 + (spread >> 4)  # 6 sigma of the second difference of 2.5 mV noise
    found = 0
    before = int(codes[place])
    here = int(codes[place + stride])
    for _ in range(int(job[_FRAMES]) - 2):
        place += stride
        after = int(codes[place + stride])
        bend = 2 * here - before - after
        if bend < 0:
            bend = 0 - bend
        if bend > least:
            step = after - before
            if step < 0:
                step = 0 - step
            if 2 * step < bend:
                if found < SPIKES_MAX:
                    job[_SUSPECTS + found] = place
                found += 1
        before = here
        here = after
    if found > SPIKES_MAX:
        found = 0
    for n in range(found):
        place = int(job[_SUSPECTS + n])
        codes[place] = (int(codes[place - stride]) + int(codes[place + stride])) >> 1
    return found


@micropython.viper
def find_crossings(codes: ptr16, job: ptr32) -> int:
    """Find the first and last rise of the voltage through zero; return how many there are.

    A crossing is the frame at or above zero that follows one below. The frames beside
    the outermost ones must exist, for weights and for products with a neighbour.
    """
    stride = int(job[_STRIDE])
    last = int(job[_FRAMES]) - 2
    armed = 0
    count = 0
    place = 0
    for frame in range(last + 1):
        code = int(codes[place]) - _OFFSET
        place += stride
        if code < 0 - _HYSTERESIS:
            armed = 1
        elif armed and code >= 0:
            armed = 0
            if frame > 1:
                if count == 0:
                    job[_FIRST] = frame
                job[_LAST] = frame
                count += 1
    return count


@micropython.viper
def add_up(codes: ptr16, job: ptr32) -> int:
    """Sum over frames _BEGIN to _END - 1: Σi, Σi², Σv·i, Σv[n+1]·i, Σv[n-1]·i.

    At most FRAMES frames of codes within ±REACH: no sum leaves 32 bits. Returns Σi.
    """
    stride = int(job[_STRIDE])
    begin = int(job[_BEGIN])
    volts = begin * stride
    place = volts + int(job[_PLACE])
    before = int(codes[volts - stride]) - _OFFSET
    here = int(codes[volts]) - _OFFSET
    plain = 0
    square = 0
    product = 0
    ahead = 0
    behind = 0
    for _ in range(int(job[_END]) - begin):
        volts += stride
        after = int(codes[volts]) - _OFFSET
        i = int(codes[place]) - _OFFSET
        place += stride
        plain += i
        square += i * i
        product += here * i
        ahead += after * i
        behind += before * i
        before = here
        here = after
    job[_OUT] = plain
    job[_OUT + 1] = square
    job[_OUT + 2] = product
    job[_OUT + 3] = ahead
    job[_OUT + 4] = behind
    return plain


@micropython.viper
def fold(codes: ptr16, rows: ptr32, frames: int, places: int) -> int:
    """Add frames to rows of (count, Σ|v|, Σ±i of each clamp), the sign that of the voltage.

    A resistance's current has the voltage's shape: where the converter bends the voltage,
    i over v is another one in each row. Returns how many frames were added. It is here and
    not with what calibrates, because native code once loaded is never let go.
    """
    place = 0
    for _ in range(frames):
        v = int(codes[place]) - _OFFSET
        size = v
        if v < 0:
            size = 0 - v
        row = (size >> 8) * (places + 1)
        rows[row] += 1
        rows[row + 1] += size
        for k in range(1, places):
            i = int(codes[place + k]) - _OFFSET
            if v < 0:
                i = 0 - i
            rows[row + 1 + k] += i
        place += places
    return frames


class Sampler:
    """Takes one burst at a time and leaves its sums, cut to whole cycles, for the taking.

    After `burst()`, all exact integers:
    cycles      whole mains cycles the sums cover; 0 when there is no mains to cut by
    weight      frames they cover, in 1/UNIT
    span        time of those cycles, µs · UNIT; 0 without cycles
    end_ticks   µs tick at which they end
    plain[k]    Σ over frames of place k (0 the voltage, then the clamps), codes · UNIT
    square[k]   Σi², codes² · UNIT, means included
    product[k]  Σv·i; ahead[k] Σv[n+1]·i; behind[k] Σv[n-1]·i
    mid[k]      what codes are counted from, 1/16 of a converter step
    late        frames begun late; clipped[k], spikes[k]; low[k], high[k] raw codes
    codes       FRAMES · places codes in reading order, centred on the mid, plus 2048
    """

    def __init__(self, board: "Sampled") -> None:
        self.board = board
        self.places = places = board.clamps + 1
        # From ranges: what bytes of that length are made into is in RAM twice for a moment.
        self.codes = array("H", range(FRAMES * places))
        self._at = array("i", range(FRAMES + _AT))
        self._job = array("i", bytes(4 * _JOB))
        self._mids = [MIDDLE_16] * places
        self._settled = False
        self.busy_us = 0  # what the last burst took after its sampling
        self.cycles = self.weight = self.span = self.late = self.end_ticks = 0
        self.plain = [0] * places
        self.square = [0] * places
        self.product = [0] * places
        self.ahead = [0] * places
        self.behind = [0] * places
        self.mid = list(self._mids)
        self.clipped = [0] * places
        self.spikes = [0] * places
        self.low = [0] * places
        self.high = [0] * places

    def burst(self) -> None:
        """Sample FRAMES frames and sum them up; blocks for FRAMES · frame_us."""
        if not self._settled:  # a first burst only to learn where the bias lies
            self._sample()
            self._digest()
            self._settled = True
        self._sample()
        began_us = ticks_us()
        self._digest()
        self.busy_us = ticks_diff(ticks_us(), began_us)

    def _digest(self) -> None:
        for place in range(self.places):
            self._clean(place)
        self._cut()

    def _sample(self) -> None:
        self.board.open(FRAMES)
        readers = self.board.readers()
        self._at[_AT_FRAMES] = FRAMES
        self._at[_AT_FRAME_US] = self.board.frame_us
        self.late = capture(readers[0], readers[1:], self.codes, self._at)

    def _clean(self, place: int) -> None:
        """Centre one place's codes, follow its bias, and take spikes away."""
        job = self._job
        job[_FRAMES], job[_STRIDE], job[_PLACE] = FRAMES, self.places, place
        job[_MID] = self.mid[place] = self._mids[place]
        self.clipped[place] = centre(self.codes, self.board.linear, job)
        self.low[place], self.high[place] = job[_LOW], job[_HIGH]
        self.spikes[place] = despike(self.codes, job)

    def _follow(self, place: int, step: int) -> None:
        """Move a place's mid by 1/16 codes, within what sums can bear."""
        mid = self._mids[place] + step
        self._mids[place] = max(MIDDLE_16 - MID_SPAN_16, min(MIDDLE_16 + MID_SPAN_16, mid))

    def _cut(self) -> None:
        """Sum over whole cycles, the frames at both ends by the share that lies inside."""
        job = self._job
        self.cycles = max(find_crossings(self.codes, job) - 1, 0)
        if self.cycles:
            begin, begin_us = self._crossing(job[_FIRST])
            end, end_us = self._crossing(job[_LAST])
            self.span = end_us - begin_us
            last_us = end_us // UNIT
        else:
            # The last frame has no next one.
            begin, end = UNIT // 2, (FRAMES - 1) * UNIT - UNIT // 2 - 1
            self.span = 0
            last_us = self._at[_AT + FRAMES - 1]
        self.end_ticks = ticks_add(self._at[_AT_FIRST], last_us)
        self.weight = end - begin
        head, tail = (begin + UNIT // 2) // UNIT, (end + UNIT // 2) // UNIT
        head_weight = head * UNIT + UNIT // 2 - begin
        tail_weight = end - (tail * UNIT - UNIT // 2)
        for place in range(self.places):
            job[_PLACE], job[_BEGIN], job[_END] = place, head + 1, tail
            add_up(self.codes, job)
            sums = [job[_OUT + n] * UNIT for n in range(5)]
            self._add_end(sums, place, head, head_weight)
            self._add_end(sums, place, tail, tail_weight)
            self.plain[place], self.square[place], self.product[place] = sums[:3]
            self.ahead[place], self.behind[place] = sums[3:]
            self._follow(place, sums[0] * (4 if self._settled else 16) // self.weight)

    def _crossing(self, frame: int) -> tuple[int, int]:
        """Return where between two frames the voltage rose through zero.

        In 1/UNIT of a frame and in 1/UNIT of a µs, both since the burst's first frame.
        """
        codes, at = self.codes, self._at
        low = codes[(frame - 1) * self.places] - _OFFSET
        high = codes[frame * self.places] - _OFFSET
        share = -low * UNIT // (high - low)
        tick = at[_AT + frame - 1]
        return (frame - 1) * UNIT + share, tick * UNIT + share * (at[_AT + frame] - tick)

    def _add_end(self, sums: list[int], place: int, frame: int, weight: int) -> None:
        """Add one frame's share of the sums."""
        codes, places = self.codes, self.places
        at = frame * places
        i = (codes[at + place] - _OFFSET) * weight
        sums[0] += i
        sums[1] += i * (codes[at + place] - _OFFSET)
        sums[2] += i * (codes[at] - _OFFSET)
        sums[3] += i * (codes[at + places] - _OFFSET)
        sums[4] += i * (codes[at - places] - _OFFSET)
