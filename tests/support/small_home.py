"""Minutes of a home made of a few formulas: quick to make, alike every day, never the same."""

import numpy as np

from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes

MONDAY_MS = 1_780_272_000_000  # 2026-06-01 00:00 UTC
OHM = 0.0018  # the supply drops by 1.8 V for each kW


def small_home(days: float, *, seed: int = 1, from_ms: int = MONDAY_MS) -> Minutes:
    """Return so many days of minutes: fridge, cooking, evenings; supply with a daily swing."""
    wild = np.random.default_rng(seed)
    count = int(days * DAY_MS / MINUTE_MS)
    start_ms = from_ms + MINUTE_MS * np.arange(count, dtype=np.int64)
    hour = start_ms / 3_600_000 % 24
    fridge = 90.0 * ((np.arange(count) + seed * 7) % (38 + seed % 5) < 14)
    evening = (
        260.0 * np.exp(-(((hour - 20.5) / 2.2) ** 2)) * (1 + 0.2 * wild.standard_normal(count))
    )
    power_w: Floats = (
        70.0 + 8 * seed % 40 + fridge + np.maximum(evening, 0.0) + _kettles(wild, hour)
    )
    power_w += np.abs(6.0 * wild.standard_normal(count))
    var = -35.0 + 0.9 * fridge + 3.0 * wild.standard_normal(count)
    swing = 1.5 * np.sin(2 * np.pi * hour / 24) + _drift(wild, count)
    volts = 233.0 + swing - OHM * power_w + 0.25 * wild.standard_normal(count)
    amps = np.hypot(power_w, var) / volts
    most_v = volts + np.abs(0.3 * wild.standard_normal(count))
    return Minutes(
        start_ms,
        np.stack([power_w, 0.95 * power_w, 1.1 * power_w, volts, most_v, var, amps], axis=1),
    )


def _kettles(wild: np.random.Generator, hour: Floats) -> Floats:
    """Return 2 kW for three minutes, mostly in the morning and in the evening."""
    likely = 0.002 + 0.03 * (np.abs(hour - 7.5) < 1) + 0.02 * (np.abs(hour - 19) < 1.5)
    begins = wild.random(len(hour)) < likely * (hour > 6)
    on = np.convolve(begins, np.ones(3), mode="full")[: len(hour)] > 0
    return np.where(on, np.float64(2000.0), np.float64(0.0))


def _drift(wild: np.random.Generator, count: int) -> Floats:
    """Return slow changes of the supply's voltage, about half a volt."""
    steps = 0.5 * wild.standard_normal(count // 60 + 2)
    result: Floats = np.interp(np.arange(count) / 60, np.arange(len(steps)), steps)
    return result
