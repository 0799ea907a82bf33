"""What a meter measured and used: series for charts, energy for bills."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from gateway.domain.errors import BadInputError
from gateway.domain.readings import GapSpan
from gateway.pipeline.times import parse
from gateway.services.energy import Cost, Energy, EnergyQuery, Interval, SolarUse
from gateway.services.series import AUTO_POINTS, FIELDS, MOST_POINTS, Series, SeriesQuery
from gateway.web.answers import answer, packer
from gateway.web.deps import Deps, WebDeps
from gateway.web.meters import MeterId
from gateway.web.models import ChannelKey
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/meters", tags=["history"])
DAY_MS = 86_400_000
Period = Literal["hour", "day", "month"]
Resolution = Literal["raw", "1m", "15m", "1h", "1d", "auto"]
MOMENT = "ISO 8601 (local to the site where it has no offset) or Unix ms"
NumberColumn = list[float | None]


class Span(BaseModel):
    """From when until when, [start, end)."""

    start: str | None = Field(default=None, max_length=40, description=MOMENT)
    end: str | None = Field(default=None, max_length=40, description=MOMENT)


class SeriesParams(Span):
    """What of a channel's history."""

    channel: ChannelKey = "grid"
    fields: str = Field(default="p", max_length=100, description=", ".join(FIELDS))
    resolution: Resolution = "auto"
    points: int = Field(default=AUTO_POINTS, ge=10, le=MOST_POINTS)


class EnergyParams(Span):
    """Energy by what."""

    by: Period = "day"


class GapOut(BaseModel):
    """A time for which windows are missing."""

    from_: int = Field(alias="from")
    to: int
    state: Literal["provisional", "final"]


class SeriesOut(BaseModel):
    """One column for the times and one for each field asked for, all of one length."""

    resolution: Literal["raw", "1m", "15m", "1h", "1d"]
    t: list[int]
    gaps: list[GapOut]
    p: NumberColumn | None = None
    p_min: NumberColumn | None = None
    p_max: NumberColumn | None = None
    q: NumberColumn | None = None
    v: NumberColumn | None = None
    v_min: NumberColumn | None = None
    v_max: NumberColumn | None = None
    i: NumberColumn | None = None
    f: NumberColumn | None = None
    pf: NumberColumn | None = None
    wh_in: NumberColumn | None = None
    wh_out: NumberColumn | None = None
    n: NumberColumn | None = None


class UsedOut(BaseModel):
    """One channel's energy over one interval; null = no registers."""

    kwh_in: float | None
    kwh_out: float | None
    estimated: bool


class SolarOut(BaseModel):
    """What became of the energy generated; shares 0 to 1, null where nothing can be divided."""

    generated_kwh: float
    self_consumed_kwh: float
    exported_kwh: float
    imported_kwh: float
    consumed_kwh: float
    self_consumption: float | None
    self_sufficiency: float | None


class CostOut(BaseModel):
    """What an interval cost, to 4 decimals; total = import + standing - feed_in."""

    currency: str
    import_: float = Field(alias="import")
    feed_in: float
    standing: float
    total: float
    estimated: bool
    complete: bool
    basis: Literal["grid", "load"]


class IntervalOut(BaseModel):
    """One hour, day or month; `partial` where readings do not reach its end."""

    from_: int = Field(alias="from")
    to: int
    channels: dict[ChannelKey, UsedOut]
    solar: SolarOut | None
    cost: CostOut | None = Field(description="null where no tariff holds")
    partial: bool


class EnergyOut(BaseModel):
    """Whole intervals in time order; `solar_step` is how finely self-consumption was looked at."""

    by: Period
    timezone: str
    solar_step: Literal["1m", "15m"] | None
    items: list[IntervalOut]
    next: None


NOT_MODIFIED: dict[int | str, dict[str, object]] = {304: {"description": "Not Modified"}}


