"""What energy cost: each price times what the registers counted while it held."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.domain.meters import Role
from gateway.pipeline.tariffs import Prices, Segment, day_bounds
from gateway.services.energy import Cost, Point, Side, Trail, point, used

CENT_HUNDREDTH = Decimal("0.0001")
Points = dict[int, Point]


def costs(
    prices: Prices,
    trails: Mapping[str, Trail],
    roles: Mapping[str, str],
    edges: Sequence[int],
    zone: ZoneInfo,
) -> list[Cost | None]:
    """Return the cost of each interval between the edges; None where it cannot be told."""
    basis = next((r for r in (Role.GRID, Role.LOAD) if r.value in roles.values()), None)
    if not prices or basis is None:
        return [None] * (len(edges) - 1)
    counted = [(trail, Points()) for name, trail in trails.items() if roles[name] == basis]
    return [_cost(list(prices.segments(*span)), counted, basis, zone) for span in pairwise(edges)]


def _cost(
    segments: list[Segment], counted: list[tuple[Trail, Points]], basis: Role, zone: ZoneInfo
) -> Cost | None:
    plans = [segment.plan for segment in segments if segment.plan is not None]
    if len({plan.currency for plan in plans}) != 1:
        return None
    imported = fed_in = Decimal(0)
    estimated = False
    days: dict[int, Decimal] = {}  # the standing charge of each day
    touched: set[int] = set()  # days with readings
    for segment in segments:
        begin_ms, end_ms = day_bounds(segment.from_ms, zone)
        if segment.plan is not None:
            share = Decimal(segment.to_ms - segment.from_ms) / Decimal(end_ms - begin_ms)
            days[begin_ms] = days.get(begin_ms, Decimal(0)) + segment.plan.standing * share
        parts = [_used(trail, points, segment) for trail, points in counted]
        found = [part for part in parts if part is not None]
        if not found or segment.plan is None:
            continue
        touched.add(begin_ms)
        estimated |= any(part[2] for part in found)
        imported += segment.price * sum(part[0] for part in found)
        fed_in += segment.plan.feed_in * sum(part[1] for part in found)
    if not touched:
        return None
    standing = sum((days[begin_ms] for begin_ms in touched), Decimal(0))
    if basis is Role.LOAD:  # a part of the house pays no standing charge and feeds nothing in
        fed_in = standing = Decimal(0)
    return Cost(
        plans[0].currency, _rounded(imported), _rounded(fed_in), _rounded(standing),
        estimated=estimated, complete=len(plans) == len(segments), basis=basis.value,
    )  # fmt: skip


def _used(trail: Trail, points: Points, segment: Segment) -> tuple[Decimal, Decimal, bool] | None:
    """Return kWh in and out over a segment, and whether they are an estimate."""
    for at_ms in (segment.from_ms, segment.to_ms):
        if at_ms not in points:
            points[at_ms] = point(trail, at_ms)
    begin, end = points[segment.from_ms], points[segment.to_ms]
    found = used(begin, end)
    if (
        not found.kwh_in
        and not found.kwh_out
        and (begin.side is Side.BEFORE or found.kwh_in is found.kwh_out is None)
    ):  # nothing was measured, or it began with this segment's last moment
        return None
    return _decimal(found.kwh_in), _decimal(found.kwh_out), found.estimated


def _decimal(kwh: float | None) -> Decimal:
    return Decimal(0) if kwh is None else Decimal(repr(kwh))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENT_HUNDREDTH, rounding=ROUND_HALF_EVEN)
