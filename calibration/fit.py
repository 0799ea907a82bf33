"""The fit: from a meter's raw sums and a reference instrument's readings to its record.

One no-load measurement gives noise floors and leaks; resistive loads of known voltage,
current and power give gains and phases. Gains are fitted on active power, which current
noise does not bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from calibration.bend import Bend, Shape, bend_of
from calibration.record import POINTS_MAX, CalibrationRecord, ChannelRecord, Point
from calibration.sums import ChannelSums, RawSums
from gateway.domain.errors import BadInputError

# Below the lowest load the curves go on as the lowest three points suggest (a current
# transformer's ratio and phase follow the logarithm of the current), down to here.
LOWEST_A = 0.02
LEAST_LOADS = 2  # of a channel, apart from each other: fewer are no curve
_TREND_POINTS = 3
_LEAST_SPREAD = 1.2  # two loads nearer than this are one point
_PHASE_MAX = 0.35  # rad: 20 degrees; more is another wire, or a load that is not resistive
_FACTOR_MIN = 0.98  # of a reference load that may be taken for resistive
REPEATS = 1e-4  # one standard deviation of an instrument's readings of the same voltage
_SLOPE_MAX = 0.03
_LEAST_OF_NOISE = 0.1  # of the noise's product with the voltage
_FRAMES_PER_WINDOW = 3000  # about, of whole cycles
_SIGMAS = 3.0
_CLIPPED_MAX = 2  # samples a window: spikes alone may do that


@dataclass(frozen=True, slots=True)
class Reference:
    """What the reference instrument read at the same time: V, A, W."""

    v: float
    i: float
    p: float


@dataclass(frozen=True, slots=True)
class Voltage:
    """The voltage's gain in V per code at `at` codes RMS, and its slope; see the record."""

    gain: float
    slope: float
    at: float

    def gain_at(self, codes: float) -> float:
        """Return the gain at a level."""
        return self.gain * (1 + self.slope * (codes / self.at - 1))


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """A resistive load on one channel: what the meter summed, and what was true."""

    channel: str
    sums: RawSums
    reference: Reference


def fit(  # noqa: PLR0913 - what a record is made of
    no_load: RawSums,
    points: Sequence[LoadPoint],
    *,
    version: int,
    made: str = "",
    repeats: float = REPEATS,
    kept: Sequence[ChannelRecord] = (),
) -> CalibrationRecord:
    """Return the record for all channels of `no_load`.

    `kept` are the constants of channels that were not measured this time. `repeats` is how
    well the reference repeats a voltage: the relative standard deviation of what it read at one
    point.
    BadInputError when a channel has no point and is not kept, when a load was not resistive, too
    small to be seen, clipped, or against another clamp's direction; the text says which.
    """
    if not points:
        msg = "no load was measured: at least one resistive load per channel is needed"
        raise BadInputError(msg)
    voltage = voltage_of(points, repeats, bend_of(shapes(no_load, points)))
    others = {one.name: one for one in kept}
    channels = []
    for name in no_load.channels:
        own = [point for point in points if point.channel == name]
        if not own and name not in others:
            msg = f"channel {name}: no load was measured"
            raise BadInputError(msg)
        channels.append(_channel(name, no_load, own, voltage) if own else others[name])
    return CalibrationRecord(
        version=version,
        v_gain=voltage.gain,
        v_slope=voltage.slope,
        v_at=voltage.at,
        channels=channels,
        made=made,
    )


def shapes(no_load: RawSums, points: Sequence[LoadPoint]) -> list[Shape]:
    """Return what each load tells of the converter's bend."""
    return [
        Shape(point.channel, point.sums, no_load.channels[point.channel].rms)
        for point in points
        if point.channel in no_load.channels
    ]


def voltage_of(
    points: Sequence[LoadPoint], repeats: float = REPEATS, bend: Bend | None = None
) -> Voltage:
    """Return the voltage's gain, and how it changes with the level.

    The converter's bend makes the gain depend on the level, and the mains stands at
    another one at each point (a load pulls it down). The slope is a least-squares one,
    weighed by how well an instrument repeats against what is known of the bend.
    """
    known = bend or Bend()
    for point in points:
        if point.sums.v_rms <= 0 or point.reference.v <= 0:
            msg = f"channel {point.channel}: a point without voltage"
            raise BadInputError(msg)
    n = len(points)
    at = sum(point.sums.v_rms for point in points) / n
    gains = [point.reference.v / point.sums.v_rms for point in points]
    gain = sum(gains) / n
    away = [point.sums.v_rms / at - 1 for point in points]
    above = sum(x * (y / gain - 1) for x, y in zip(away, gains, strict=True))
    held = (repeats / known.doubt) ** 2
    slope = (above + held * known.slope) / (sum(x * x for x in away) + held)
    return Voltage(gain, max(-_SLOPE_MAX, min(_SLOPE_MAX, slope)), at)


