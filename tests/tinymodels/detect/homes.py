"""Minutes of a plausible home for tests of detectors, and faults in them."""

import functools

import numpy as np

from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, VALUES, Minutes

MIDNIGHT_MS = 1_748_732_400_000  # 2025-06-01 00:00 in Lisbon, a Sunday
SLOPE_V_PER_KW = -1.5


@functools.cache
def home(days: float, seed: int = 1, start_ms: int = MIDNIGHT_MS) -> Minutes:
    """Return base load, fridge, evening peak, cooking; voltage that sags with load."""
    rng = np.random.default_rng(seed)
    count = round(days * 1440)
    minute = np.arange(count)
    hour = minute / 60 % 24
    fridge = np.where((minute + rng.integers(50)) % 50 < 18, 90.0, 0.0)
    evening = 500 * np.exp(-(((hour - 20) / 2.5) ** 2))
    power = 120 + fridge + evening * rng.uniform(0.8, 1.2, count) + rng.normal(0, 6, count)
    for begin in np.flatnonzero((rng.random(count) < 0.006) & (hour > 7) & (hour < 22)):
        power[begin : begin + rng.integers(3, 25)] += rng.uniform(400, 2200)
    periods = rng.uniform(40, 700, 12)
    drift = 0.3 * np.sin(minute[:, None] / periods + rng.uniform(0, 6, 12)).sum(axis=1)
    volts = 233 + SLOPE_V_PER_KW * power / 1000 + np.sin(hour / 24 * 2 * np.pi) + drift
    volts += rng.normal(0, 0.4, count)
    var = 55 + 0.3 * fridge + 0.05 * power + rng.normal(0, 5, count)
    amps = np.hypot(power, var) / volts
    low, high = power - rng.uniform(0, 20, count), power + rng.uniform(0, 200, count)
    starts = start_ms + minute.astype(np.int64) * MINUTE_MS
    values = np.column_stack([power, low, high, volts, volts + 0.3, var, amps])
    return Minutes(starts, values)


def following(days: float, after_days: float, seed: int) -> Minutes:
    """Return other days of the home, after so many."""
    return home(days, seed, MIDNIGHT_MS + round(after_days * DAY_MS))


def changed(
    minutes: Minutes, from_ms: int, to_ms: int, *, add: dict[str, float] | None = None,
    times: dict[str, float] | None = None,
) -> Minutes:  # fmt: skip
    """Return minutes with columns changed in [from, to): `times` a factor, plus `add`."""
    values = minutes.values.copy()
    rows = (minutes.start_ms >= from_ms) & (minutes.start_ms < to_ms)
    for number, name in enumerate(VALUES):
        values[rows, number] *= (times or {}).get(name, 1.0)
        values[rows, number] += (add or {}).get(name, 0.0)
    return Minutes(minutes.start_ms, values)
