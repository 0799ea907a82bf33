"""What the app in a browser needs, to ask Google for a token that it can be pushed to by."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.domain.errors import NotFoundError
from gateway.services.accounts import texts
from gateway.settings import CloudSettings

Operation = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]
NEEDED = ("project", "api_key", "web_app_id", "web_push_key")


def web_config(cloud: CloudSettings) -> dict[str, object]:
    """Return Firebase's configuration of a web app, with the key that pushes are signed by.

    Raises NotFoundError that names what the settings lack.
    """
    missing = [f"cloud.{name}" for name in NEEDED if not getattr(cloud, name)]
    if not cloud.enabled:
        missing.insert(0, "cloud.enabled")
    if missing:
        msg = f"pushes to browsers are not set up: the settings lack {', '.join(missing)}"
        raise NotFoundError(msg)
    return {
        "api_key": cloud.api_key,
        "project_id": cloud.project,
        # An app's id is 1:<project number>:web:<hash>, and that number is the sender's id.
        "messaging_sender_id": cloud.web_app_id.split(":")[1],
        "app_id": cloud.web_app_id,
        "vapid_key": cloud.web_push_key,
    }


def web_push_operations(cloud: CloudSettings) -> dict[str, Operation]:
    """Return `cloud.web_config`."""

    async def tell(args: Mapping[str, object], who: str) -> dict[str, object]:  # noqa: ARG001 - one shape for all
        texts(args)
        return web_config(cloud)

    return {"cloud.web_config": tell}
