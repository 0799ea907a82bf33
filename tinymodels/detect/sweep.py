"""Features of many blocks at once: what `Signals.close` gives for one after the other, to the bit.

Windows are shifts of whole columns, exponential sums one short loop each. A sweep goes on from
any state and leaves the one that the blocks lead to, so that live and whole can follow each other.
"""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinymodels.detect.blocks import Block, block_table
from tinymodels.detect.minutes import STEP_MS, Floats, Minutes, Times
from tinymodels.detect.signals import (
    BASE_MS,
    DAY_HOURS,
    ENOUGH,
    HOLE_MS,
    HOUR_MS,
    INDEX,
    LEAST_VA,
    NAMES,
    POWER_SCALE_W,
    PRIOR_KW2,
    PRIOR_V_PER_KW,
    REACTIVE_SCALE_VAR,
    SHORT_MS,
    SLOPES_MS,
    STEP_SCALE_W,
    Signals,
    dump,
)
from tinymodels.detect.supply_law import LEAST_KW2, SupplyLaw

PLACE: Final = {name: number for number, name in enumerate(Block._fields)}
# What is summed over a quarter of an hour.
SUMMED: Final = (
    "p_n", "p_sum", "p_negative", "v_n", "v_sum", "q_n", "q_sum", "va_n", "va_sum", "va_p_sum",
)  # fmt: skip
SHORT_BLOCKS: Final = SHORT_MS // STEP_MS
BASE_BLOCKS: Final = BASE_MS // STEP_MS
HOUR_BLOCKS: Final = HOUR_MS // STEP_MS


def featurise(minutes: Minutes) -> tuple[Times, Floats]:
    """Return starts and features (columns as NAMES) of all blocks that are over.

    The last block is not: nothing has come after it, so live nobody knows it to be complete.
    """
    return featurise_marked(minutes, ())[:2]


def featurise_marked(
    minutes: Minutes, marks_ms: Collection[int], *, ended: bool = False
) -> tuple[Times, Floats, dict[int, bytes]]:
    """Return `featurise`'s, and the states (`dump`) before the first block from each mark on.

    `ended`: the last block is over too, nothing more will come.
    """
    table = block_table(minutes)
    if not ended and len(table) and table[-1, 0] // STEP_MS == minutes.start_ms[-1] // STEP_MS:
        table = table[:-1]
    signals, states, values = Signals(), {}, np.empty((len(table), len(NAMES)))
    low = 0
    for mark_ms in sorted(marks_ms):
        high = int(np.searchsorted(table[:, 0], mark_ms))
        values[low:high] = sweep(signals, table[low:high])
        states[mark_ms], low = dump(signals), high
    values[low:] = sweep(signals, table[low:])
    return table[:, 0].astype(np.int64), values, states


def sweep(signals: Signals, table: Floats) -> Floats:
    """Take in blocks (rows of `block_table`), later than all before; return their features."""
    starts = table[:, 0].astype(np.int64)
    out = np.empty((len(table), len(NAMES)))
    holes = np.flatnonzero(np.diff(starts, prepend=signals.last_ms) > HOLE_MS).tolist()
    edges = sorted({0, *holes, len(table)})
    for low, high in pairwise(edges):
        if low in holes:
            signals.restart(int(starts[low]))
        out[low:high] = _without_hole(signals, table[low:high], starts[low:high])
    return out


def _without_hole(signals: Signals, table: Floats, starts: Times) -> Floats:
    """Return the features of blocks none of which is six hours after another, nor after before."""
    out = np.empty((len(table), len(NAMES)))
    before_ms = signals.last[-1].start_ms if signals.last else int(starts[0]) - STEP_MS
    since_ms = np.diff(starts, prepend=before_ms)
    power_w = _fifteen(signals, table, out)
    age_ms = starts + STEP_MS - signals.began_ms
    _lowest(signals, table, starts, out)
    _put(out, "floor", _asinh(_floor(signals, starts, power_w) / POWER_SCALE_W))
    _means(signals, table, since_ms, out)
    lately = age_ms < ENOUGH * BASE_MS
    daily = age_ms < ENOUGH * DAY_HOURS * HOUR_MS
    for name in ("base", "reactive_base", "cycling"):
        out[lately, INDEX[name]] = math.nan
    for name in ("floor", "day"):
        out[daily, INDEX[name]] = math.nan
    at = [INDEX[name] for name in ("hidden", "reversed", "supply")]
    out[:, at] = _law(signals.law, table, since_ms)
    signals.last_ms, signals.since_ms = int(starts[-1]), int(since_ms[-1])
    return out


