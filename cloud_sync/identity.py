"""Who the gateway is in the cloud: a service account, or an identity of its own from a login.

The own identity is a Firebase user `gateway-SITE` whose claims name the site; the security rules
let it write below that site alone. Its refresh token is a secret of the machine.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.domain.errors import ConfigError
from gateway.settings import CloudSettings, read_private

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# As little as the parts need: documents, pushes, the archive. No role of the project's owner.
SCOPES = (
    "https://www.googleapis.com/auth/datastore",
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/devstorage.read_write",
)
AUTH_EMULATOR = "FIREBASE_AUTH_EMULATOR_HOST"
SECURE_TOKEN = "securetoken.googleapis.com/v1/token"  # noqa: S105 - an address
IDENTITY_TOOLKIT = "identitytoolkit.googleapis.com/v1"
REFUSALS = (400, 401, 403)
IDENTITY_NAME = "cloud-identity.json"
NO_LOGIN = "no credentials: set cloud.credentials_file, or run: wattwarden cloud login"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a login leaves: whose gateway this is, and the token that renews its access."""

    project: str
    site: str
    uid: str
    api_key: str
    refresh_token: str = field(repr=False)

    def save(self, path: Path) -> None:
        """Write the file with mode 0600, whole or not at all; ConfigError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".identity-")  # mode 0600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
            owner = path.parent.stat()
            if os.geteuid() == 0:  # run with sudo: the daemon must be able to read it
                os.chown(path, owner.st_uid, owner.st_gid)
        except OSError as error:
            msg = f"cloud.identity_file: {path} cannot be written: {error.strerror}"
            raise ConfigError(msg) from error

    @classmethod
    def load(cls, path: Path) -> "Identity":
        """Read the file; ConfigError where there is none or it is open to others."""
        if not path.exists():
            raise ConfigError(NO_LOGIN)
        text = read_private(path, key="cloud.identity_file")
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            msg = f"cloud.identity_file: {path} is no identity; run: wattwarden cloud login"
            raise ConfigError(msg) from error


def identity_path(cloud: CloudSettings, database: Path) -> Path:
    """Return where the identity lies: `cloud.identity_file`, else beside the database."""
    return cloud.identity_file or database.with_name(IDENTITY_NAME)


def has_account(cloud: CloudSettings) -> bool:
    """Tell whether a service account is named."""
    return cloud.credentials_file is not None


def gateway_credentials(cloud: CloudSettings, database: Path) -> "Credentials":
    """Return the gateway's credentials, or raise ConfigError saying what to do."""
    if cloud.credentials_file is not None:
        return account_credentials(cloud.credentials_file)
    return identity_credentials(Identity.load(identity_path(cloud, database)))


def account_credentials(path: Path) -> "Credentials":
    """Return a service account's credentials from its key file, mode 0600; ConfigError."""
    from google.oauth2 import service_account

    text = read_private(path, key="cloud.credentials_file")
    try:
        made: Credentials = service_account.Credentials.from_service_account_info(
            json.loads(text), scopes=SCOPES
        )
    except (ValueError, KeyError, TypeError) as error:
        msg = f"cloud.credentials_file: {path} is no service account's key: {error}"
        raise ConfigError(msg) from error
    return made


def identity_credentials(identity: Identity) -> "Credentials":
    """Return credentials whose access token is the identity's ID token, renewed as needed."""
    from google.auth import credentials

    class IdentityCredentials(credentials.Credentials):
        """A Firebase user's ID token, which the security rules judge."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call] # published untyped

        def refresh(self, request: Any) -> None:  # noqa: ANN401 - google.auth's transport
            """Get a new ID token; RefreshError when it is revoked, else TransportError."""
            body = f"grant_type=refresh_token&refresh_token={identity.refresh_token}"
            answer = request(
                url=auth_url(SECURE_TOKEN, identity.api_key), method="POST", body=body.encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=20,
            )  # fmt: skip
            self.token, seconds = _granted(answer.status, answer.data)
            # google.auth compares with a naive UTC time.
            self.expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)

    made: Credentials = IdentityCredentials()
    return made


def _granted(status: int, data: bytes) -> tuple[str, int]:
    """Return the ID token of an answer, and for how many seconds it is good.

    RefreshError only where Google itself says no: a bad day of its servers, or a page of whoever is
    in between, passes without anybody's doing.
    """
    from google.auth import exceptions

    try:
        found = json.loads(data)
        return str(found["id_token"]), int(found["expires_in"])
    except (ValueError, KeyError, TypeError) as error:
        told = _own_error(data) if status in REFUSALS else ""
        if told:
            msg = f"Google refuses the identity ({told}); run: wattwarden cloud login"
            raise exceptions.RefreshError(msg) from error
        msg = f"HTTP {status} and no token"
        raise exceptions.TransportError(msg) from error


def _own_error(data: bytes) -> str:
    """Return what Google says in an error's JSON, "" where it is none."""
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def auth_url(path: str, api_key: str) -> str:
    """Return an address of Google's sign-in, or of its emulator's where one is set."""
    emulator = os.environ.get(AUTH_EMULATOR)
    root = f"http://{emulator}/" if emulator else "https://"
    return f"{root}{path}?key={api_key}"
