"""Every error as RFC 9457 application/problem+json."""

import math
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gateway.domain.errors import (
    BadInputError,
    ConflictError,
    GatewayError,
    MeterAwayError,
    NotFoundError,
    StorageError,
    TransientError,
)
from gateway.services.accounts import LockedOutError, LoginRefusedError

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
LATER = {"Retry-After": "5"}
# RFC 9110 wants a challenge with every 401; no browser asks for a password on this one.
CHALLENGE = {"WWW-Authenticate": 'Cookie realm="wattwarden", Bearer realm="wattwarden"'}

STATUSES: tuple[tuple[type[GatewayError], int], ...] = (  # the first that fits counts
    (LoginRefusedError, 401),
    (NotFoundError, 404),
    (ConflictError, 409),
    (BadInputError, 422),
    (LockedOutError, 429),
    (StorageError, 503),
    (MeterAwayError, 409),  # not the gateway's fault: no 5xx
    (TransientError, 503),
    (GatewayError, 500),
)


class Wrong(BaseModel):
    """One part of the request that is wrong: where, and why."""

    at: str
    why: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Wrong] | None = None


def problem(
    status: int,
    detail: str,
    *,
    errors: list[Wrong] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error response."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


def problem_of(error: Exception) -> JSONResponse:
    """Translate any error into what the caller may know of it."""
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, headers=error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), None)
    if status is None:
        # As text: a renderer that shows local variables would show passwords.
        told = "".join(traceback.format_exception(error))
        log.error("request_crashed", error=repr(error), traceback=told)
        return problem(500, "the gateway made a mistake; its log tells more")
    if isinstance(error, StorageError):  # its text names paths: for the log alone
        log.error("request_failed", error=str(error))
        return problem(status, "the storage does not answer; the log tells more", headers=LATER)
    return problem(status, str(error), headers=_advice(error, status))


def _advice(error: Exception, status: int) -> Mapping[str, str] | None:
    """Return the header that tells the caller what to do next."""
    if isinstance(error, LockedOutError):
        return {"Retry-After": str(math.ceil(error.wait_s))}
    return {401: CHALLENGE, 503: LATER}.get(status)


async def handle(_: object, error: Exception) -> JSONResponse:
    """Handle an exception of a route, as FastAPI calls it."""
    return problem_of(error)


def _invalid(error: RequestValidationError) -> JSONResponse:
    """Name what is wrong without repeating it: it may be a password."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem(400, "the body is not valid JSON")
    wrongs = [Wrong(at=".".join(map(str, item["loc"])), why=item["msg"]) for item in found[:20]]
    detail = "; ".join(f"{wrong.at}: {wrong.why}" for wrong in wrongs)
    return problem(422, detail, errors=wrongs)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI `responses` for these statuses and those that every call may have."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    always = (400, 413, 415, 421, 500, 503)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*statuses, *always})
    }


BEHIND_LOGIN = (401, 403, 422)
