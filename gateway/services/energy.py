"""Energy per hour, day or month of the site's time zone, from the meters' registers.

Registers count for ever; what an interval used is the difference of the counts at its ends
(register + base, which never falls: rule R). Between two readings the count is taken to rise
evenly, so that energy over a gap is right in sum and only its shape is an estimate (rule G).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError
from gateway.services.series import TooMuchError, check_span

T = TypeVar("T")
PERIODS = ("hour", "day", "month")
MOST_INTERVALS = 2000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS_PER_HOUR = 3_600_000
# A time without readings shorter than this shifts no energy that anybody could see.
SHORTEST_HOLE_MS = 60_000


@dataclass(frozen=True, slots=True)
class EnergyQuery:
    """Whole intervals that touch [start, end), of one meter."""

    meter: str
    start_ms: int
    end_ms: int
    by: str


class Count(NamedTuple):
    """What a register had counted at a time: Wh; None where it was never measured.

    `covered_ms` is how long before `at_ms` readings reach without a hole.
    """

    at_ms: int
    covered_ms: int
    wh_in: float | None
    wh_out: float | None


class Trail(Protocol):
    """One channel's counts in time order, wherever they are kept."""

    def around(self, at_ms: int) -> tuple[Count | None, Count | None]:
        """Return the last count at or before a time, and the first one after it."""


class Side(Enum):
    """Where a boundary lies against all that a channel has ever counted."""

    BEFORE = auto()
    INSIDE = auto()
    AFTER = auto()


class Point(NamedTuple):
    """The counts at a boundary; `estimated` where it lies in a hole of the readings.

    `reached` is false behind the last reading by more than a hole that counts.
    """

    wh_in: float | None
    wh_out: float | None
    side: Side = Side.INSIDE
    estimated: bool = False
    reached: bool = True


NOTHING = Point(None, None, Side.BEFORE)


@dataclass(frozen=True, slots=True)
class Used:
    """One channel's energy over one interval, kWh; None = no registers."""

    kwh_in: float | None
    kwh_out: float | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class SolarUse:
    """What became of the energy generated, kWh; shares are None where nothing can be divided."""

    generated_kwh: float
    self_consumed_kwh: float
    exported_kwh: float
    imported_kwh: float

    @property
    def consumed_kwh(self) -> float:
        """Return what the house used, from the sun or the grid."""
        return self.self_consumed_kwh + self.imported_kwh

    @property
    def self_consumption(self) -> float | None:
        """Return the share of what was generated that the house used itself."""
        return _share(self.self_consumed_kwh, self.generated_kwh)

    @property
    def self_sufficiency(self) -> float | None:
        """Return the share of what the house used that came from its own roof."""
        return _share(self.self_consumed_kwh, self.consumed_kwh)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one interval cost, in `currency` to 4 decimals; `fed_in` is what was paid to the house.

    `estimated`: a change of price lies in a hole of the readings. `complete` is false where a
    part of the interval has no plan. `basis`: which channels were counted, grid or load.
    """

    currency: str
    imported: Decimal
    fed_in: Decimal
    standing: Decimal
    estimated: bool
    complete: bool
    basis: str

    @property
    def total(self) -> Decimal:
        """Return what is to be paid."""
        return self.imported + self.standing - self.fed_in


@dataclass(frozen=True, slots=True)
class Interval:
    """One hour, day or month; `partial` where readings do not reach its end."""

    from_ms: int
    to_ms: int
    channels: Mapping[str, Used]
    solar: SolarUse | None
    partial: bool
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Energy:
    """All intervals of a query; `solar_step` is how finely self-consumption was looked at."""

    items: list[Interval]
    solar_step: str | None = None


class EnergyStore(Protocol):
    """Reads energies in a thread, on one consistent snapshot."""

    async def energy(self, query: EnergyQuery, render: Callable[[Energy], T]) -> T:
        """Read energies and return what `render`, called in the thread, makes of them.

        Raises NotFoundError for an unknown meter, TooMuchError, TooBusyError, StorageError.
        """


def boundaries(query: EnergyQuery, zone: ZoneInfo) -> list[int]:
    """Return the beginnings of the local intervals that touch [start, end), and the last's end.

    Raises BadInputError, TooMuchError.
    """
    if query.by not in PERIODS:
        msg = f"by: must be one of {', '.join(PERIODS)}"
        raise BadInputError(msg)
    check_span(query.start_ms, query.end_ms)
    found: list[int] = []
    for at_ms in _begins(query.start_ms, query.by, zone):
        found.append(at_ms)
        if at_ms >= query.end_ms:
            return found
        if len(found) > MOST_INTERVALS:
            break
    msg = f"start, end: more than {MOST_INTERVALS} {query.by}s; ask for a shorter span"
    raise TooMuchError(msg)


def _begins(start_ms: int, by: str, zone: ZoneInfo) -> Iterator[int]:
    """Yield the begin of the local interval that holds a time, and of all that follow."""
    local = (EPOCH + timedelta(milliseconds=start_ms)).astimezone(zone)
    if by == "hour":
        # Hours pass evenly through DST changes; their minute is the zone's own.
        at_ms = _ms(local.replace(minute=0, second=0, microsecond=0))
        while True:
            yield at_ms
            at_ms += MS_PER_HOUR
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if by == "month":
        day = day.replace(day=1)
    while True:
        yield _ms(day.replace(tzinfo=zone))
        day += timedelta(days=1)
        if by == "month":
            day = (day + timedelta(days=31)).replace(day=1)


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def point(trail: Trail, at_ms: int) -> Point:
    """Return a channel's counts at a boundary, evenly between the readings around it."""
    before, after = trail.around(at_ms)
    if before is None:
        return NOTHING if after is None else Point(after.wh_in, after.wh_out, Side.BEFORE)
    if after is None:
        reached = before.at_ms >= at_ms - SHORTEST_HOLE_MS
        return Point(before.wh_in, before.wh_out, Side.AFTER, reached=reached)
    share = max(0.0, (at_ms - before.at_ms) / (after.at_ms - before.at_ms))
    hole_ms = after.at_ms - after.covered_ms - before.at_ms
    return Point(
        _between(before.wh_in, after.wh_in, share),
        _between(before.wh_out, after.wh_out, share),
        estimated=hole_ms > SHORTEST_HOLE_MS,
    )


