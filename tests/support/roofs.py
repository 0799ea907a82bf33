"""Solar roofs for tests: clear days, clouds that neighbours share, a string that is lost."""

from typing import Final

import numpy as np

from tinymodels.detect.minutes import VALUES, Minutes
from tinymodels.detect.solar import SLOT_MS

FROM_MS: Final = 1_767_571_200_000  # 2026-01-05 00:00 UTC
FAULT_DAY: Final = 100


def roof(
    days: int = 140, seed: int = 1, *, lost: float = 0.0, sky: int = 6, until: int = 10**6
) -> Minutes:
    """Return a roof by the half hour; `sky` seeds the clouds, which neighbours share.

    From FAULT_DAY to day `until` the part `lost` of its power is missing.
    """
    clouds, own = np.random.default_rng(sky), np.random.default_rng(seed)
    count = days * 48
    at = np.arange(count)
    shape = np.clip(np.sin(np.pi * ((at % 48) - 14) / 20), 0, None)
    cover = np.repeat(np.where(clouds.random(days) < 0.4, clouds.uniform(0.15, 0.7, days), 1), 48)
    season = 1 + 0.15 * np.sin(2 * np.pi * at / 48 / 365)
    power = 3000 * shape * cover * season * own.normal(1, 0.02, count)
    power[FAULT_DAY * 48 : until * 48] *= 1 - lost
    values = np.full((count, len(VALUES)), np.nan)
    values[:, :3] = power[:, None]
    return Minutes(FROM_MS + SLOT_MS * at, values)
