"""Blocks of five minutes: the sums over a channel's minutes that features are made of."""

from typing import NamedTuple

import numpy as np

from tinymodels.detect.minutes import MINUTE_MS, STEP_MS, Floats, Minutes, Times

# Smaller changes between minutes say more of the supply's own voltage than of this channel.
SLOPE_LEAST_W = 100.0
# A motor or a thermostat going on or off: fridge, freezer, pump.
CYCLE_LEAST_W, CYCLE_MOST_W = 40.0, 400.0
# Minutes that are not neighbours show no step.
NEIGHBOUR_MS = 2 * MINUTE_MS


class Block(NamedTuple):
    """Sums over one block's minutes; `*_n` count the minutes that knew the value.

    Watts, volts, var and VA; `slope_pp` in kW², `slope_pv` in kW·V.
    """

    start_ms: int
    p_n: float
    p_sum: float
    p_negative: float
    v_n: float
    v_sum: float
    v_max: float
    q_n: float
    q_sum: float
    va_n: float
    va_sum: float
    va_p_sum: float
    step_n: float
    step_sum: float
    cycles: float
    slope_pp: float
    slope_pv: float


def blocks(minutes: Minutes, first: int = 0) -> list[Block]:
    """Return the blocks of the minutes from number `first` on (earlier ones give the steps).

    Only blocks in which power is known are returned.
    """
    return [Block._make([int(row[0]), *row[1:]]) for row in block_table(minutes, first).tolist()]


def block_table(minutes: Minutes, first: int = 0) -> Floats:
    """Return `blocks` as rows; columns are the fields of Block."""
    if len(minutes) <= first:
        return np.empty((0, len(Block._fields)))
    columns = np.vstack(_columns(minutes))[:, first:]
    number = minutes.start_ms[first:] // STEP_MS
    edges = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
    sums = np.add.reduceat(columns[:-1], edges, axis=1)
    v_max = np.fmax.reduceat(columns[-1], edges)
    table = np.vstack((number[edges] * STEP_MS, sums[:5], v_max, sums[5:])).T
    result: Floats = table[table[:, 1] > 0]
    return result


def _columns(minutes: Minutes) -> list[Floats]:
    """Return per minute what is summed, in the order of Block, and the greatest voltage last."""
    power, volts = minutes["p_mean_w"], minutes["v_mean_v"]
    q_var, most_v = minutes["q_mean_var"], np.fmax(minutes["v_max_v"], volts)
    apparent = volts * minutes["i_mean_a"]
    apparent = np.where(np.isfinite(apparent), apparent, np.hypot(power, q_var))
    both = np.isfinite(apparent) & np.isfinite(power)
    return [
        *_counted(power),
        np.nan_to_num(np.minimum(power, 0.0)),
        *_counted(volts),
        *_counted(q_var),
        both.astype(np.float64),
        np.where(both, apparent, 0.0),
        np.where(both, power, 0.0),
        *_steps(minutes.start_ms, power, volts),
        most_v,
    ]


def _counted(values: Floats) -> tuple[Floats, Floats]:
    return np.isfinite(values).astype(np.float64), np.nan_to_num(values)


def _steps(start_ms: Times, power: Floats, volts: Floats) -> tuple[Floats, ...]:
    """Return what the change from the minute before says, 0 where there is none."""
    near = np.diff(start_ms, prepend=start_ms[:1] - 2 * NEIGHBOUR_MS) <= NEIGHBOUR_MS
    rise_w = np.diff(power, prepend=np.nan)
    rise_v = np.diff(volts, prepend=np.nan)
    known = near & np.isfinite(rise_w)
    size_w = np.where(known, np.abs(rise_w), 0.0)
    cycle = (size_w >= CYCLE_LEAST_W) & (size_w < CYCLE_MOST_W)
    large = known & np.isfinite(rise_v) & (size_w >= SLOPE_LEAST_W)
    rise_kw = np.where(large, rise_w / 1000, 0.0)
    return (
        known.astype(np.float64),
        size_w,
        cycle.astype(np.float64),
        rise_kw**2,
        rise_kw * np.where(large, rise_v, 0.0),
    )
