"""A meter's calibration: what it was made from, how sure it is, and its one-page report."""

from base64 import b64encode
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from calibration.certificate import STYLE
from gateway.web.deps import Deps, LoggedIn
from gateway.web.meters import MeterId
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/meters", tags=["meters"])
Version = Annotated[int | None, Query(ge=1, le=1_000_000_000)]
# The page has this one sheet of styles, and nothing else: no script, nothing from elsewhere.
STYLE_SHA256 = b64encode(sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_SHA256}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class ReferenceOut(BaseModel):
    """The instrument that was compared with; `class_pct` in % of its reading."""

    name: str
    class_pct: float
    digit_v: float
    digit_p: float


class PointOut(BaseModel):
    """A load: its residual and expanded uncertainty (k = 2) in % of P, and what that is made of."""

    channel: str
    i: float
    v: float
    p: float
    readings: int
    residual_pct: float
    uncertainty_pct: float
    budget_pct: dict[str, float]
    phase_uncertainty_rad: float


class LoadOut(BaseModel):
    """The expanded uncertainties (k = 2), in %, of a load's means over 10 s."""

    channel: str
    p: float
    factor: float
    p_pct: float
    i_pct: float
    v_pct: float


class CalibrationOut(BaseModel):
    """One calibration; `state` is "running", "refused", … of the newest, "earlier" of others.

    Nominal parts, which a meter has after its first one was taken back, have no reference, no
    points and no loads.
    """

    meter: str
    version: int
    made: int
    by: str
    note: str
    state: str
    why: str
    reference: ReferenceOut | None
    voltage_uncertainty_pct: float | None
    points: list[PointOut]
    loads: list[LoadOut]
    checks: list[dict[str, Any]]
    record: dict[str, Any]


@router.get("/{id}/calibration", responses=documented(*BEHIND_LOGIN, 404))
async def get_calibration(
    id: MeterId,  # noqa: A002 - the contract's name
    deps: Deps,
    who: LoggedIn,
    version: Version = None,
) -> CalibrationOut:
    """Show a meter's newest calibration, or the one of a version."""
    args: dict[str, object] = {"id": id, "version": version}
    found = await deps.operations.call("calibration.show", args, who.name)
    return CalibrationOut.model_validate(found)


@router.get(
    "/{id}/calibration/certificate",
    responses=documented(*BEHIND_LOGIN, 404)
    | {200: {"content": {"text/html": {}}, "description": "The report, one printed page"}},
    response_class=Response,
)
async def get_certificate(
    id: MeterId,  # noqa: A002 - as above
    deps: Deps,
    who: LoggedIn,
    version: Version = None,
) -> Response:
    """Give the report of a calibration as a page to print."""
    args: dict[str, object] = {"id": id, "version": version}
    found = await deps.operations.call("calibration.certificate", args, who.name)
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(str(found["html"]), media_type="text/html; charset=utf-8", headers=headers)
