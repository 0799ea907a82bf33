"""Firebase Cloud Messaging: the road to phones and browsers. Knows firebase-admin, lazily."""

import email.utils
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from cloud_sync.side_loop import SideLoop
from gateway.domain.alerts import Alert
from gateway.domain.errors import ConfigError
from gateway.services.notify.ports import (
    SENT,
    DeviceStore,
    Message,
    Outcome,
    Result,
    UnknownTargetError,
)

if TYPE_CHECKING:
    import firebase_admin

log = structlog.get_logger()
TIMEOUT_S = 20
EMULATOR = "FCM_EMULATOR_HOST"  # host:port; a start with it is refused outside development
# firebase.google.com/docs/cloud-messaging/error-codes: a 429 without Retry-After waits a minute.
QUOTA_WAIT_S = 60.0
APNS_WAIT_S = 600.0
# How long Google keeps a push for a phone that is off. The text tells the time.
TTL_S = {True: 24 * 3600, False: 4 * 3600}
APNS_KEY = "upload the APNs key in the Firebase console: Project settings, Cloud Messaging"
LONGEST_COLLAPSE_ID = 64  # bytes, of APNs


class FcmRoad:
    """Satisfies `Road`: a target is a device's id. All of firebase-admin stays in a side loop."""

    def __init__(
        self, devices: DeviceStore, open_app: "Callable[[], firebase_admin.App]", door: str = ""
    ) -> None:
        """`open_app` gives the app (ConfigError where it cannot).

        `door` is the address of the function `push`, for a gateway without a service account:
        it takes what Google takes, and answers as Google does.
        """
        self._devices = devices
        self._open_app = open_app
        self._door = door
        self._app: firebase_admin.App | None = None
        self._service: Any = None
        self._side = SideLoop("firebase-push")

    async def targets(self) -> Mapping[str, str]:
        """Return the registered devices and their languages."""
        return {device.id: device.language for device in await self._devices.list_devices()}

    def wants(self, target: str, alert: Alert, stage: str) -> bool:  # noqa: ARG002 - the port's shape
        """Tell that phones hear of everything."""
        return True

    async def forget(self, target: str) -> None:
        """Remove a device that Google knows no more."""
        await self._devices.remove_device(target)

    async def send(self, target: str, message: Message) -> Outcome:
        """Send to one device; what Google answers becomes an outcome."""
        known = {device.id: device for device in await self._devices.list_devices()}
        if target not in known:
            raise UnknownTargetError(target)
        token = known[target].token
        return await self._side.run(lambda: self._send(token, message))

    async def warm(self) -> None:
        """Import and log in before the first alert needs it: seconds on a Pi."""
        if not await self._devices.list_devices():
            return
        try:
            reason = await self._side.run(self._warm)
        except Exception as error:  # noqa: BLE001 - of a library; the first push tries again
            reason = f"{type(error).__name__}: {error}"
        if reason:
            log.warning("push_not_ready", reason=reason)

    async def _warm(self) -> str:
        """Return why pushes would not work now, "" when they would; in the side loop."""
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            self._open()
            credential = self._service._credential  # noqa: SLF001 - see _tuned
            if not credential.valid:
                credential.refresh(Request())
        except (ConfigError, GoogleAuthError, ValueError) as error:
            return str(error)[:200]
        return ""

    def _open(self) -> None:
        if self._app is None:
            app = self._open_app()
            self._service, self._app = _tuned(app, self._door), app

    async def close(self) -> None:
        """Disconnect, and end the side loop."""
        if self._service is not None:
            await self._side.run(self._service._async_client.aclose)  # noqa: SLF001 - see _tuned
        await self._side.close()
        self._app = self._service = None

    async def _send(self, token: str, message: Message) -> Outcome:
        """Send, in the side loop."""
        from firebase_admin import exceptions, messaging

        try:
            self._open()
        except (ConfigError, ValueError) as error:
            return Outcome(Result.BLOCKED, str(error))
        try:
            batch = await messaging.send_each_async(
                [self._dressed(messaging, token, message)], app=self._app
            )
        except exceptions.FirebaseError as error:
            return _credential_outcome(error)
        except ValueError as error:  # the library refuses the message itself
            return Outcome(Result.REFUSED, str(error))
        answer = batch.responses[0]
        return SENT if answer.success else outcome_of(answer.exception)

    def _dressed(self, messaging: Any, token: str, message: Message) -> Any:  # noqa: ANN401 - lazy module
        """Return FCM's message: on every platform the tag makes it replace its forerunner."""
        tag, ttl_s = message.tag, TTL_S[message.critical]
        level = "time-sensitive" if message.critical else "active"
        aps = messaging.Aps(
            sound="default" if message.loud else None,
            thread_id=message.data.get("site"),
            custom_data={"interruption-level": level if message.loud else "passive"},
        )
        return messaging.Message(
            token=token,
            data={**message.data, "tag": tag},
            notification=messaging.Notification(title=message.title, body=message.body),
            android=messaging.AndroidConfig(
                priority="high" if message.loud else "normal",
                ttl=ttl_s,
                notification=messaging.AndroidNotification(
                    tag=tag,
                    channel_id="alerts_critical" if message.critical else "alerts",
                    default_sound=message.loud,
                ),
            ),
            apns=messaging.APNSConfig(
                headers={
                    "apns-collapse-id": tag[:LONGEST_COLLAPSE_ID],
                    "apns-priority": "10" if message.loud else "5",
                    "apns-expiration": str(int(time.time()) + ttl_s),
                },
                payload=messaging.APNSPayload(aps=aps),
            ),
            webpush=messaging.WebpushConfig(
                headers={"TTL": str(ttl_s), "Urgency": "high" if message.loud else "low"},
                notification=messaging.WebpushNotification(
                    tag=tag, renotify=message.loud, silent=not message.loud,
                    require_interaction=message.critical,
                ),
            ),
        )  # fmt: skip