def _between(before_wh: float | None, after_wh: float | None, share: float) -> float | None:
    if before_wh is None or after_wh is None:
        return before_wh if after_wh is None else after_wh
    return before_wh + share * (after_wh - before_wh)


def used(begin: Point, end: Point) -> Used:
    """Return what a channel used between two boundaries; never negative."""
    if begin.side is end.side is not Side.INSIDE:  # nothing was measured in between
        return Used(None, None, estimated=False)
    return Used(
        _kwh(begin.wh_in, end.wh_in),
        _kwh(begin.wh_out, end.wh_out),
        begin.estimated or end.estimated,
    )


def _kwh(begin_wh: float | None, end_wh: float | None) -> float | None:
    if begin_wh is None or end_wh is None:
        return None
    return round(max(0.0, end_wh - begin_wh) / 1000, 6)


@dataclass(slots=True)
class Steps:
    """Energy of one kind over short steps, by the step's start: Wh."""

    wh: dict[int, float] = field(default_factory=dict)

    def add(self, start_ms: int, wh: float) -> None:
        """Add energy to a step."""
        self.wh[start_ms] = self.wh.get(start_ms, 0.0) + wh


def solar_use(
    generated: Steps, exported: Steps, imported: Steps, edges: Sequence[int]
) -> list[SolarUse | None]:
    """Return what became of the sun's energy in each interval between the edges.

    Step by step, self-consumed = generated - exported, but not below zero nor above what was
    generated: what a battery exports at night is no self-consumption of that night's sun.
    Steps that lack either register count nothing. None for an interval without any step.
    """
    sums: dict[int, list[float]] = {}
    for start_ms in sorted(generated.wh.keys() & exported.wh.keys()):
        index = bisect_right(edges, start_ms) - 1
        if not 0 <= index < len(edges) - 1:
            continue
        made, out = generated.wh[start_ms], exported.wh[start_ms]
        total = sums.setdefault(index, [0.0, 0.0, 0.0, 0.0])
        total[0] += made
        total[1] += min(max(made - out, 0.0), made)
        total[2] += out
        total[3] += imported.wh.get(start_ms, 0.0)
    return [
        SolarUse(*(round(wh / 1000, 6) for wh in sums[index])) if index in sums else None
        for index in range(len(edges) - 1)
    ]


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None
