"""Exact confidence bounds of a share: what a recall is worth, given how many events it is of."""

import math
from typing import Final

CONFIDENCE: Final = 0.95
_STEPS: Final = 60  # halvings: far below what a share is printed with


def lower_bound(hits: int, events: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of a share by Clopper and Pearson (Biometrika, 1934).

    It is the least share under which `hits` or more of `events` have a chance of at least
    1 - confidence. It takes the events for independent. ValueError unless 0 <= hits <= events.
    """
    _check(hits, events)
    if hits == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_least(hits, events, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def upper_bound(hits: int, events: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a share; as `lower_bound` of what was missed."""
    return 1.0 - lower_bound(events - hits, events, confidence)


def _check(hits: int, events: int) -> None:
    if not 0 <= hits <= events or events == 0:
        msg = f"{hits} hits of {events} events is no share"
        raise ValueError(msg)


def _at_least(hits: int, events: int, share: float) -> float:
    """Return the chance of `hits` or more of `events` at this share."""
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    yes, no = math.log(share), math.log1p(-share)
    terms = (
        math.lgamma(events + 1) - math.lgamma(k + 1) - math.lgamma(events - k + 1)
        + k * yes + (events - k) * no
        for k in range(hits, events + 1)
    )  # fmt: skip
    return math.fsum(math.exp(term) for term in terms)