@router.get(
    "/{id}/series",
    response_model=SeriesOut,
    responses=documented(*BEHIND_LOGIN, 404) | NOT_MODIFIED,
)
async def get_series(
    id: MeterId,  # noqa: A002 - the contract's name
    request: Request,
    deps: Deps,
    what: Annotated[SeriesParams, Query()],
) -> Response:
    """Give one channel's history by column; by default the last 24 hours.

    `auto` takes the finest resolution of at most `points` points.
    """
    start_ms, end_ms = _span(deps, what)
    names = tuple(name.strip() for name in what.fields.split(",") if name.strip())
    fields = tuple(dict.fromkeys(names))
    query = SeriesQuery(id, what.channel, fields, start_ms, end_ms, what.resolution, what.points)
    return answer(request, await deps.history.series(query, packer(request, _series)))


@router.get(
    "/{id}/energy",
    response_model=EnergyOut,
    responses=documented(*BEHIND_LOGIN, 404) | NOT_MODIFIED,
)
async def get_energy(
    id: MeterId,  # noqa: A002 - as above
    request: Request,
    deps: Deps,
    what: Annotated[EnergyParams, Query()],
) -> Response:
    """Give kWh per local hour, day or month, whole intervals that touch [start, end).

    From the registers, so nothing is lost in gaps; by default the last 24 hours.
    """
    start_ms, end_ms = _span(deps, what)
    query = EnergyQuery(id, start_ms, end_ms, what.by)
    zone = str(deps.zone)

    def shape(energy: Energy) -> object:
        return _energy(energy, what.by, zone)

    return answer(request, await deps.history.energy(query, packer(request, shape)))


def _span(deps: WebDeps, what: Span) -> tuple[int, int]:
    zone, start, end = deps.zone, what.start, what.end
    end_ms = deps.now_ms() if end is None else parse(end, zone, name="end")
    start_ms = end_ms - DAY_MS if start is None else parse(start, zone, name="start")
    if max(abs(start_ms), abs(end_ms)) > 2**53:
        msg = "start, end: beyond any time"
        raise BadInputError(msg)
    return start_ms, end_ms


def _series(series: Series) -> dict[str, object]:
    head: dict[str, object] = {"resolution": series.resolution, "t": series.t}
    return {**head, **series.columns, "gaps": _gaps(series.gaps)}


def _gaps(gaps: Iterable[GapSpan]) -> list[dict[str, object]]:
    return [{"from": gap.from_ms, "to": gap.to_ms, "state": gap.state} for gap in gaps]


def _energy(energy: Energy, by: str, zone: str) -> dict[str, object]:
    items = [_interval(item) for item in energy.items]
    head = {"by": by, "timezone": zone, "solar_step": energy.solar_step}
    return {**head, "items": items, "next": None}


def _interval(item: Interval) -> dict[str, object]:
    channels = {
        name: {"kwh_in": used.kwh_in, "kwh_out": used.kwh_out, "estimated": used.estimated}
        for name, used in item.channels.items()
    }
    solar = None if item.solar is None else _solar(item.solar)
    span: dict[str, object] = {"from": item.from_ms, "to": item.to_ms}
    cost = None if item.cost is None else _cost(item.cost)
    return {**span, "channels": channels, "solar": solar, "cost": cost, "partial": item.partial}


def _cost(cost: Cost) -> dict[str, object]:
    return {
        "currency": cost.currency,
        "import": float(cost.imported),
        "feed_in": float(cost.fed_in),
        "standing": float(cost.standing),
        "total": float(cost.total),
        "estimated": cost.estimated,
        "complete": cost.complete,
        "basis": cost.basis,
    }


def _solar(sun: SolarUse) -> dict[str, float | None]:
    return {
        "generated_kwh": sun.generated_kwh,
        "self_consumed_kwh": sun.self_consumed_kwh,
        "exported_kwh": sun.exported_kwh,
        "imported_kwh": sun.imported_kwh,
        "consumed_kwh": round(sun.consumed_kwh, 6),
        "self_consumption": sun.self_consumption,
        "self_sufficiency": sun.self_sufficiency,
    }
