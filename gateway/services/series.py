"""A channel's history as columns for charts: which fields, which resolution, how many points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.domain.errors import BadInputError, TransientError
from gateway.domain.readings import GapSpan
from gateway.pipeline.rollups import FIXED_MS, Bucket

T = TypeVar("T")
# Not measured: None in a list, NaN in an array. JSON has null for both.
Column = list[float | None] | NDArray[np.float64] | NDArray[np.int64]
FIELDS = (
    "p", "p_min", "p_max", "q", "v", "v_min", "v_max", "i", "f", "pf", "wh_in", "wh_out", "n",
)  # fmt: skip
RAW = "raw"
AUTO = "auto"
STEPS_MS = {**FIXED_MS, "1d": 86_400_000}
AUTO_POINTS = 1500  # what a wide screen can show
MOST_POINTS = 100_000  # a day of windows of 1 s, and some
MOST_GAPS = 1000
LONGEST_SPAN_MS = 100 * 366 * 86_400_000
DECIMALS = 4  # of means: 0.1 mW is far below what any meter tells


class TooBusyError(TransientError):
    """So many people ask for history that another call is refused; try again in a few seconds."""


class TooMuchError(BadInputError):
    """Answering would take too long or give too many points; the message says what to ask for."""


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What to read: [start, end) in Unix ms; `points` bounds what `auto` chooses."""

    meter: str
    channel: str
    fields: tuple[str, ...]
    start_ms: int
    end_ms: int
    resolution: str = AUTO
    points: int = AUTO_POINTS


@dataclass(frozen=True, slots=True)
class Series:
    """One column for the times and one for each field, all of one length, in time order.

    Raw: `t` ends a window; else it begins an interval. What was not
    measured is None, or NaN where a column is an array.
    """

    resolution: str
    t: list[int] | NDArray[np.int64]
    columns: dict[str, Column]
    gaps: list[GapSpan]


class SeriesStore(Protocol):
    """Reads histories in a thread, each on one consistent snapshot."""

    async def series(self, query: SeriesQuery, render: Callable[[Series], T]) -> T:
        """Read a series and return what `render`, called in the thread, makes of it.

        Raises NotFoundError for an unknown meter or channel, TooMuchError, TooBusyError,
        StorageError.
        """


def check(query: SeriesQuery) -> None:
    """Raise BadInputError where a query makes no sense."""
    for name in query.fields:
        if name not in FIELDS:
            msg = f"fields: {name[:20]!r} is none of {', '.join(FIELDS)}"
            raise BadInputError(msg)
    if not query.fields:
        msg = f"fields: name at least one of {', '.join(FIELDS)}"
        raise BadInputError(msg)
    check_span(query.start_ms, query.end_ms)


def check_span(start_ms: int, end_ms: int) -> None:
    """Raise BadInputError unless [start, end) is a span of at most a hundred years near ours."""
    if end_ms <= start_ms:
        msg = "end: must be after start"
        raise BadInputError(msg)
    if end_ms - start_ms > LONGEST_SPAN_MS or max(abs(start_ms), abs(end_ms)) > 2 * LONGEST_SPAN_MS:
        msg = "start, end: at most 100 years, between 1770 and 2169"
        raise BadInputError(msg)


def choose(
    query: SeriesQuery, span_ms: int, readings: int, *, has_raw: bool, finest: str = "1m"
) -> str:
    """Return the resolution to answer with, or raise TooMuchError for one that was asked for.

    `span_ms` is how much of the span can hold data, `readings` about how many raw ones lie in
    it, `has_raw` whether none of them has been retired, `finest` the finest interval all of it has.
    """
    if query.resolution == AUTO:
        if has_raw and readings <= query.points:
            return RAW
        steps = {name: step for name, step in STEPS_MS.items() if step >= STEPS_MS[finest]}
        fits = (name for name, step in steps.items() if span_ms / step <= query.points)
        return next(fits, "1d")
    count = readings if query.resolution == RAW else span_ms // STEPS_MS[query.resolution]
    if count > MOST_POINTS:
        msg = (
            f"resolution: {query.resolution} gives about {count} points, at most {MOST_POINTS} are"
            " answered; ask for a shorter span or a coarser resolution"
        )
        raise TooMuchError(msg)
    return query.resolution


def bucket_value(bucket: Bucket, name: str) -> float | None:
    """Return one field of an interval; `f` is not kept in intervals."""
    match name:
        case "p" | "q" | "v" | "i":
            mean = bucket.mean(name)
            return None if mean is None else round(mean, DECIMALS)
        case "pf":
            return mean_power_factor(bucket)
        case "f":
            return None
        case _:
            value: float | None = getattr(bucket, name)
            return value


def mean_power_factor(bucket: Bucket) -> float | None:
    """Return |mean P| / (mean V · mean I), None below 1 VA.

    An approximation: the interval's apparent energy is not kept. It is exact where voltage and
    current are steady over the interval.
    """
    power_w, voltage_v, current_a = bucket.mean("p"), bucket.mean("v"), bucket.mean("i")
    if power_w is None or voltage_v is None or current_a is None or voltage_v * current_a < 1:
        return None
    return round(min(1.0, abs(power_w) / (voltage_v * current_a)), DECIMALS)