def _tuned(app: "firebase_admin.App", door: str) -> Any:  # noqa: ANN401 - the library's own service
    """Return the app's messaging service, made to try once and to know the emulator.

    By itself it repeats a 503 four times within 7 s, whatever Retry-After says (firebase-admin
    7.7: DEFAULT_HTTPX_RETRY_CONFIG, respect_retry_after_header False). There is no public way.
    """
    from firebase_admin import _http_client, _retry, messaging
    from google.auth.credentials import AnonymousCredentials

    service = messaging._get_messaging_service(app)  # noqa: SLF001
    service._async_client = _http_client.HttpxAsyncClient(  # noqa: SLF001
        credential=service._credential,  # noqa: SLF001
        retry_config=_retry.HttpxRetry(max_retries=0),
        timeout=TIMEOUT_S,
    )
    if door:
        service._fcm_url = door  # noqa: SLF001
    elif host := os.environ.get(EMULATOR):
        path = f"v1/projects/{app.project_id}/messages:send"
        service._fcm_url = f"http://{host}/{path}"  # noqa: SLF001
        if isinstance(service._credential, AnonymousCredentials):  # noqa: SLF001
            service._fcm_headers["Authorization"] = "Bearer owner"  # noqa: SLF001 - as emulators want
    return service


def outcome_of(error: Exception) -> Outcome:
    """Translate what firebase-admin raises for one message."""
    from firebase_admin import exceptions, messaging

    said = str(error)[:200]
    wait_s = retry_after_s(error)
    # The first that fits counts: some are special cases of others.
    answers: tuple[tuple[type[Exception], Outcome], ...] = (
        (messaging.UnregisteredError, Outcome(Result.GONE, f"UNREGISTERED: {said}")),
        (messaging.SenderIdMismatchError, Outcome(Result.GONE, f"SENDER_ID_MISMATCH: {said}")),
        (messaging.ThirdPartyAuthError, Outcome(Result.LATER, APNS_KEY, APNS_WAIT_S)),
        (
            exceptions.ResourceExhaustedError,
            Outcome(Result.LATER, f"quota: {said}", wait_s or QUOTA_WAIT_S),
        ),
        (
            exceptions.InvalidArgumentError,
            Outcome(Result.GONE if "registration token" in said else Result.REFUSED, said),
        ),
        (exceptions.NotFoundError, Outcome(Result.BLOCKED, f"cloud.project: unknown: {said}")),
        (exceptions.UnauthenticatedError, _refused(said)),
        (exceptions.PermissionDeniedError, _refused(said)),
    )
    found = (outcome for kind, outcome in answers if isinstance(error, kind))
    return next(found, Outcome(Result.LATER, said, wait_s, _may_be_taken(error)))


def _may_be_taken(error: Exception) -> bool:
    """Tell whether Google may have taken a message although no answer says so."""
    import httpx  # noqa: PLC0415 - comes with firebase-admin
    from firebase_admin import exceptions

    unsaid = (
        exceptions.DeadlineExceededError, exceptions.UnknownError, exceptions.InternalError,
    )  # fmt: skip
    never_left = isinstance(getattr(error, "cause", None), httpx.ConnectTimeout)
    return isinstance(error, unsaid) and not never_left


def _credential_outcome(error: Exception) -> Outcome:
    """Translate what goes wrong before a message is sent: the access token could not be had."""
    from google.auth.exceptions import GoogleAuthError, TransportError

    cause = getattr(error, "cause", None) or error.__cause__
    passing = isinstance(cause, TransportError) or getattr(cause, "retryable", False)
    if isinstance(cause, GoogleAuthError) and not passing:
        return _refused(str(cause)[:200])
    return outcome_of(error)


def _refused(said: str) -> Outcome:
    """Say who must act when Google lets us not in."""
    told = (
        "Google refuses the credentials: renew cloud.credentials_file, or log in again; give the"
        f" account the role Firebase Cloud Messaging API Admin, or set the clock ({said})"
    )
    return Outcome(Result.BLOCKED, told)


def retry_after_s(error: Exception) -> float:
    """Return the seconds of an answer's Retry-After, as a number or a date; 0 without one."""
    response = getattr(error, "http_response", None)
    text = "" if response is None else str(response.headers.get("Retry-After", ""))
    if text.strip().isdecimal():
        return float(text)
    moment = email.utils.parsedate_tz(text)
    return 0.0 if moment is None else max(0.0, email.utils.mktime_tz(moment) - time.time())
