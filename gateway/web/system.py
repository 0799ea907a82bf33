"""The gateway itself: log, backup, settings, models; and what a phone needs to trust it."""

import io
import ipaddress
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from gateway.web.deps import AdminOnly, Deps, LoggedIn
from gateway.web.models import Body
from gateway.web.ports import System
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(tags=["system"])
root = APIRouter(tags=["system"])
Level = Literal["debug", "info", "warning", "error", "critical"]
LINES = 1000
CA_PATH, QR_PATH = "/trust/ca.crt", "/trust/qr.svg"
Value = bool | int | float | str | None


class LineOut(BaseModel):
    """One line of the log."""

    at_ms: int
    level: str
    event: str
    text: str


class LineList(BaseModel):
    """The newest lines, newest last."""

    items: list[LineOut]
    next: None = None


class Limits(BaseModel):
    """What a setting may be: a number between bounds (excluded where told), or one of `choices`."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    nullable: bool = False
    choices: list[str] | None = None
    kind: Literal["number", "boolean", "choice"]


class SettingsOut(BaseModel):
    """Settings in use, what the file says, and which of them were changed here."""

    values: dict[str, Value]
    file: dict[str, Value]
    changed: list[str]
    limits: dict[str, Limits]


class SettingsIn(Body):
    """New values; null puts back what the file says."""

    values: dict[Annotated[str, Field(max_length=60)], Value] = Field(min_length=1, max_length=40)


class KnownModel(BaseModel):
    """One model, on the gateway or in a meter; `fitted_ms` null = not known.

    `slot`: "champion" judges; "fallback" would, if what came from the repository went; "shadow"
    is tried beside the champion; "waiting", "retired", "rolled_back" and "rejected" do neither.
    What came from the repository has a `path`, and tells of its trial: minutes of data seen,
    alarms it and the champion had, µs per minute of data, and why it is where it is.
    """

    meter: str
    channel: str | None
    kind: str
    slot: str
    version: str | None
    fitted_ms: int | None
    where: Literal["gateway", "meter"]
    path: str | None = None
    state: str | None = None
    since_ms: int | None = None
    why: str | None = None
    minutes: int | None = None
    alarms: int | None = None
    champion_alarms: int | None = None
    step_us: float | None = None
    healthy: bool | None = None


class ModelList(BaseModel):
    """All models in use."""

    items: list[KnownModel]
    next: None = None


class Activate(Body):
    """A model of the repository that shall judge; `meter` empty = wherever it is tried."""

    path: str = Field(min_length=1, max_length=200)
    meter: str = Field(default="", max_length=32)
    force: bool = False


class RollBack(Body):
    """Where the model before shall judge again; empty = everywhere."""

    meter: str = Field(default="", max_length=32)
    channel: str = Field(default="", max_length=16)


class RolledBack(BaseModel):
    """What judges now, one line each."""

    now: list[str]


class Place(BaseModel):
    """One channel of a meter."""

    meter: str
    channel: str


class Activated(BaseModel):
    """Where the model judges now."""

    activated: list[Place]


class TrustOut(BaseModel):
    """The site's CA, and where it is to be had; nulls where the site has none."""

    available: bool
    name: str | None
    fingerprint_sha256: str | None
    not_before_ms: int | None
    not_after_ms: int | None
    ca_url: str | None
    page_url: str
    https_url: str | None
    secure: bool


@router.get("/system/log", responses=documented(*BEHIND_LOGIN))
async def get_log(
    deps: Deps,
    who: AdminOnly,  # noqa: ARG001 - asked for its effect
    lines: Annotated[int, Query(ge=1, le=LINES)] = 200,
    level: Level | None = None,
) -> LineList:
    """Give the newest lines of the log since the start, newest last."""
    found = _system(deps).log_tail(lines, level)
    return LineList(items=[LineOut.model_validate(line._asdict()) for line in found])


