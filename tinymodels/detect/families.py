"""Which charts belong together: each family of them raises an alarm of its own."""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np

from tinymodels.detect.minutes import Floats

# The second opinion stands with power, the rule of the highest voltage with voltage. These four
# were chosen of one, three, four, five and more on months before those of the judgement: more of
# them cost more false alarms than they find faults.
FAMILIES: Final = ("voltage", "power", "reactive", "special")
VOLTAGE, POWER, REACTIVE, SPECIAL = range(len(FAMILIES))
OF_CHARTS: Final = (VOLTAGE, POWER, REACTIVE)
_NAMED: Final = {
    VOLTAGE: {
        "voltage", "voltage_max", "voltage_given_power", "jump",
        "slope_2h", "slope_day", "slope_week",
    },
    REACTIVE: {"reactive", "reactive_given_power", "reactive_base", "power_factor"},
}  # fmt: skip


@functools.cache
def members(charts: tuple[str, ...], family: int) -> list[int]:
    """Return the places of a family's charts; power's are those that no other names."""
    others = _NAMED[VOLTAGE] | _NAMED[REACTIVE]
    return [
        at
        for at, name in enumerate(charts)
        if (name not in others if family == POWER else name in _NAMED.get(family, ()))
    ]


def by_family(ratios: Floats, charts: Sequence[str]) -> Floats:
    """Return the greatest of each family of charts, (…, chart) -> (…, OF_CHARTS); 0 of none."""
    names = tuple(charts)
    parts = [ratios[..., members(names, one)].max(axis=-1, initial=0.0) for one in OF_CHARTS]
    return np.stack(parts, axis=-1)
