"""Tariffs: what energy costs from which day on."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from gateway.services.tariff_plans import LONGEST_NAME, MOST_ENTRIES
from gateway.web.deps import Deps, LoggedIn
from gateway.web.models import Body, Text
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/tariffs", tags=["tariffs"])
PlanId = Annotated[str, Path(min_length=1, max_length=64)]
Price = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-4]):(00|15|30|45)$")]
CHANGING = documented(*BEHIND_LOGIN, 404)


class PriceIn(Body):
    """A price on some days (0 = Monday) from one quarter hour to another."""

    days: list[Annotated[int, Field(ge=0, le=6, strict=True)]] = Field(min_length=1, max_length=7)
    from_: Clock = Field(alias="from")
    to: Clock
    price_per_kwh: Price


class PlanIn(Body):
    """What energy costs from a local day on; the prices cover each quarter of the week once."""

    name: Text = Field(min_length=1, max_length=LONGEST_NAME)
    valid_from: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    import_: list[PriceIn] = Field(alias="import", min_length=1, max_length=MOST_ENTRIES)
    feed_in_per_kwh: Price = 0
    standing_per_day: Price = 0


class PriceOut(BaseModel):
    """A price as it was set."""

    days: list[int]
    from_: str = Field(alias="from")
    to: str
    price_per_kwh: float


class PlanOut(BaseModel):
    """A plan as it was set."""

    id: str
    name: str
    valid_from: str
    currency: str
    import_: list[PriceOut] = Field(alias="import")
    feed_in_per_kwh: float
    standing_per_day: float


class PlanList(BaseModel):
    """All plans in the order of their first days."""

    items: list[PlanOut]
    next: None = None


@router.get("", responses=documented(*BEHIND_LOGIN))
async def list_tariffs(deps: Deps, who: LoggedIn) -> PlanList:
    """List the plans in the order of their first days."""
    return PlanList.model_validate(await deps.operations.call("tariffs.list", {}, who.name))


@router.post("", status_code=201, responses=documented(*BEHIND_LOGIN))
async def add_tariff(body: PlanIn, deps: Deps, who: LoggedIn) -> PlanOut:
    """Add a plan; costs since its first day follow at once."""
    return await _change(deps, "tariffs.add", _args(body), who)


@router.put("/{id}", responses=CHANGING)
async def replace_tariff(id: PlanId, body: PlanIn, deps: Deps, who: LoggedIn) -> PlanOut:  # noqa: A002 - as elsewhere
    """Replace a plan; costs of the past follow at once."""
    return await _change(deps, "tariffs.replace", {"id": id, **_args(body)}, who)


@router.delete("/{id}", status_code=204, responses=CHANGING)
async def remove_tariff(id: PlanId, deps: Deps, who: LoggedIn) -> None:  # noqa: A002 - as above
    """Remove a plan; the one before it holds again."""
    await deps.operations.call("tariffs.remove", {"id": id}, who.name)


def _args(body: PlanIn) -> dict[str, object]:
    return body.model_dump(mode="json", by_alias=True)


async def _change(deps: Deps, name: str, args: dict[str, object], who: LoggedIn) -> PlanOut:
    return PlanOut.model_validate(await deps.operations.call(name, args, who.name))