@router.get(
    "/system/backup",
    response_class=Response,
    responses=documented(*BEHIND_LOGIN)
    | {200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_backup(deps: Deps, who: AdminOnly) -> Response:
    """Give a consistent copy of the database, gzipped; `wattwarden restore` takes it back."""
    pieces = _system(deps).backup()
    first = await anext(pieces)  # what fails at once is told before anything is sent
    await deps.accounts.note(who.name, "system.backup", "")
    name = time.strftime("wattwarden-%Y%m%d-%H%M%S.db.gz", time.gmtime(deps.now_ms() / 1000))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    body = _after(first, pieces)
    return StreamingResponse(body, media_type="application/gzip", headers=headers)


@router.get("/system/settings", responses=documented(*BEHIND_LOGIN))
async def get_settings(deps: Deps, who: AdminOnly) -> SettingsOut:
    """Give the settings that may be changed while it runs."""
    return SettingsOut.model_validate(await deps.operations.call("settings.list", {}, who.name))


@router.patch("/system/settings", responses=documented(*BEHIND_LOGIN))
async def change_settings(body: SettingsIn, deps: Deps, who: AdminOnly) -> SettingsOut:
    """Change settings; they are used at once."""
    args = body.model_dump(mode="json")
    return SettingsOut.model_validate(await deps.operations.call("settings.change", args, who.name))


@router.get("/models", responses=documented(*BEHIND_LOGIN))
async def list_models(deps: Deps, who: LoggedIn) -> ModelList:
    """List the models in use, on the gateway and in meters."""
    return ModelList.model_validate(await deps.operations.call("models.list", {}, who.name))


@router.post("/models/activate", responses=documented(*BEHIND_LOGIN, 404))
async def activate_model(body: Activate, deps: Deps, who: AdminOnly) -> Activated:
    """Have a model judge now, whatever is left of its time in shadow."""
    done = await deps.operations.call("models.activate", body.model_dump(), who.name)
    return Activated.model_validate(done)


@router.post("/models/rollback", responses=documented(*BEHIND_LOGIN, 404))
async def roll_back_model(body: RollBack, deps: Deps, who: AdminOnly) -> RolledBack:
    """Give the judging back to the model before."""
    done = await deps.operations.call("models.rollback", body.model_dump(), who.name)
    return RolledBack.model_validate(done)


@router.get("/trust", responses=documented())
async def get_trust(request: Request, deps: Deps) -> TrustOut:
    """Tell what a phone needs to trust this site; no login needed."""
    found = None if deps.system is None else deps.system.certificate()
    base = _base(request)
    return TrustOut(
        available=found is not None,
        name=None if found is None else found.name,
        fingerprint_sha256=None if found is None else found.fingerprint_sha256,
        not_before_ms=None if found is None else found.not_before_ms,
        not_after_ms=None if found is None else found.not_after_ms,
        ca_url=None if found is None else CA_PATH,
        page_url=f"{base}/trust",
        https_url=base if base.startswith("https:") else None,
        secure=request.url.scheme == "https",
    )


@root.get(
    CA_PATH,
    response_class=Response,
    responses=documented(404)
    | {200: {"content": {"application/x-x509-ca-cert": {"schema": {"type": "string"}}}}},
)
async def get_ca(deps: Deps) -> Response:
    """Give the site's CA certificate, for phones and browsers to trust; no login needed."""
    found = None if deps.system is None else deps.system.certificate()
    if found is None:
        raise HTTPException(404, "this site has no certificate authority of its own")
    headers = {"Content-Disposition": 'attachment; filename="wattwarden-ca.crt"'}
    return Response(found.pem, media_type="application/x-x509-ca-cert", headers=headers)


@root.get(
    QR_PATH,
    response_class=Response,
    responses=documented() | {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
async def get_qr(request: Request) -> Response:
    """Give the trust page's address as a QR code; no login needed."""
    import segno  # noqa: PLC0415 - only for this

    drawn = io.BytesIO()
    code = segno.make(f"{_base(request)}/trust", error="m", micro=False)
    code.save(drawn, kind="svg", scale=4, border=4, xmldecl=False)
    return Response(drawn.getvalue(), media_type="image/svg+xml")


def _system(deps: Deps) -> System:
    if deps.system is None:
        raise HTTPException(503, "this process has no files of its own")
    return deps.system


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _base(request: Request) -> str:
    """Return this site's address as another device can use it: never a loopback one."""
    host = urlsplit(str(request.base_url)).hostname or "localhost"
    port = request.url.port
    usual = {"http": 80, "https": 443}.get(request.url.scheme)
    tail = "" if port in (None, usual) else f":{port}"
    if _is_loopback(host):
        host = "wattwarden.local"
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}{tail}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
