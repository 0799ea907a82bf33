"""Sequential tests and floors that each look for one fault; they have levels of their own.

`hidden` and `reversed` are of the supply's law (tinymodels.detect.supply_law); `long_base` is
the least power of four hours, which few homes hold above a kilowatt and a stuck heater does.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tinymodels.detect.limits import nth_event
from tinymodels.detect.minutes import Floats, Times
from tinymodels.detect.signals import BASE_MS, INDEX, POWER_SCALE_W

NAMES: Final = ("hidden", "reversed", "long_base")
# Their levels lie this much above whatever was reached in the history: they cost next to nothing
# of a budget, and no budget moves them.
MARGINS: Final = (1.3, 1.3, 1.05)  # a CUSUM goes a little higher now and then
# No level lies below: nats, nats, and W above the usual.
LEAST: Final = (4.0, 4.0, 500.0)


def specials(starts: Times, values: Floats, before: Sequence[tuple[int, float]] = ()) -> Floats:
    """Return what each says of each block (columns as NAMES), 0 where it is unknown.

    `before` are starts and bases of earlier blocks, of the last two hours or more.
    """
    base = values[:, INDEX["base"]]
    known = np.concatenate((np.array([at for at, _ in before], dtype=np.int64), starts))
    bases = np.concatenate((np.array([value for _, value in before], dtype=np.float64), base))
    place = np.searchsorted(known, starts - BASE_MS)
    earlier = np.where(known[place] == starts - BASE_MS, bases[place], np.nan)
    long_w = np.sinh(np.minimum(base, earlier)) * POWER_SCALE_W
    columns = (values[:, INDEX["hidden"]], values[:, INDEX["reversed"]], long_w)
    return np.nan_to_num(np.column_stack(columns))


def levels(starts: Times, found: Floats) -> tuple[float, ...]:
    """Return the value of each that counts: above all that a history of them reached."""
    chosen = []
    for column, least, margin in zip(found.T, LEAST, MARGINS, strict=True):
        usual = float(np.median(column))
        top = margin * nth_event(starts, column, 1)
        chosen.append(max(top, usual + least))
    return tuple(chosen)
