"""Log the gateway in: a person's account asks the project for an identity of the gateway's own.

The calls are those of identitytoolkit (firebase.google.com/docs/reference/rest/auth) and of
`functions/`; nothing of firebase-admin is needed.
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from cloud_sync.errors import CloudDownError, ForbiddenError
from cloud_sync.identity import IDENTITY_TOOLKIT, SECURE_TOKEN, Identity, auth_url
from gateway.domain.errors import BadInputError, ConfigError
from gateway.settings import Settings

TIMEOUT_S = 30
JSON = "application/json"
BAD_REQUEST = 400
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Project:
    """Where to log in."""

    name: str
    api_key: str
    functions_url: str
    site: str

    @classmethod
    def of(cls, settings: Settings) -> "Project":
        """Return the settings' project; ConfigError naming the key that is missing."""
        cloud = settings.cloud
        for key in ("project", "api_key", "functions_url"):
            if not getattr(cloud, key):
                msg = f"cloud.{key}: must be set to log in; docs/cloud.md tells where it is found"
                raise ConfigError(msg)
        if not cloud.functions_url.startswith("https://") and not cloud.development:
            msg = "cloud.functions_url: must begin with https://"
            raise ConfigError(msg)
        return cls(cloud.project, cloud.api_key, cloud.functions_url.rstrip("/"), settings.site.id)


def log_in(project: Project, email: str, password: str) -> Identity:
    """Return the gateway's new identity; the person's password and token are not kept.

    Raises BadInputError for a wrong password, ForbiddenError where the person may not, and
    CloudDownError where nobody answers.
    """
    person = _sign_in(project, "accounts:signInWithPassword", email=email, password=password)
    made = _call(project, "join", {"site": project.site}, person["idToken"])
    gateway = _sign_in(project, "accounts:signInWithCustomToken", token=made["token"])
    return Identity(
        project.name, project.site, made["uid"], project.api_key, gateway["refreshToken"]
    )


def forget(project: Project, identity: Identity) -> None:
    """Have the project take the gateway its identity back; raises as `log_in` does."""
    body = f"grant_type=refresh_token&refresh_token={identity.refresh_token}".encode()
    url = auth_url(SECURE_TOKEN, identity.api_key)
    renewed = _post(url, body, "application/x-www-form-urlencoded", "")
    _call(project, "leave", {"site": identity.site}, renewed["id_token"])


def _sign_in(project: Project, what: str, **body: str) -> dict[str, Any]:
    url = auth_url(f"{IDENTITY_TOOLKIT}/{what}", project.api_key)
    return _post(url, json.dumps({**body, "returnSecureToken": True}).encode(), JSON, "")


def _call(project: Project, name: str, data: dict[str, str], token: str) -> dict[str, Any]:
    body = json.dumps({"data": data}).encode()
    found: dict[str, Any] = _post(f"{project.functions_url}/{name}", body, JSON, token)["result"]
    return found


def _post(url: str, body: bytes, kind: str, token: str) -> dict[str, Any]:
    """Return the JSON that a call gives, or raise an error that says who must act."""
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - https, see Project
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            found: dict[str, Any] = json.loads(answer.read(MOST_BYTES))
            return found
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except (OSError, ValueError) as error:
        msg = f"{url.partition('?')[0]}: no answer: {error}"
        raise CloudDownError(msg) from error


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """Return what an HTTP error means, with the other side's own words."""
    try:
        told = json.loads(error.read(MOST_BYTES))["error"]["message"]
    except (ValueError, KeyError, TypeError):
        told = error.reason
    kind: type[Exception] = ForbiddenError
    if error.code in (429, *range(500, 600)):
        kind = CloudDownError
    elif error.code == BAD_REQUEST:
        kind = BadInputError
    known = {
        "EMAIL_NOT_FOUND": "wrong e-mail or password",
        "INVALID_PASSWORD": "wrong e-mail or password",
        "INVALID_LOGIN_CREDENTIALS": "wrong e-mail or password",
        "TOKEN_EXPIRED": "the identity is known no more",
        "USER_DISABLED": "this account is switched off",
    }
    return kind(known.get(str(told).partition(" ")[0], f"refused: {told}"))
