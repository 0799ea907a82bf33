"""Features of a channel's minutes, one vector per five minutes, as they come live.

`tinymodels.detect.sweep` makes the same of a whole history, for fitting and judging.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from tinymodels.detect.blocks import Block, blocks
from tinymodels.detect.minutes import MINUTE_MS, STEP_MS, Minutes, Row
from tinymodels.detect.supply_law import SupplyLaw

VERSION: Final = 2
HOUR_MS: Final = 60 * MINUTE_MS
# Powers are compressed so that a kettle and a phone charger weigh alike: about linear below
# 50 W, logarithmic above, and defined for export too.
POWER_SCALE_W: Final = 50.0
REACTIVE_SCALE_VAR: Final = 100.0
STEP_SCALE_W: Final = 20.0
LEAST_VA: Final = 20.0  # below this apparent power a power factor is mostly noise
SHORT_MS: Final = 3 * STEP_MS  # mean and maximum are over 15 minutes
BASE_MS: Final = 2 * HOUR_MS
HOLE_MS: Final = 6 * HOUR_MS  # after so long without data everything starts anew
# A window counts once what is known of it reaches back over this part.
ENOUGH: Final = 0.75
DAY_HOURS: Final = 24
# A supply of 2 V/kW is taken for granted until steps of this much have been seen (kW²).
PRIOR_KW2: Final = 2.0
PRIOR_V_PER_KW: Final = -2.0

# Asinh-compressed W: power (mean of 15 min), base (least 5 min of 2 h), floor (least 15 min of
# a day), day (exponential mean). Volts: voltage, voltage_max (15 min), jump (5 min against
# the 15 before). Compressed var: reactive, reactive_base. steps: mean change per minute over an
# hour; cycling: switchings per hour over 4 h; export: power that is negative; power_factor;
# slope_2h, slope_day, slope_week: dV/dP in V/kW by exponential sums; kilowatts and kilowatt_jump
# are what voltage is judged against; volts: the mean of the five minutes.
NAMES: Final = (
    "power", "base", "floor", "day", "voltage", "voltage_max", "jump", "reactive",
    "reactive_base", "steps", "cycling", "export", "power_factor",
    "slope_2h", "slope_day", "slope_week", "kilowatts", "kilowatt_jump", "volts",
    "hidden", "reversed", "supply",
)  # fmt: skip
INDEX: Final = {name: number for number, name in enumerate(NAMES)}
SLOPES_MS: Final = (2 * HOUR_MS, 24 * HOUR_MS, 96 * HOUR_MS)
_WATTS: Final = frozenset({"power", "base", "floor", "day", "export"})


class Signals(Struct, array_like=True):
    """What the features need of earlier minutes; `add` takes them one at a time."""

    rows: list[Row] = field(default_factory=list)  # the open block's, after one row before it
    before: int = 0  # how many of `rows` belong to the block before
    last_ms: int = -HOLE_MS
    began_ms: int = 0
    last: list[Block] = field(default_factory=list)  # of the last 20 minutes
    lately: list[tuple[int, float, float]] = field(default_factory=list)  # 2 h: start, W, var
    hours: list[tuple[int, float]] = field(default_factory=list)
    # Exponential means: value and weight.
    day: tuple[float, float] = (0.0, 0.0)
    steps: tuple[float, float] = (0.0, 0.0)
    cycling: tuple[float, float] = (0.0, 0.0)
    # Exponential sums over SLOPES_MS of kW² and of kW·V.
    slopes: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)] * 3)
    law: SupplyLaw = field(default_factory=SupplyLaw)
    since_ms: int = 0  # from the last block to the one before

    def add(self, row: Row) -> tuple[int, list[float]] | None:
        """Take in one minute; return start and features of the block it shows to be over."""
        done = None
        kept = self.rows
        if len(kept) > self.before and row.start_ms // STEP_MS != kept[-1].start_ms // STEP_MS:
            found = blocks(Minutes.from_rows(kept), self.before)
            self.rows, self.before = kept[-1:], 1
            if found:
                done = found[0].start_ms, self.close(found[0])
        self.rows.append(row)
        return done

    def close(self, block: Block) -> list[float]:
        """Take in one block, later than all before; return its features (NaN = unknown)."""
        start_ms = block.start_ms
        if start_ms - self.last_ms > HOLE_MS:
            self.restart(start_ms)
        self.last_ms = start_ms
        before_v, before_kw = self._before(start_ms)
        self._remember(block)
        power_w = block.p_sum / block.p_n
        volts = _over(block.v_sum, block.v_n)
        fifteen = self._fifteen(start_ms)
        age_ms = start_ms + STEP_MS - self.began_ms
        lately = age_ms >= ENOUGH * BASE_MS
        daily = age_ms >= ENOUGH * DAY_HOURS * HOUR_MS
        base_w = min(watts for _, watts, _ in self.lately)
        base_var = min((var for _, _, var in self.lately if not math.isnan(var)), default=math.nan)
        floor_w = min(power for _, power in self.hours)
        return [
            fifteen[0],
            compress(base_w) if lately else math.nan,
            compress(floor_w) if daily else math.nan,
            compress(_mean(self.day)) if daily else math.nan,
            *fifteen[1:3],
            volts - before_v,
            fifteen[3],
            math.asinh(base_var / REACTIVE_SCALE_VAR) if lately else math.nan,
            math.asinh(_mean(self.steps) / STEP_SCALE_W),
            60 * _mean(self.cycling) if lately else math.nan,
            *fifteen[4:6],
            *(_slope(sums) for sums in self.slopes),
            fifteen[6],
            power_w / 1000 - before_kw,
            volts,
            *self.law.add(block.slope_pp, block.slope_pv, self.since_ms),
        ]

    def restart(self, start_ms: int) -> None:
        """Begin anew after a hole: forget everything but the open block's minutes."""
        rows, before, law = self.rows, self.before, self.law
        fresh = Signals()
        for name in Signals.__struct_fields__:
            setattr(self, name, getattr(fresh, name))
        self.rows, self.before, self.began_ms = rows, before, start_ms
        self.law = law  # a hole changes no cable
        self.last_ms = start_ms - STEP_MS

    def _remember(self, block: Block) -> None:
        """Update windows and exponential means."""
        start_ms = block.start_ms
        since_ms = start_ms - (self.last[-1].start_ms if self.last else start_ms - STEP_MS)
        self.since_ms = since_ms
        self.last = [item for item in self.last if item.start_ms >= start_ms - SHORT_MS]
        self.last.append(block)
        power_w = block.p_sum / block.p_n
        oldest_ms = start_ms - BASE_MS
        self.lately = [item for item in self.lately if item[0] > oldest_ms]
        self.lately.append((start_ms, power_w, _over(block.q_sum, block.q_n)))
        self._floor(start_ms)
        self.day = _ew(self.day, power_w, 1.0, since_ms / (24 * HOUR_MS))
        hourly = since_ms / HOUR_MS
        minutes = block.step_n
        self.steps = _ew(self.steps, _over(block.step_sum, minutes), minutes, hourly)
        self.cycling = _ew(self.cycling, _over(block.cycles, minutes), minutes, hourly / 4)
        for number, length_ms in enumerate(SLOPES_MS):
            kept = math.exp(-since_ms / length_ms)
            square, product = self.slopes[number]
            self.slopes[number] = kept * square + block.slope_pp, kept * product + block.slope_pv

    def _before(self, start_ms: int) -> tuple[float, float]:
        """Return mean voltage and kilowatts of the quarter of an hour before a block."""
        last = [item for item in self.last if item.start_ms >= start_ms - SHORT_MS]
        volts = _over(sum(item.v_sum for item in last), sum(item.v_n for item in last))
        return volts, _over(sum(i.p_sum for i in last), sum(i.p_n for i in last)) / 1000

    def _floor(self, start_ms: int) -> None:
        """Keep the least 15-minute mean of each hour of the last day."""
        last = [item for item in self.last if item.start_ms > start_ms - SHORT_MS]
        power_w = sum(item.p_sum for item in last) / sum(item.p_n for item in last)
        hour = start_ms // HOUR_MS
        self.hours = [item for item in self.hours if item[0] > hour - DAY_HOURS]
        if self.hours and self.hours[-1][0] == hour:
            power_w = min(power_w, self.hours.pop()[1])
        self.hours.append((hour, power_w))

    def _fifteen(self, start_ms: int) -> list[float]:
        """Return power, voltage, its maximum, reactive, export, power factor, kilowatts."""
        last = [item for item in self.last if item.start_ms > start_ms - SHORT_MS]
        minutes = sum(item.p_n for item in last)
        power_w = sum(item.p_sum for item in last) / minutes
        reactive = _over(sum(item.q_sum for item in last), sum(item.q_n for item in last))
        apparent = _over(sum(item.va_sum for item in last), sum(item.va_n for item in last))
        real = _over(sum(item.va_p_sum for item in last), sum(item.va_n for item in last))
        return [
            compress(power_w),
            _over(sum(item.v_sum for item in last), sum(item.v_n for item in last)),
            max((item.v_max for item in last if item.v_n), default=math.nan),
            math.asinh(reactive / REACTIVE_SCALE_VAR),
            compress(sum(item.p_negative for item in last) / minutes),
            min(abs(real) / apparent, 1.0) if apparent >= LEAST_VA else math.nan,
            power_w / 1000,
        ]


