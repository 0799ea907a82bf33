"""Has a calibration moved? Days of neighbours' voltages, and of what the supply's slope tells.

Two meters on one supply read voltages whose ratio hardly changes from day to day, and a load
that is switched on pulls the voltage down by its current times the supply's impedance. A clamp
that was opened, moved or dropped changes the slope, an adapter that aged the ratio; both show
over weeks only, since loads and the mains scatter them.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from gateway.domain.alerts import AlertKind, Evidence, Finding

BASE_DAYS, RECENT_DAYS = 14, 7
HELD_DAYS = 5  # of the recent ones: a few odd days are no drift
LEAST_HOURS = 6
SAME_SUPPLY = 0.003  # scatter of two neighbours' ratio within a day; more are other phases
RATIO_LEAST, SIGMAS = 0.004, 4.0
SLOPE_LEAST = 0.12
SLOPE_STEPS = 20  # a day: fewer tell too little
STEP_A = 2.0  # a load that comes or goes
ADJACENT_MS = 130_000  # minutes of a recording too; ours are seconds apart
LARGEST_OHM = 5.0
MOST_STEPS = 400
DAY_MS = 86_400_000
MARK = "drift"  # the evidence that tells our alerts from other sensor faults


@dataclass(slots=True)
class Day:
    """What one meter showed on one day: mean V of its hours (Unix), and its steps in ohm."""

    day: int
    hours_v: dict[int, float] = field(default_factory=dict)
    slope_ohm: float | None = None
    steps: int = 0


@dataclass(slots=True)
class Gathering:
    """A day that is going on, of one meter's readings as they come."""

    day: int
    hours: dict[int, tuple[float, int]] = field(default_factory=dict)
    slopes_ohm: list[float] = field(default_factory=list)
    before: tuple[int, float, float] | None = None  # ms, V, A in phase with it

    def add(self, at_ms: int, volts_v: float, watts_w: float | None) -> None:
        """Take a reading; a step of current against the one before gives a slope."""
        hour = at_ms // 3_600_000
        total, n = self.hours.get(hour, (0.0, 0))
        self.hours[hour] = (total + volts_v, n + 1)
        if watts_w is None or volts_v <= 0:
            self.before = None
            return
        amps = watts_w / volts_v
        if self.before is not None and 0 < at_ms - self.before[0] <= ADJACENT_MS:
            rise_a, fall_v = amps - self.before[2], self.before[1] - volts_v
            if abs(rise_a) >= STEP_A and len(self.slopes_ohm) < MOST_STEPS:
                slope = fall_v / rise_a
                if abs(slope) < LARGEST_OHM:
                    self.slopes_ohm.append(slope)
        self.before = (at_ms, volts_v, amps)

    def close(self, least_n: int = 60) -> Day:
        """Return the day; hours of fewer readings than `least_n` are left out."""
        good = {hour: total / n for hour, (total, n) in self.hours.items() if n >= least_n}
        slopes = self.slopes_ohm
        slope = statistics.median(slopes) if len(slopes) >= SLOPE_STEPS else None
        return Day(self.day, good, slope, len(slopes))


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much something has moved, relatively, and what chance would explain."""

    by: float
    chance: float
    held: bool  # for most of the recent days


def shift_of(series: Mapping[int, float], since_day: int, today: int) -> Shift | None:
    """Compare the last week of daily values with the first two since a calibration.

    None while there are too few days.
    """
    days = sorted(day for day in series if since_day <= day <= today)
    base = [series[day] for day in days[:BASE_DAYS]]
    recent_days = [day for day in days if day > today - RECENT_DAYS]
    if (
        len(base) < BASE_DAYS
        or len(recent_days) < HELD_DAYS
        or recent_days[0] <= days[len(base) - 1]
    ):
        return None
    centre = statistics.median(base)
    recent = [series[day] - centre for day in recent_days]
    # 1.4826 makes the median of absolute deviations a standard deviation of a normal series.
    chance = 1.4826 * statistics.median(abs(x - centre) for x in base)
    by = statistics.median(recent)
    held = sum(x * by > 0 and abs(x) > abs(by) / 2 for x in recent) >= HELD_DAYS
    return Shift(by, chance, held)


def ratio_days(
    one: Mapping[int, Day], other: Mapping[int, Day], needed: Iterable[int]
) -> dict[int, float]:
    """Return per day the median of ln(V of one / V of other), of days on one supply."""
    out: dict[int, float] = {}
    for day in needed:
        hours = one[day].hours_v.keys() & other[day].hours_v.keys()
        ratios = [
            math.log(one[day].hours_v[h] / other[day].hours_v[h])
            for h in hours
            if one[day].hours_v[h] > 0 and other[day].hours_v[h] > 0
        ]
        if len(ratios) < LEAST_HOURS:
            continue
        middle = statistics.median(ratios)
        if statistics.median(abs(x - middle) for x in ratios) <= SAME_SUPPLY:
            out[day] = middle
    return out


@dataclass(frozen=True, slots=True)
class Suspect:
    """A meter whose calibration has likely moved: what of it, by how much, and who says so."""

    meter: str
    channel: str  # "" = its voltage
    by: float
    against: str
    since_day: int


def suspects(
    days: Mapping[str, Mapping[int, Day]],
    channels: Mapping[str, str],
    calibrated_day: Mapping[str, int],
    today: int,
) -> list[Suspect]:
    """Return the meters whose calibration has likely moved.

    `days` per meter and day number, `channels` the clamp whose current the slopes are of,
    `calibrated_day` since when each has its calibration: what was before counts for nothing.
    """
    out = _voltages(days, calibrated_day, today)
    for meter, own in days.items():
        slopes = {
            d: math.log(v.slope_ohm) for d, v in own.items() if v.slope_ohm and v.slope_ohm > 0
        }
        since = calibrated_day.get(meter, 0)
        found = shift_of(slopes, since, today)
        if found and found.held and abs(found.by) > max(SLOPE_LEAST, SIGMAS * found.chance):
            # Half the current makes the same fall of voltage look like twice the impedance.
            by = math.exp(-found.by) - 1
            out.append(Suspect(meter, channels.get(meter, "grid"), by, "the supply", since))
    return out


def _voltages(
    days: Mapping[str, Mapping[int, Day]], calibrated_day: Mapping[str, int], today: int
) -> list[Suspect]:
    against: dict[str, list[tuple[float, bool, str]]] = {}
    for one, other in combinations(sorted(days), 2):
        since = max(calibrated_day.get(one, 0), calibrated_day.get(other, 0))
        both = sorted(d for d in days[one].keys() & days[other].keys() if since <= d <= today)
        # Only what is compared: the first weeks, with some days to spare, and the last one.
        needed = {*both[: 2 * BASE_DAYS], *(d for d in both if d > today - RECENT_DAYS)}
        found = shift_of(ratio_days(days[one], days[other], needed), since, today)
        if found is None:
            continue
        moved = found.held and abs(found.by) > max(RATIO_LEAST, SIGMAS * found.chance)
        against.setdefault(one, []).append((found.by, moved, other))
        against.setdefault(other, []).append((-found.by, moved, one))
    out = []
    for meter, seen in against.items():
        moved_by = [(by, other) for by, moved, other in seen if moved]
        # Of a pair alone nobody can tell which one moved; of more it is who differs from most.
        if not moved_by or 2 * len(moved_by) < len(seen) + (len(seen) > 1):
            continue
        names = ", ".join(other for _, other in moved_by[:3])
        since = calibrated_day.get(meter, 0)
        out.append(Suspect(meter, "", statistics.median(by for by, _ in moved_by), names, since))
    return out


def finding(suspect: Suspect, at_ms: int) -> Finding:
    """Return the alert of a suspect, in plain words."""
    percent = 100 * suspect.by
    if suspect.channel:
        detail = (
            f"{suspect.meter}: {suspect.channel} has read about {percent:+.0f} % for a week, by how"
            " far the supply's voltage falls when loads come on. Was the clamp opened or moved, or"
            " the supply changed? Check it, then calibrate: wattwarden meters calibrate"
            f" {suspect.meter}"
        )
    else:
        detail = (
            f"{suspect.meter}: its voltage has moved by {percent:+.2f} % against {suspect.against},"
            " on the same supply, for a week. Check the voltage adapter, then calibrate:"
            f" wattwarden meters calibrate {suspect.meter}"
        )
    evidence: Evidence = {"check": MARK, "shift_pct": round(percent, 3), "against": suspect.against}
    key = (suspect.meter, suspect.channel, AlertKind.SENSOR_FAULT)
    return Finding(
        key, active=True, at_ms=at_ms, title="A calibration has likely moved", detail=detail,
        evidence=evidence,
    )  # fmt: skip


def cleared(meter: str, channel: str, at_ms: int) -> Finding:
    """Return that nothing is suspect any more."""
    detail = f"{meter}: what it reads agrees with its neighbours and its supply again."
    return Finding(
        (meter, channel, AlertKind.SENSOR_FAULT), active=False, at_ms=at_ms, detail=detail
    )
