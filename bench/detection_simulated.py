"""Simulated homes as minutes: several supplies and habits, with voltage and reactive power."""

import numpy as np

from bench.common import progress
from bench.detection_data import Home
from simulation.home import Home as Simulated
from simulation.houses import family_house, flat, workshop
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, VALUES, Minutes

FROM_MS = 1_764_547_200_000  # 2025-12-01 00:00 UTC
DAYS, FIT_DAYS = 260, 60
CHUNK = 20 * 1440


def simulated(most: int) -> list[Home]:
    """Return up to three homes' grid channels: a family house with panels, a flat, a workshop."""
    return [_home(number, spec()) for number, spec in enumerate(SPECS[:most])]


SPECS = (family_house, flat, workshop)


def _home(number: int, spec: object) -> Home:
    home = Simulated(11 + number, spec, since_ms=FROM_MS, dt_ms=MINUTE_MS)  # type: ignore[arg-type]
    parts = []
    for first in range(0, DAYS * 1440, CHUNK):
        count = min(CHUNK, DAYS * 1440 - first)
        windows = home.windows(FROM_MS + first * MINUTE_MS, count)
        grid = windows.channels["grid"]
        values = np.full((count, len(VALUES)), np.nan)
        values[:, 0] = values[:, 1] = values[:, 2] = grid.p
        values[:, 3] = values[:, 4] = windows.v
        values[:, 5], values[:, 6] = grid.q, grid.i
        parts.append(values)
    name = f"simulated_{home.spec.name}"
    progress(f"  {name}: {DAYS} days made")
    starts = FROM_MS + MINUTE_MS * np.arange(DAYS * 1440)
    return Home(
        name,
        Minutes(starts, np.concatenate(parts)),
        FROM_MS + FIT_DAYS * DAY_MS,
        about="all of it simulated",
    )
