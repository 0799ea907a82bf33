"""When a model in shadow may judge, when it never shall, when one that judges must step down."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from gateway.services.models.forms import Facts

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MONTH_DAYS: Final = 30.44
# Of the minutes of the time in shadow so many must have been seen: a clock that jumps ahead
# brings no minutes, and a week of an absent meter says nothing.
LEAST_SEEN: Final = 0.8
NEAR_MS: Final = 6 * HOUR_MS  # an event this close to the champion's is the same one
SURE: Final = 0.98  # so sure a good model of this budget raises no more than what is allowed
VERY_SURE: Final = 0.9999  # ... and what is beyond this ends a trial at once
LEAST_AGREEMENT: Final = 0.1  # rank correlation of the scores with the champion's
AGREEMENT_STEPS: Final = 288  # a day of five minutes; fewer say nothing
ALERTS_TIMES: Final = 10.0  # contract of the loop: alert rate times ten
LEAST_EVENTS: Final = 3
WATCHED_MS: Final = 7 * DAY_MS  # so long after an activation alarms are compared with the usual
MOST_ALARMED: Final = 0.1  # of the time in shadow: an alarm that never ends is one event only
USUAL_EVENT_MS: Final = 3 * HOUR_MS  # a false alarm and the hour it takes to end
LEAST_ALARMED_MS: Final = 6 * HOUR_MS
MOST_STEP_US: Final = 2400.0  # per minute of data: 40 µs for each of its 60 readings
UNCLEAN_STARTS: Final = 3


class Limits(NamedTuple):
    """What the settings and the house allow: `alarms_per_month` of one channel."""

    shadow_days: float = 7.0
    health_hours: float = 24.0
    alarms_per_month: float = 4.0


class Verdict(NamedTuple):
    """`passed` None: wait on."""

    passed: bool | None
    why: str = ""


WAIT: Final = Verdict(None)


def at_once(facts: Facts, limits: Limits) -> Verdict:
    """Judge what needs no waiting: too slow, always the same, far too many alarms."""
    if facts.step_us is not None and facts.step_us > MOST_STEP_US:
        took = f"{facts.step_us:.0f} µs for a minute of data, {MOST_STEP_US:.0f} allowed"
        return Verdict(passed=False, why=f"too slow: {took}")
    spread = facts.high - facts.low
    if facts.steps >= AGREEMENT_STEPS and spread <= 1e-9 * max(1.0, abs(facts.high)):
        return Verdict(passed=False, why=f"blind: its score was {facts.high:g} all the time")
    own = alone(facts)
    extra = len(own)
    alarmed_ms = sum(_end(one, facts) - one[0] for one in own)
    if alarmed_ms > MOST_ALARMED * limits.shadow_days * DAY_MS:
        why = f"alarmed by itself for {alarmed_ms / HOUR_MS:.0f} h"
        return Verdict(passed=False, why=why)
    allowed = most_events(limits.alarms_per_month * limits.shadow_days / MONTH_DAYS, VERY_SURE)
    if extra > allowed:
        days = (facts.last_ms - facts.from_ms) / DAY_MS
        return Verdict(passed=False, why=f"{extra} alarms of its own in {days:.1f} days")
    return WAIT


def is_due(facts: Facts, limits: Limits) -> bool:
    """Tell whether a trial has lasted, and has seen, what it must."""
    wanted_ms = limits.shadow_days * DAY_MS
    seen_ms = facts.minutes * 60_000
    return facts.last_ms - facts.from_ms >= wanted_ms and seen_ms >= LEAST_SEEN * wanted_ms


def after_shadow(
    facts: Facts, pairs: Sequence[tuple[int, float, float]], limits: Limits
) -> Verdict:
    """Judge a trial that is due; `pairs` are the stored steps with both scores."""
    extra = len(alone(facts))
    days = (facts.last_ms - facts.from_ms) / DAY_MS
    allowed = most_events(limits.alarms_per_month * days / MONTH_DAYS, SURE)
    if extra > allowed:
        return Verdict(
            passed=False,
            why=f"{extra} alarms of its own in {days:.1f} days, {allowed} allowed",
        )
    found = agreement(pairs)
    if found is not None and not found >= LEAST_AGREEMENT:
        return Verdict(
            passed=False,
            why=f"agrees with the champion by {found:.2f}, at least {LEAST_AGREEMENT} wanted",
        )
    told = "no champion to agree with" if found is None else f"agreement {found:.2f}"
    return Verdict(
        passed=True, why=f"{extra} alarms of its own in {days:.1f} days, {told}"
    )  # fmt: skip


def health(facts: Facts, limits: Limits) -> Verdict:
    """Judge an active model: passed True once it has been well for its first hours."""
    if facts.step_us is not None and facts.step_us > MOST_STEP_US:
        return Verdict(passed=False, why=f"time-out: {facts.step_us:.0f} µs for a minute of data")
    since_ms = facts.last_ms - facts.active_from_ms
    if since_ms <= WATCHED_MS and (why := _louder(facts, since_ms, limits)):
        return Verdict(passed=False, why=why)
    if facts.healthy:
        return WAIT
    if facts.unclean_starts >= UNCLEAN_STARTS:
        why = f"the gateway ended uncleanly {facts.unclean_starts} times since it judges"
        return Verdict(passed=False, why=why)
    if since_ms >= limits.health_hours * HOUR_MS:
        return Verdict(passed=True, why=f"well for {limits.health_hours:g} h")
    return WAIT


def _louder(facts: Facts, since_ms: int, limits: Limits) -> str:
    """Tell that an active model raises ten times the usual alarms; "" while it does not."""
    usual = limits.alarms_per_month / MONTH_DAYS
    before_ms = facts.active_from_ms - facts.from_ms
    if before_ms > DAY_MS:
        usual = max(usual, len(facts.champion_events) / (before_ms / DAY_MS))
    days = max(since_ms / DAY_MS, 1 / 24)
    raised = [one for one in facts.events if _end(one, facts) > facts.active_from_ms]
    if len(raised) >= LEAST_EVENTS and len(raised) / days > ALERTS_TIMES * usual:
        return f"{len(raised)} alarms in {days:.1f} days; {usual:.2f} a day are usual"
    alarmed_ms = sum(_end(one, facts) - max(one[0], facts.active_from_ms) for one in raised)
    if alarmed_ms > max(LEAST_ALARMED_MS, ALERTS_TIMES * usual * days * USUAL_EVENT_MS):
        return f"alarmed for {alarmed_ms / HOUR_MS:.0f} h in {days:.1f} days"
    return ""


def _end(event: list[int], facts: Facts) -> int:
    """Return when an event ended, or the newest minute while it lasts."""
    return event[1] or facts.last_ms


def alone(facts: Facts) -> list[list[int]]:
    """Return the events that the champion had nothing near of."""
    return [
        own
        for own in facts.events
        if not any(
            own[0] - NEAR_MS < _end(other, facts) and other[0] < _end(own, facts) + NEAR_MS
            for other in facts.champion_events
        )
    ]


def most_events(expected: float, sure: float) -> int:
    """Return how many events a Poisson process of this mean stays at or below, so surely."""
    count, term = 0, math.exp(-expected)
    total = term
    while total < sure:
        count += 1
        term *= expected / count
        total += term
    return count


def agreement(pairs: Sequence[tuple[int, float, float]]) -> float | None:
    """Return Spearman's rank correlation of both scores; None for too few of them.

    A score that never changes agrees with nothing: NaN, which passes no limit.
    """
    table = np.array([(a, b) for _, a, b in pairs if math.isfinite(a) and math.isfinite(b)])
    if len(table) < AGREEMENT_STEPS:
        return None
    ranks = table.argsort(axis=0, kind="stable").argsort(axis=0)
    return float(np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1])