def natural(name: str, value: float) -> tuple[float, str]:
    """Return a feature's value in its natural unit, and that unit ("" = none)."""
    if name in _WATTS:
        return math.sinh(value) * POWER_SCALE_W, "W"
    if name in ("reactive", "reactive_base"):
        return math.sinh(value) * REACTIVE_SCALE_VAR, "var"
    if name == "steps":
        return math.sinh(value) * STEP_SCALE_W, "W/min"
    if name.startswith("slope") or name == "supply":
        return value, "V/kW"
    if name in ("voltage", "voltage_max", "jump"):
        return value, "V"
    return value, "/h" if name == "cycling" else ""


def dump(signals: Signals) -> bytes:
    """Return the state as msgpack."""
    return msgspec.msgpack.encode(signals)


def compress(power_w: float) -> float:
    """Return a power in W on the models' compressed scale."""
    return math.asinh(power_w / POWER_SCALE_W)


def _over(total: float, count: float) -> float:
    return total / count if count else math.nan


def _mean(pair: Sequence[float]) -> float:
    return pair[0] / pair[1] if pair[1] else math.nan


def _ew(pair: tuple[float, float], value: float, weight: float, age: float) -> tuple[float, float]:
    """Return exponential sum and weight after `age` time constants; weight 0 is no news."""
    kept = math.exp(-age)
    if not weight:
        return kept * pair[0], kept * pair[1]
    return kept * pair[0] + weight * value, kept * pair[1] + weight


def _slope(sums: tuple[float, float]) -> float:
    """Return dV/dP in V/kW, drawn to the usual one while few steps have been seen."""
    square, product = sums
    return (product + PRIOR_KW2 * PRIOR_V_PER_KW) / (square + PRIOR_KW2)
