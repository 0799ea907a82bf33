"""`push`: hands a gateway's push to Firebase Cloud Messaging, which takes none from gateways.

The body and the answers are those of FCM's own `messages:send`, so that a gateway speaks to this
function as it would to Google: the status, the error and `Retry-After` come through unchanged.
"""

import json
import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import google.auth
from callable_http import HTTP_STATUS, CallError, caller_of, project_id, refuse
from flask import Request, Response
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

log = logging.getLogger("wattwarden")
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
MOST_BYTES = 8 * 1024  # FCM takes 4 kB of content
TIMEOUT_S = 20
EMULATOR = "FCM_EMULATOR_HOST"
TO_MANY = ("topic", "condition")


def forward(request: Request) -> Response:
    """Pass on one message to one device, or refuse it in FCM's own form."""
    try:
        return _passed_on(_post(_message(request)))
    except CallError as error:
        code = HTTP_STATUS[error.status]
        told = {"code": code, "status": error.status, "message": str(error)}
        return _reply({"error": told}, code, {})


def _message(request: Request) -> Mapping[str, object]:
    """Return the message of a gateway, or raise CallError."""
    if caller_of(request).site is None:
        refuse("PERMISSION_DENIED", "only gateways send pushes")
    if request.method != "POST" or not 0 < (request.content_length or 0) <= MOST_BYTES:
        refuse("INVALID_ARGUMENT", f"must be a POST of at most {MOST_BYTES} bytes")
    body = request.get_json(silent=True)
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("token"), str):
        refuse("INVALID_ARGUMENT", "message.token: must name one device")
    if any(key in message for key in TO_MANY):
        refuse("INVALID_ARGUMENT", "message: goes to one device, not to many")
    return message


def _post(message: Mapping[str, object]) -> Any:  # noqa: ANN401 - requests' response, untyped there
    try:
        session, root = _google()
        url = f"{root}/v1/projects/{project_id()}/messages:send"
        return session.post(url, json={"message": message}, timeout=TIMEOUT_S)
    except OSError:  # requests' errors are among these
        refuse("UNAVAILABLE", "Firebase Cloud Messaging does not answer")
    except GoogleAuthError:
        log.exception("no access to Firebase Cloud Messaging")
        refuse("UNAVAILABLE", "the function has no access to Firebase Cloud Messaging")


def _passed_on(answer: Any) -> Response:  # noqa: ANN401 - as above
    """Return FCM's answer, or an error in its form where something in between has answered."""
    code = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        code = code if code >= HTTP_STATUS["INVALID_ARGUMENT"] else HTTP_STATUS["UNAVAILABLE"]
        told = f"Firebase Cloud Messaging: HTTP {answer.status_code} and no JSON"
        body = {"error": {"code": code, "message": told}}
    return _reply(body, code, answer.headers)


@cache
def _google() -> tuple[Any, str]:
    """Return a session with this function's own account, and FCM's address."""
    if host := os.environ.get(EMULATOR):
        session = AuthorizedSession(AnonymousCredentials())
        session.headers["Authorization"] = "Bearer owner"
        return session, f"http://{host}"
    credentials, _ = google.auth.default(scopes=[SCOPE])
    return AuthorizedSession(credentials), "https://fcm.googleapis.com"


def _reply(body: object, code: int, headers: Mapping[str, str]) -> Response:
    kept = {name: headers[name] for name in ("Retry-After",) if name in headers}
    return Response(json.dumps(body), code, kept, content_type="application/json")
