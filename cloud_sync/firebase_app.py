"""The connection to a Firebase project: one app, whoever the gateway is there."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud_sync.identity import gateway_credentials, has_account, identity_path
from gateway.domain.errors import ConfigError
from gateway.settings import CloudSettings

if TYPE_CHECKING:
    import firebase_admin
    from google.auth.credentials import Credentials
    from google.cloud.firestore import Client

APP = "wattwarden"
RENEW_S = 10.0  # one try for a new access token
_opening, _renewing = threading.Lock(), threading.Lock()
EMULATORS = (
    "FIRESTORE_EMULATOR_HOST",
    "FIREBASE_AUTH_EMULATOR_HOST",
    "FIREBASE_STORAGE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "FCM_EMULATOR_HOST",
)


def refuse_emulators(environ: Mapping[str, str], *, development: bool) -> None:
    """Raise ConfigError where an emulator would be used in earnest.

    With an emulator's variable set the libraries accept forged tokens and write to whoever
    listens there.
    """
    found = [name for name in EMULATORS if environ.get(name)]
    if found and not development:
        msg = (
            f"{', '.join(found)}: an emulator is set in the environment; unset it, or set "
            "cloud.development = true where this is no real home"
        )
        raise ConfigError(msg)


def open_app(
    project: str, credentials: "Credentials", *, timeout_s: float = 10.0
) -> "firebase_admin.App":
    """Return the app of a project, opened once; ConfigError without a project."""
    import firebase_admin
    from firebase_admin import credentials as kinds

    if not project:
        msg = "cloud.project: name the Firebase project, such as my-home-1234"
        raise ConfigError(msg)

    class Given(kinds.Base):  # type: ignore[misc] # published without types
        """Hands over credentials that somebody else has made."""

        def get_credential(self) -> "Credentials":
            """Return them."""
            return credentials

    with _opening:  # several services open it at once, each in a thread of its own
        try:
            return firebase_admin.get_app(APP)
        except ValueError:  # not opened yet
            options = {"projectId": project, "httpTimeout": timeout_s}
            return firebase_admin.initialize_app(Given(), options, name=APP)


def firestore_client(app: "firebase_admin.App") -> "Client":
    """Return a new client with a connection of its own."""
    from google.cloud.firestore import Client

    return Client(project=app.project_id, credentials=app.credential.get_credential())


def renew(client: "Client") -> None:
    """Renew a client's access token where it ends soon; raises what google.auth raises.

    Left to gRPC this happens within a call, and whatever goes wrong there reads "unavailable".
    """
    credentials = client._credentials  # noqa: SLF001 - there is no public way
    with _renewing:
        if not credentials.valid:
            credentials.refresh(_ask_for_token)


def _ask_for_token(**call: Any) -> Any:  # noqa: ANN401 - google.auth's transport
    from google.auth.transport.requests import Request

    return Request()(**{**call, "timeout": RENEW_S})


def credentials_of(cloud: CloudSettings, database: Path) -> "Credentials":
    """Return whom the gateway speaks as; ConfigError says what to do where it is nobody yet.

    An emulator asks for nobody: there a gateway that has not logged in is anybody.
    """
    nobody = not has_account(cloud) and not identity_path(cloud, database).exists()
    if cloud.development and nobody and os.environ.get(EMULATORS[0]):
        from google.auth.credentials import AnonymousCredentials

        return AnonymousCredentials()
    return gateway_credentials(cloud, database)


def disconnect(client: "Client") -> None:
    """End a client's connection and what is under way on it; return at once.

    The client's own `close` ends only its HTTP session: calls would hold up the end of the process
    until their time limits, and connections would add up. gRPC can take seconds to close a line
    that is dead, which nobody shall wait for.
    """
    api = getattr(client, "_firestore_api_internal", None)  # None: it has never spoken
    if api is not None:
        threading.Thread(target=api.transport.close, name="disconnect", daemon=True).start()
