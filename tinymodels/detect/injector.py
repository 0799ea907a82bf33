"""Faults put into real minute series, as their physics would have it; seeded, one at a time.

Laws are those of the project's page on detection (docs/detection.md). What a fault leaves alone
it leaves alone: a bypass hides power from the clamp, not from the supply, so the voltage keeps its
whole drop. Magnitudes and lengths are uniform in the ranges of `LAWS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Times

HOUR_MS: Final = 60 * MINUTE_MS
# A supply's drop where a series cannot tell its own: the middle of what was measured, in V/kW.
USUAL_SLOPE_V_PER_KW: Final = -2.0
# About half of a home's power goes with the square of the voltage (heaters), the rest is held
# constant by its electronics. Chosen: the middle.
IMPEDANCE_PART: Final = 0.5
FRIDGE_TAN_PHI: Final = 0.6  # an induction motor at a power factor of .86
BASE_MINUTES: Final = 120


class FaultName(StrEnum):
    """What can be put into a series."""

    STUCK_HEATER = "stuck_heater"
    PHANTOM_LOAD = "phantom_load"
    SWELL = "swell"
    BYPASS = "bypass"
    POOR_PF = "poor_pf"
    REVERSED = "reversed"
    DRIFT = "drift"
    SENSOR_OFF = "sensor_off"
    FRIDGE = "fridge"
    PV_LOST = "pv_lost"


class Law(NamedTuple):
    """How long a fault lasts, how large it is, what it needs, and what is asked of a detector.

    `least`/`most` are in `unit`; `either_sign` draws the sign too. `limit_ms` is the time within
    which an alert counts, `target` the recall to reach in it (None: reported without a target).
    """

    least_ms: int
    most_ms: int
    least: float
    most: float
    unit: str
    limit_ms: int
    target: float | None
    needs: tuple[str, ...] = ()
    either_sign: bool = False


LAWS: Final[Mapping[FaultName, Law]] = {
    FaultName.STUCK_HEATER: Law(4 * HOUR_MS, 12 * HOUR_MS, 1000, 2000, "W", 5 * HOUR_MS, 0.85),
    FaultName.PHANTOM_LOAD: Law(3 * DAY_MS, 5 * DAY_MS, 80, 200, "W", 48 * HOUR_MS, 0.7),
    FaultName.SWELL: Law(
        10 * MINUTE_MS, 120 * MINUTE_MS, 1.06, 1.15, "times", 15 * MINUTE_MS, 0.95, ("v_mean_v",)
    ),
    FaultName.BYPASS: Law(3 * DAY_MS, 5 * DAY_MS, 0.3, 0.7, "times", 24 * HOUR_MS, 0.95),
    FaultName.POOR_PF: Law(DAY_MS, 3 * DAY_MS, 150, 400, "var", 6 * HOUR_MS, 0.95, ("q_mean_var",)),
    FaultName.REVERSED: Law(DAY_MS, 2 * DAY_MS, 1, 1, "", HOUR_MS, 0.98),
    FaultName.DRIFT: Law(14 * DAY_MS, 14 * DAY_MS, 0.15, 0.30, "share", 10 * DAY_MS, 0.9),
    FaultName.SENSOR_OFF: Law(
        2 * DAY_MS,
        5 * DAY_MS,
        0.02,
        0.04,
        "share",
        24 * HOUR_MS,
        None,
        ("v_mean_v",),
        either_sign=True,
    ),
    FaultName.FRIDGE: Law(2 * DAY_MS, 4 * DAY_MS, 80, 150, "W", 48 * HOUR_MS, None),
    FaultName.PV_LOST: Law(14 * DAY_MS, 14 * DAY_MS, 0.3, 0.5, "share", 7 * DAY_MS, None),
}

# What is put into a home's consumption; a lost string is put into a solar channel (faults_pv).
HOME_FAULTS: Final = tuple(name for name in FaultName if name is not FaultName.PV_LOST)


@dataclass(frozen=True, slots=True)
class Event:
    """One fault in `[start_ms, end_ms)`; `size` in the law's unit, signed where it has a sign."""

    fault: FaultName
    start_ms: int
    end_ms: int
    size: float
    seed: int

    @property
    def deadline_ms(self) -> int:
        """Return until when an alert counts: the law's limit."""
        return self.start_ms + LAWS[self.fault].limit_ms


