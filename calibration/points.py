"""A load point as it is measured: stretches of the meter's sums, each with what was true then."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from calibration.fit import LoadPoint, Reference
from calibration.nominal import FRAMES_PER_WINDOW
from calibration.sums import RawSums, combined

LEAST_PAIRS = 3
ENOUGH = 5e-4  # relative standard error of a point's power at which it is steady enough
LONGEST_WINDOWS = 60
UNSTEADY = 3.0  # times the scatter that the meter's noise explains
UNSTEADY_LEAST = 0.004


@dataclass(frozen=True, slots=True)
class Pair:
    """One stretch: the meter's sums, and the means of what the reference read meanwhile."""

    sums: RawSums
    reference: Reference


@dataclass(frozen=True, slots=True)
class Spread:
    """How a load's stretches scatter: relative standard errors of the means."""

    gain: float  # of reference over meter, in power
    volts: float
    phase_rad: float


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Whether a load has been watched long enough; `error` is relative, of its power."""

    error: float
    enough: bool
    restless: bool  # the load itself changes
    windows: int


def merged(channel: str, pairs: Sequence[Pair]) -> LoadPoint:
    """Return all stretches as one point, weighted by their windows."""
    n = sum(pair.sums.windows for pair in pairs)

    def mean(values: Sequence[float]) -> float:
        return sum(pair.sums.windows * x for pair, x in zip(pairs, values, strict=True)) / n

    reference = Reference(
        v=mean([pair.reference.v for pair in pairs]),
        i=mean([pair.reference.i for pair in pairs]),
        p=mean([pair.reference.p for pair in pairs]),
    )
    return LoadPoint(channel, combined([pair.sums for pair in pairs]), reference)


def spread(channel: str, pairs: Sequence[Pair]) -> Spread:
    """Return the scatter among stretches (type A of the GUM, JCGM 100:2008, 4.2)."""
    powers = [_power(pair.sums, channel) for pair in pairs]
    gains = [pair.reference.p / abs(z) for pair, z in zip(pairs, powers, strict=True)]
    volts = [pair.reference.v / pair.sums.v_rms for pair in pairs]
    mean = sum(powers)
    angles = [math.atan2((z / mean).imag, (z / mean).real) for z in powers]
    few = _few(len(pairs))
    return Spread(
        gain=standard_error(gains) * few,
        volts=standard_error(volts) * few,
        phase_rad=_deviation(angles) / math.sqrt(len(angles)) * few,
    )


def _few(n: int) -> float:
    """Return by how much few stretches tell too little of their scatter.

    The standard deviation of Student's t with n - 1 degrees of freedom (GUM Supplement 1,
    JCGM 101:2008, 6.4.9.4); of three or fewer there is none, so that of four counts.
    """
    n = max(n, LEAST_PAIRS + 1)
    return math.sqrt((n - 1) / (n - 3))


def standard_error(values: Sequence[float]) -> float:
    """Return the relative standard error of the mean; one value has none that can be seen."""
    mean = sum(values) / len(values)
    return _deviation(values) / math.sqrt(len(values)) / abs(mean) if mean else math.inf


def _deviation(values: Sequence[float]) -> float:
    n = len(values)
    if n < 2:  # noqa: PLR2004 - a single value does not scatter
        return 0.0
    mean = sum(values) / n
    return math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1))


def steadiness(channel: str, parts: Sequence[RawSums], idle_rms: float) -> Steadiness:
    """Tell whether a load has been measured long enough, and whether it keeps still.

    `idle_rms` is the open clamp's noise in codes: what scatters more than it explains is
    the load itself.
    """
    windows = sum(part.windows for part in parts)
    if len(parts) < LEAST_PAIRS:
        return Steadiness(math.inf, enough=False, restless=False, windows=windows)
    # Per V² the mains' own swings cancel: a resistance's power follows them.
    powers = [abs(_power(part, channel)) / part.v_rms**2 for part in parts]
    error = standard_error(powers)
    each = error * math.sqrt(len(parts))
    mean = sum(powers) / len(powers)
    frames = windows / len(parts) * FRAMES_PER_WINDOW
    v_rms = sum(part.v_rms for part in parts) / len(parts)
    explained = idle_rms / v_rms / math.sqrt(frames) / mean if mean else math.inf
    restless = each > max(UNSTEADY * explained, UNSTEADY_LEAST)
    done = error <= ENOUGH or windows >= LONGEST_WINDOWS
    return Steadiness(error, enough=done and not restless, restless=restless, windows=windows)


def settled(channel: str, pairs: Sequence[Pair], idle_rms: float) -> Steadiness:
    """Tell whether a load is known well enough: what the meter saw, and the reference's readings.

    A reference that scatters takes longer: until its means stand as firm as the meter's own.
    """
    state = steadiness(channel, [pair.sums for pair in pairs], idle_rms)
    if len(pairs) < LEAST_PAIRS:
        return state
    scatter = spread(channel, pairs)
    error = max(state.error, scatter.gain, scatter.volts)
    firm = error <= ENOUGH or state.windows >= LONGEST_WINDOWS
    return replace(state, error=error, enough=state.enough and firm)


def _power(sums: RawSums, channel: str) -> complex:
    row = sums.channels[channel]
    return complex(row.p, row.q)