def _fifteen(signals: Signals, table: Floats, out: Floats) -> Floats:
    """Put in what quarters of an hour say; return their mean power."""
    known = np.array(signals.last, dtype=np.float64).reshape(-1, table.shape[1])
    whole, first = np.concatenate((known, table)), len(known)
    starts = whole[:, 0].astype(np.int64)
    columns = whole[:, [PLACE[name] for name in SUMMED]]
    most = np.where(_column(whole, "v_n") > 0, _column(whole, "v_max"), math.nan)
    now, before = np.zeros_like(columns), np.zeros_like(columns)
    highest = most.copy()
    for back in range(SHORT_BLOCKS, -1, -1):  # the oldest first, as a sum over them goes
        earlier, gap_ms = _shifted(columns, back), starts - _shifted(starts, back)
        now += np.where(_near(gap_ms, back, SHORT_MS - 1)[:, None], earlier, 0.0)
        if back:
            before += np.where(_near(gap_ms, back, SHORT_MS)[:, None], earlier, 0.0)
            near = _near(gap_ms, back, SHORT_MS - 1)
            highest = np.fmax(highest, np.where(near, _shifted(most, back), math.nan))
    signals.last = [
        Block._make([int(row[0]), *row[1:]])
        for row in whole[starts >= starts[-1] - SHORT_MS].tolist()
    ]
    return _quarters(table, now[first:], before[first:], highest[first:], out)


def _quarters(table: Floats, now: Floats, before: Floats, highest: Floats, out: Floats) -> Floats:
    """Put in what follows from the sums (SUMMED) of quarters and of those before a block."""
    n, p, negative, v_n, v, q_n, q, va_n, va, va_p = now.T
    power_w = np.asarray(p / n, dtype=np.float64)
    apparent: Floats = _over(va, va_n)
    real: Floats = _over(va_p, va_n)
    volts = _over(_column(table, "v_sum"), _column(table, "v_n"))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = np.where(apparent >= LEAST_VA, np.minimum(np.abs(real) / apparent, 1.0), math.nan)
    own_kw = _column(table, "p_sum") / _column(table, "p_n") / 1000
    _put(out, "power", _asinh(power_w / POWER_SCALE_W))
    _put(out, "voltage", _over(v, v_n))
    _put(out, "voltage_max", highest)
    _put(out, "reactive", _asinh(_over(q, q_n) / REACTIVE_SCALE_VAR))
    _put(out, "export", _asinh(negative / n / POWER_SCALE_W))
    _put(out, "power_factor", factor)
    _put(out, "kilowatts", power_w / 1000)
    _put(out, "volts", volts)
    _put(out, "jump", volts - _over(before[:, 4], before[:, 3]))
    _put(out, "kilowatt_jump", own_kw - _over(before[:, 1], before[:, 0]) / 1000)
    return power_w


def _lowest(signals: Signals, table: Floats, starts: Times, out: Floats) -> None:
    """Put in the least power and reactive power of two hours."""
    known = np.array(signals.lately, dtype=np.float64).reshape(-1, 3)
    power_w = _column(table, "p_sum") / _column(table, "p_n")
    var = _over(_column(table, "q_sum"), _column(table, "q_n"))
    whole: Floats = np.concatenate((known, np.column_stack((starts, power_w, var))))
    at_ms, values = whole[:, 0].astype(np.int64), whole[:, 1:]
    least = np.array(values, dtype=np.float64)
    for back in range(1, BASE_BLOCKS):
        near = _near(at_ms - _shifted(at_ms, back), back, BASE_MS - 1)
        least = np.fmin(least, np.where(near[:, None], _shifted(values, back), math.nan))
    _put(out, "base", _asinh(least[len(known) :, 0] / POWER_SCALE_W))
    _put(out, "reactive_base", _asinh(least[len(known) :, 1] / REACTIVE_SCALE_VAR))
    kept = whole[at_ms > at_ms[-1] - BASE_MS].tolist()
    signals.lately = [(int(start), watts, var_) for start, watts, var_ in kept]


def _floor(signals: Signals, starts: Times, power_w: Floats) -> Floats:
    """Return the least power of a quarter of an hour in this hour and the 23 before it."""
    hour, least = starts // HOUR_MS, power_w.copy()
    for back in range(1, HOUR_BLOCKS):
        near = _near(hour - _shifted(hour, back), back, 0)
        least = np.where(near, np.minimum(least, _shifted(power_w, back)), least)
    known = list(signals.hours)
    if known and known[-1][0] == hour[0]:
        least[hour == hour[0]] = np.minimum(least[hour == hour[0]], known.pop()[1])
    ends = np.flatnonzero(np.diff(hour, append=hour[-1] + 1))
    hours = np.array([at for at, _ in known] + hour[ends].tolist(), dtype=np.int64)
    lows = np.array([low for _, low in known] + least[ends].tolist())
    earlier = np.full(len(hours), math.inf)
    for back in range(1, DAY_HOURS):
        near = _near(hours - _shifted(hours, back), back, DAY_HOURS - 1)
        earlier = np.minimum(earlier, np.where(near, _shifted(lows, back), math.inf))
    kept = hours > hours[-1] - DAY_HOURS
    signals.hours = list(zip(hours[kept].tolist(), lows[kept].tolist(), strict=True))
    result: Floats = np.minimum(least, earlier[np.searchsorted(hours, hour)])
    return result