def fits(fault: FaultName, span_ms: tuple[int, int]) -> bool:
    """Return whether a span is long enough for the longest event of a kind and its deadline."""
    law = LAWS[fault]
    return span_ms[1] - span_ms[0] > max(law.most_ms, law.limit_ms)


def plan(fault: FaultName, span_ms: tuple[int, int], count: int, seed: int) -> list[Event]:
    """Return `count` events spread evenly over a span, each at a random time of its share of it.

    The same seed gives the same events. ValueError where the span is shorter than one event.
    """
    law = LAWS[fault]
    room_ms = span_ms[1] - span_ms[0] - max(law.most_ms, law.limit_ms)
    if not fits(fault, span_ms) or count < 1:
        msg = f"{fault}: {count} events of up to {law.most_ms} ms do not fit the span"
        raise ValueError(msg)
    rng = np.random.default_rng([seed, *fault.encode()])
    events = []
    for number in range(count):
        from_ms = span_ms[0] + number * room_ms / count
        events.append(draw(fault, from_ms, room_ms / count, rng))
    return events


def draw(fault: FaultName, from_ms: float, room_ms: float, rng: np.random.Generator) -> Event:
    """Return one event that begins in [from, from + room), as its law has it."""
    law = LAWS[fault]
    at_ms = int(from_ms + rng.random() * room_ms)
    at_ms -= at_ms % MINUTE_MS
    length_ms = int(rng.integers(law.least_ms, law.most_ms + 1)) // MINUTE_MS * MINUTE_MS
    size = float(rng.uniform(law.least, law.most))
    if law.either_sign and rng.random() < 0.5:  # noqa: PLR2004 - a coin
        size = -size
    return Event(fault, at_ms, at_ms + length_ms, size, int(rng.integers(2**31)))


def measured_slope(minutes: Minutes) -> float:
    """Return the supply's drop in V/kW from minute-to-minute changes of at least 300 W.

    Least squares through zero, kept between -4 and -1 (what was measured on real homes);
    USUAL_SLOPE_V_PER_KW where fewer than 200 such changes have a voltage.
    """
    rise_w, rise_v = np.diff(minutes["p_mean_w"]), np.diff(minutes["v_mean_v"])
    use = (np.abs(rise_w) >= 300) & np.isfinite(rise_v) & (np.diff(minutes.start_ms) == MINUTE_MS)  # noqa: PLR2004
    if use.sum() < 200:  # noqa: PLR2004 - too few to tell
        return USUAL_SLOPE_V_PER_KW
    slope = 1000 * float(rise_w[use] @ rise_v[use]) / float(rise_w[use] @ rise_w[use])
    return min(max(slope, -4.0), -1.0)


def inject(minutes: Minutes, event: Event, slope_v_per_kw: float) -> Minutes:
    """Return the series with the fault in it; the rows and everything outside it are unchanged."""
    low, high = np.searchsorted(minutes.start_ms, [event.start_ms, event.end_ms])
    if low == high:
        return minutes
    part = _Part(minutes.start_ms[low:high], *minutes.values[low:high].T)
    changed = _ACTIONS[event.fault](part, event, slope_v_per_kw).with_current(part)
    values = minutes.values.copy()
    values[low:high] = np.column_stack(changed[1:])
    return Minutes(minutes.start_ms, values)


