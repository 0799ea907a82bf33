"""The protocol of Firebase's callable functions, by hand: what apps call needs no other library.

Requests are `POST {"data": …}` with the caller's ID token as bearer; answers are `{"result": …}` or
`{"error": {"status", "message"}}` (firebase.google.com/docs/functions/callable-reference).
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import firebase_admin
from firebase_admin import auth
from firebase_admin.exceptions import FirebaseError
from flask import Request, Response
from google.auth.exceptions import GoogleAuthError

log = logging.getLogger("wattwarden")
MOST_BYTES = 16 * 1024
BEARER = "Bearer "
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNAVAILABLE": 503,
}  # fmt: skip
# The caller's fault; the account may be gone though its token has not ended yet.
REFUSED = (
    auth.InvalidIdTokenError, auth.UserDisabledError, auth.UserNotFoundError, ValueError,
)  # fmt: skip
CORS = {
    "Access-Control-Allow-Origin": "*",  # a token is needed, and no cookie counts
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "3600",
}


class CallError(Exception):
    """The caller asked for something that is not done; `status` is one of HTTP_STATUS."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def refuse(status: str, message: str) -> NoReturn:
    """End a call with an error."""
    raise CallError(status, message)


@dataclass(frozen=True)
class Caller:
    """Whose ID token came with a call; `site` is set for a gateway's own identity."""

    uid: str
    email: str
    site: str | None


Fields = Mapping[str, object]
Handler = Callable[[Caller, Fields], dict[str, object]]


def answer(request: Request, handle: Handler) -> Response:
    """Answer one call: check its form and whose it is, then let `handle` do it."""
    if request.method == "OPTIONS":
        return Response(status=204, headers=CORS)
    try:
        result = handle(caller_of(request), _data(request))
    except CallError as error:
        log.warning("refused: %s: %s", error.status, error)
        return _reply({"error": {"status": error.status, "message": str(error)}}, error.status)
    except Exception:
        log.exception("failed")
        told = "the function failed; its log tells more"
        return _reply({"error": {"status": "INTERNAL", "message": told}}, "INTERNAL")
    return _reply({"result": result})


def caller_of(request: Request) -> Caller:
    """Return who calls, or raise CallError: the token must be signed, valid and not revoked."""
    header = request.headers.get("Authorization", "")
    if not header.startswith(BEARER):
        refuse("UNAUTHENTICATED", "log in first")
    try:
        token = auth.verify_id_token(header.removeprefix(BEARER), check_revoked=True)
    except REFUSED as error:
        refuse("UNAUTHENTICATED", f"the ID token is refused: {error}")
    except (FirebaseError, GoogleAuthError):
        log.exception("the ID token cannot be checked")
        refuse("UNAVAILABLE", "the ID token cannot be checked now; try again")
    site = token.get("site") if token.get("gateway") is True else None
    return Caller(token["uid"], str(token.get("email", "")), site)


def _data(request: Request) -> Fields:
    if request.method != "POST" or not 0 < (request.content_length or 0) <= MOST_BYTES:
        refuse("INVALID_ARGUMENT", f"must be a POST of at most {MOST_BYTES} bytes")
    body = request.get_json(silent=True)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        refuse("INVALID_ARGUMENT", 'the body must be {"data": {…}}')
    return data


def _reply(body: dict[str, object], status: str = "") -> Response:
    code = HTTP_STATUS[status] if status else 200
    return Response(json.dumps(body), code, CORS, content_type="application/json")


def text(data: Fields, key: str, *, longest: int = 64) -> str:
    """Return a text of a call, or raise CallError naming it."""
    value = data.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        refuse("INVALID_ARGUMENT", f"{key}: must be text of 1 to {longest} characters")
    return value


def ensure_app() -> None:
    """Open the project's app once; in the cloud its own service account is found by itself."""
    try:
        firebase_admin.get_app()
    except ValueError:
        firebase_admin.initialize_app()


def project_id() -> str:
    """Return the project these functions run in.

    The environment need not tell it: it comes from the account the functions run as.
    """
    project: str = firebase_admin.get_app().project_id
    return project
