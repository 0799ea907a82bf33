"""Random numbers by place, not by order: any instant can be asked for first."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# splitmix64, Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stream(*key: int) -> np.random.Generator:
    """Return a generator that belongs to this key alone; every part is >= 0."""
    return np.random.default_rng(list(key))


def smooth(key: tuple[int, int], at_ms: Ints, period_ms: int) -> Floats:
    """Return unit-variance noise that wanders over about `period_ms`.

    Independent normal values stand at multiples of the period and are blended
    with weights whose squares sum to 1, so that the variance is 1 everywhere.
    """
    knots, rest = np.divmod(at_ms, period_ms)
    angle = rest * (np.pi / 2 / period_ms)
    first, last = int(knots[0]), int(knots[-1]) + 1
    values = normal_at(key, np.arange(first, last + 1))
    near = values[knots - first] * np.cos(angle)
    return np.asarray(near + values[knots - first + 1] * np.sin(angle))


def normal_at(key: tuple[int, int], index: Ints) -> Floats:
    """Return one standard normal number for each index (Box-Muller)."""
    salt = _mix(np.array(key, dtype=np.uint64))
    base = index.astype(np.uint64) * np.uint64(2) + salt[0] + _rotate(salt[1])
    radius = np.sqrt(-2 * np.log(_unit(base)))
    return np.asarray(radius * np.cos(2 * np.pi * _unit(base + np.uint64(1))))


def _unit(counter: NDArray[np.uint64]) -> Floats:
    """Map counters to the open interval (0, 1)."""
    bits = _mix(counter) >> np.uint64(11)
    return np.asarray((bits.astype(np.float64) + 0.5) / 2.0**53)


def _mix(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble counters; neighbours become unrelated."""
    z = counter * _GOLDEN + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def _rotate(value: np.uint64) -> np.uint64:
    """Turn the bits so that the two parts of a key do not cancel."""
    return (value << np.uint64(17)) | (value >> np.uint64(47))