class _Part(NamedTuple):
    """The columns of Minutes in their order."""

    start_ms: Times
    p_mean_w: Floats
    p_min_w: Floats
    p_max_w: Floats
    v_mean_v: Floats
    v_max_v: Floats
    q_mean_var: Floats
    i_mean_a: Floats

    def load(self, power_w: Floats | float, reactive_var: Floats | float, slope: float) -> "_Part":
        """Return it with a load added, and the supply's drop under that load."""
        drop_v = slope * np.asarray(power_w) / 1000
        return self._replace(
            p_mean_w=self.p_mean_w + power_w,
            p_min_w=self.p_min_w + power_w,
            p_max_w=self.p_max_w + power_w,
            q_mean_var=self.q_mean_var + reactive_var,
            v_mean_v=self.v_mean_v + drop_v,
            v_max_v=self.v_max_v + drop_v,
        )

    def power(self, factor: Floats | float) -> "_Part":
        """Return it with all that a clamp says of power times a factor (not negative)."""
        return self._replace(
            p_mean_w=self.p_mean_w * factor,
            p_min_w=self.p_min_w * factor,
            p_max_w=self.p_max_w * factor,
            q_mean_var=self.q_mean_var * factor,
        )

    def voltage(self, factor: float) -> "_Part":
        """Return it with the voltages times a factor."""
        return self._replace(v_mean_v=self.v_mean_v * factor, v_max_v=self.v_max_v * factor)

    def with_current(self, before: "_Part") -> "_Part":
        """Return it with the current that its apparent power now asks for.

        The current goes as S/V did: what the series said beyond P and Q (harmonics) stays in
        proportion. Where Q is unknown S is |P|.
        """
        ratio = _apparent(self) / np.maximum(_apparent(before), 1.0)
        volts = np.nan_to_num(before.v_mean_v / self.v_mean_v, nan=1.0)
        return self._replace(i_mean_a=before.i_mean_a * ratio * volts)


def _apparent(part: _Part) -> Floats:
    result: Floats = np.hypot(part.p_mean_w, np.nan_to_num(part.q_mean_var))
    return result


def _swell(part: _Part, event: Event, _: float) -> _Part:
    more = 1 + IMPEDANCE_PART * (event.size**2 - 1)
    return part.power(more).voltage(event.size)


def _reversed(part: _Part, _event: Event, _slope: float) -> _Part:
    return part._replace(
        p_mean_w=-part.p_mean_w, p_min_w=-part.p_max_w, p_max_w=-part.p_min_w,
        q_mean_var=-part.q_mean_var,
    )  # fmt: skip


def _drift(part: _Part, event: Event, _: float) -> _Part:
    done = (part.start_ms - event.start_ms) / (event.end_ms - event.start_ms)
    return part.power(1 - event.size * done)


def _sensor_off(part: _Part, event: Event, _: float) -> _Part:
    # The meter makes power of the voltage it reads.
    return part.power(1 + event.size).voltage(1 + event.size)


def _fridge(part: _Part, event: Event, slope: float) -> _Part:
    """Run the compressor in the pauses that the thermostat would have made.

    A series of the whole home does not name its fridge: pauses are taken where power is within
    half a compressor of the base load, and elsewhere as they come in a cycle of 40 to 80 minutes
    that runs 35 to 50 % of the time.
    """
    rng = np.random.default_rng(event.seed)
    base_w = _least(part.p_mean_w, BASE_MINUTES)
    cycle_ms = int(rng.uniform(40, 80) * MINUTE_MS)
    running = rng.uniform(0.35, 0.5)
    phase = ((part.start_ms - event.start_ms) % cycle_ms) / cycle_ms
    busy = part.p_mean_w - base_w > 2 * event.size
    idle = np.where(busy, phase > running, part.p_mean_w - base_w < event.size / 2)
    more_w = np.where(idle, event.size, 0.0)
    return part.load(more_w, FRIDGE_TAN_PHI * more_w, slope)


def _least(values: Floats, width: int) -> Floats:
    """Return the least of a centred window of `width` values."""
    padded = np.pad(values, (width // 2, width - width // 2 - 1), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    result: Floats = np.fmin.reduce(windows, axis=1)
    return result


_ACTIONS: Final[Mapping[FaultName, Callable[[_Part, Event, float], _Part]]] = {
    FaultName.STUCK_HEATER: lambda part, event, slope: part.load(event.size, 0.0, slope),
    FaultName.PHANTOM_LOAD: lambda part, event, slope: part.load(event.size, 0.0, slope),
    FaultName.SWELL: _swell,
    FaultName.BYPASS: lambda part, event, _: part.power(event.size),
    FaultName.POOR_PF: lambda part, event, slope: part.load(0.0, event.size, slope),
    FaultName.REVERSED: _reversed,
    FaultName.DRIFT: _drift,
    FaultName.SENSOR_OFF: _sensor_off,
    FaultName.FRIDGE: _fridge,
    FaultName.PV_LOST: lambda part, event, _: part.power(1 - event.size),
}