def _channel(
    name: str, no_load: RawSums, points: Sequence[LoadPoint], voltage: Voltage
) -> ChannelRecord:
    idle = no_load.channels[name]
    leak = _leak(no_load, idle)
    found = [_point(point, leak, idle, voltage) for point in points]
    signs = {sign for sign, _ in found}
    if len(signs) != 1:
        msg = f"channel {name}: the loads flow in both directions; was the clamp turned round?"
        raise BadInputError(msg)
    curve = _extended(_distinct(sorted((point for _, point in found), key=lambda p: p.i)))
    return ChannelRecord(
        name=name,
        sign=signs.pop(),
        noise=idle.rms**2,
        leak_p=leak.real,
        leak_q=leak.imag,
        points=curve,
    )


def _leak(no_load: RawSums, idle: ChannelSums) -> complex:
    """Return the product with the voltage that no load has, per codes² of voltage.

    Nothing where it might be chance: correcting by noise would only add it everywhere.
    """
    if no_load.v_rms <= 0:
        msg = "the no-load measurement has no voltage"
        raise BadInputError(msg)
    leak = complex(idle.p, idle.q)
    chance = idle.rms * no_load.v_rms / math.sqrt(no_load.windows * _FRAMES_PER_WINDOW)
    return leak / no_load.v_rms**2 if abs(leak) > _SIGMAS * chance else 0j


def _point(
    point: LoadPoint, leak: complex, idle: ChannelSums, voltage: Voltage
) -> tuple[int, Point]:
    """Return the direction of a load's current, and its gain and phase."""
    where = f"channel {point.channel}, {point.reference.i:g} A"
    row = point.sums.channels.get(point.channel)
    if row is None:
        msg = f"{where}: the meter's sums do not have this channel"
        raise BadInputError(msg)
    _check_reference(point.reference, where)
    if row.clipped > _CLIPPED_MAX * point.sums.windows:
        msg = f"{where}: {row.clipped} samples clipped; this load is beyond the clamp's range"
        raise BadInputError(msg)
    power = complex(row.p, row.q) - leak * point.sums.v_rms**2
    if abs(power) <= _LEAST_OF_NOISE * idle.rms * point.sums.v_rms:
        msg = f"{where}: the clamp shows nothing; is it closed around one wire of this load?"
        raise BadInputError(msg)
    sign = 1 if power.real > 0 else -1
    # A resistance turns nothing: what angle there is comes from the sensors, and the
    # meter turns by exp(+j phase) to undo it.
    phase = -math.atan2((power * sign).imag, (power * sign).real)
    if abs(phase) > _PHASE_MAX:
        msg = f"{where}: {math.degrees(phase):.0f} degrees off; another phase, or no resistance?"
        raise BadInputError(msg)
    # With the voltage's gain as the meter will use it, so that the product is right.
    gain = point.reference.p / (voltage.gain_at(point.sums.v_rms) * abs(power))
    return sign, Point(point.reference.i, gain, phase)


def _check_reference(reference: Reference, where: str) -> None:
    if min(reference.v, reference.i, reference.p) <= 0:
        msg = f"{where}: reference readings must be above zero"
        raise BadInputError(msg)
    factor = reference.p / (reference.v * reference.i)
    if not _FACTOR_MIN <= factor <= 2 - _FACTOR_MIN:
        msg = f"{where}: power factor {factor:.3f} at the reference; a resistive load is needed"
        raise BadInputError(msg)


def _distinct(points: Sequence[Point]) -> list[Point]:
    """Return points that are far enough apart to draw a curve; near ones are averaged."""
    groups: list[list[Point]] = []
    for point in points:
        if groups and point.i < groups[-1][0].i * _LEAST_SPREAD:
            groups[-1].append(point)
        else:
            groups.append([point])
    if len(groups) >= POINTS_MAX:
        msg = f"{len(groups)} different loads; at most {POINTS_MAX - 1} fit into a record"
        raise BadInputError(msg)
    return [_mean(group) for group in groups]


def _mean(group: Sequence[Point]) -> Point:
    n = len(group)
    return Point(
        i=math.exp(sum(math.log(point.i) for point in group) / n),
        gain=sum(point.gain for point in group) / n,
        phase=sum(point.phase for point in group) / n,
    )


def _extended(points: list[Point]) -> list[Point]:
    """Return the points with one more at LOWEST_A, where the trend of the lowest leads."""
    low = points[:_TREND_POINTS]
    if len(low) < _TREND_POINTS or points[0].i <= LOWEST_A:
        return points
    x = [math.log(point.i) for point in low]
    gain = _slope(x, [point.gain for point in low])
    phase = _slope(x, [point.phase for point in low])
    step = math.log(LOWEST_A) - x[0]
    first = Point(LOWEST_A, points[0].gain + gain * step, points[0].phase + phase * step)
    out = [first, *points]
    for lower, upper in pairwise(out):
        if lower.i / lower.gain >= upper.i / upper.gain:
            msg = f"{upper.i:g} A gives no more codes than {lower.i:g} A; mixed-up loads?"
            raise BadInputError(msg)
    return out


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the least-squares slope."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
