"""From pairs of a raw code and calibrated µV to a table of what codes mean."""

from array import array

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CODES = const(4096)
STEP = const(16)  # codes from one knot of the table to the next; a chip's bends are far wider
KNOTS = const(257)
FULL = const(65535)  # 1/16 code of a straight scale
SCALE_UV = const(3_100_000)
_BINS = const(64)  # 64 codes each: 50 mV
_BIN_CODES = const(64)
_LEAST_PAIRS = const(6)  # in a bin, else noise is taken for a bend
_LEAST_BINS = const(16)  # 0.8 V of swing, else what is beyond is a guess
_ENDS = const(16)  # bins at each end that give slope and bend beyond


class Pairs:
    """Sums of pairs by bins of codes: bounded memory however many are added."""

    def __init__(self) -> None:
        self.count = array("i", bytes(4 * _BINS))
        self._code = array("i", bytes(4 * _BINS))  # sums of sixteenths within the bin
        self._uv = [0.0] * _BINS

    def add(self, before: int, uv: int, after: int) -> None:
        """Take a reading of µV between two raw 12-bit codes: their mean is its code.

        Codes at the ends of the scale say nothing and are left out, and so is a pair
        of codes too far apart to be one place on the wave.
        """
        if min(before, after) <= 0 or max(before, after) >= CODES - 1:
            return
        if abs(before - after) > _BIN_CODES:
            return
        twice = before + after
        bin_number = twice // (2 * _BIN_CODES)
        self.count[bin_number] += 1
        self._code[bin_number] += twice - bin_number * 2 * _BIN_CODES
        self._uv[bin_number] += uv

    def points(self) -> "list[tuple[float, float]]":
        """Return (code, µV) of each bin that has seen enough, in rising order."""
        out = []
        for k in range(_BINS):
            n = self.count[k]
            if n >= _LEAST_PAIRS:
                out.append((k * _BIN_CODES + self._code[k] / (2 * n), self._uv[k] / n))
        return out


def line(points: "list[tuple[float, float]]") -> "tuple[float, float]":
    """Return the middle code and the µV per code of the least-squares line through points."""
    n = len(points)
    mean_x = sum([p[0] for p in points]) / n
    mean_y = sum([p[1] for p in points]) / n
    slope = sum([(p[0] - mean_x) * (p[1] - mean_y) for p in points])
    return mean_x, slope / sum([(p[0] - mean_x) * (p[0] - mean_x) for p in points])


def edge(points: "list[tuple[float, float]]", code: float) -> "tuple[float, float]":
    """Return slope and bend (µV per code, and per code squared) at a code near points.

    Their two halves give two slopes; what changes from one to the other goes on.
    """
    half = len(points) // 2
    (x1, s1), (x2, s2) = line(points[:half]), line(points[half:])
    bend = (s2 - s1) / (x2 - x1)
    return s2 + bend * (code - x2), bend


def straight() -> "array[int]":
    """Return the table of an ideal converter: what holds until the pairs are known."""
    return array("H", [min(code * 16, FULL) for code in range(0, CODES + 1, STEP)])


def table(points: "list[tuple[float, float]]") -> "array[int] | None":
    """Return KNOTS values in 1/16 code of 3.1 V, or None where points are too few.

    Between points it is linear, beyond them a parabola, and it never falls.
    """
    if len(points) < _LEAST_BINS:
        return None
    first, last = points[0], points[-1]
    low, high = edge(points[:_ENDS], first[0]), edge(points[-_ENDS:], last[0])
    if not (low[0] > 0 and high[0] > 0):
        return None
    out = array("H", bytes(2 * KNOTS))
    place = 0
    least = 0
    for code in range(0, CODES + 1, STEP):
        while place < len(points) and points[place][0] <= code:
            place += 1
        if place == 0:
            d = code - first[0]
            uv = first[1] + d * (low[0] + d * low[1] / 2)
        elif place == len(points):
            d = code - last[0]
            uv = last[1] + d * (high[0] + d * high[1] / 2)
        else:
            (x0, y0), (x1, y1) = points[place - 1], points[place]
            uv = y0 + (y1 - y0) * (code - x0) / (x1 - x0)
        least = min(max(least, int(uv * (FULL + 1) / SCALE_UV + 0.5)), FULL)
        out[code // STEP] = least
    return out


def knots(values: "Sequence[int]") -> "array[int]":
    """Return the table's knots from values for each of the CODES codes."""
    out = array("H", [values[code] for code in range(0, CODES, STEP)])
    last, before = values[CODES - 1], values[CODES - STEP]
    out.append(min(last + (last - before) // (STEP - 1), FULL))
    return out