def _means(signals: Signals, table: Floats, since_ms: Times, out: Floats) -> None:
    """Put in the exponential means and the slopes."""
    n = _column(table, "step_n")
    power_w = _column(table, "p_sum") / _column(table, "p_n")
    steps = np.where(n > 0, n * _over(_column(table, "step_sum"), n), 0.0)
    cycles = np.where(n > 0, n * _over(_column(table, "cycles"), n), 0.0)
    day, hour, four = (_kept(since_ms, hours * HOUR_MS) for hours in (24, 1, 4))
    mean, signals.day = _mean(signals.day, day, power_w, np.ones(len(n)))
    _put(out, "day", _asinh(mean / POWER_SCALE_W))
    mean, signals.steps = _mean(signals.steps, hour, steps, n)
    _put(out, "steps", _asinh(mean / STEP_SCALE_W))
    mean, signals.cycling = _mean(signals.cycling, four, cycles, n)
    _put(out, "cycling", 60 * mean)
    for number, (name, length_ms) in enumerate(
        zip(("slope_2h", "slope_day", "slope_week"), SLOPES_MS, strict=True)
    ):
        kept = _kept(since_ms, length_ms)
        square = _decayed(signals.slopes[number][0], kept, _column(table, "slope_pp"))
        product = _decayed(signals.slopes[number][1], kept, _column(table, "slope_pv"))
        signals.slopes[number] = float(square[-1]), float(product[-1])
        _put(out, name, (product + PRIOR_KW2 * PRIOR_V_PER_KW) / (square + PRIOR_KW2))


def _mean(
    pair: tuple[float, float], kept: list[float], news: Floats, weight: Floats
) -> tuple[Floats, tuple[float, float]]:
    """Return an exponential mean after each block, and its sum and weight at the end."""
    total, weights = _decayed(pair[0], kept, news), _decayed(pair[1], kept, weight)
    return _over(total, weights), (float(total[-1]), float(weights[-1]))


def _decayed(first: float, kept: list[float], news: Floats) -> Floats:
    """Return a sum after each block that keeps a part of itself and takes in the news."""
    out, now = [], first
    for part, new in zip(kept, news.tolist(), strict=True):
        now = part * now + new
        out.append(now)
    return np.array(out)


def _kept(since_ms: Times, length_ms: int) -> list[float]:
    """Return what is left of an exponential sum of this length after each gap."""
    gaps, which = np.unique(since_ms, return_inverse=True)
    left = np.array([math.exp(-gap / length_ms) for gap in gaps.tolist()])
    result: list[float] = left[which].tolist()
    return result


def _law(law: SupplyLaw, table: Floats, since_ms: Times) -> Floats:
    """Return what the supply's law says of each block; most have no step that tells it anything."""
    square, product = _column(table, "slope_pp"), _column(table, "slope_pv")
    active = np.flatnonzero(square >= LEAST_KW2)
    quiet = [(max(law.hidden), law.reversed, law.slope())]  # after each of them, and before
    told = []
    for pp, pv, gap in zip(
        square[active].tolist(), product[active].tolist(), since_ms[active].tolist(), strict=True
    ):
        told.append(law.add(pp, pv, gap))
        quiet.append((*told[-1][:2], law.slope()))
    out: Floats = np.array(quiet)[np.searchsorted(active, np.arange(len(table)), side="right")]
    out[active] = np.reshape(told, (len(told), 3))
    return out


def _column(table: Floats, name: str) -> Floats:
    column: Floats = table[:, PLACE[name]]
    return column


def _put(out: Floats, name: str, values: Floats) -> None:
    out[:, INDEX[name]] = values


def _shifted(values: NDArray[Any], back: int) -> NDArray[Any]:
    """Return each row's value so many rows before; the first rows have none (see `_near`)."""
    return np.concatenate((values[:1].repeat(back, axis=0), values))[: len(values)]


def _near(gap: Times, back: int, most: int) -> NDArray[np.bool_]:
    """Return whether there is a row so many rows before, at most this gap away."""
    near: NDArray[np.bool_] = gap <= most
    near[:back] = False
    return near


def _over(total: Floats, count: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.where(count != 0, total / count, math.nan)
    return result


def _asinh(values: Floats) -> Floats:
    """Return asinh as `math` rounds it: numpy's may differ in the last bit."""
    return np.array(list(map(math.asinh, values.tolist())))
