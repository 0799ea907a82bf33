"""The site's commands collection in Firestore: listened to, read, answered."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from cloud_sync.errors import CloudDownError
from cloud_sync.firebase_app import disconnect, renew
from cloud_sync.firestore import translated
from gateway.domain.errors import GatewayError
from gateway.services.remote_commands import Arrival
from gateway.services.remote_forms import RemoteResult, State

if TYPE_CHECKING:
    from google.cloud.firestore import Client

log = structlog.get_logger()
T = TypeVar("T")
TIMEOUT_S = 10.0
CALL_LIMIT_S = 30.0  # the call's own limit, and a refresh of the token
LISTEN_AGAIN_S = 60.0
MOST_DATA_BYTES = 10_000  # of an answer; a document may have 1 MB, a phone wants little


class FirestoreCommandBox:
    """Satisfies `CommandBox`. `connect` makes a client; called in threads."""

    def __init__(self, connect: "Callable[[], Client]", site: str) -> None:
        self._connect = connect
        self._root = f"sites/{site}"
        self._client: Client | None = None
        self._watch: Any = None
        self._began_s = float("-inf")
        self._news = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Return when something may have arrived, or after a time."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._listen, lambda: loop.call_soon_threadsafe(self._news.set))
        except Exception as error:  # noqa: BLE001 - of a library; the next look finds it too
            log.warning("commands_not_heard", error=str(error)[:200])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    async def pending(self, limit: int) -> list[Arrival]:
        """Return commands that nobody has answered, oldest first."""

        def ask(client: "Client") -> list[Arrival]:
            from google.cloud.firestore_v1.base_query import FieldFilter

            commands = client.collection(f"{self._root}/commands")
            query = commands.where(filter=FieldFilter("state", "==", State.NEW.value)).limit(limit)
            found = query.get(timeout=TIMEOUT_S, retry=None)
            ordered = sorted(found, key=lambda document: document.create_time)
            return [_arrival(document) for document in ordered]

        return await self._do(ask)

    async def role_of(self, uid: str) -> str | None:
        """Return a person's role at this site as it is now; None for no member."""

        def ask(client: "Client") -> str | None:
            if "/" in uid:
                return None
            member = client.document(f"{self._root}/members/{uid}")
            found = member.get(timeout=TIMEOUT_S, retry=None)
            role = found.get("role") if found.exists else None
            return role if isinstance(role, str) else None

        return await self._do(ask)

    async def answer(self, command_id: str, result: RemoteResult) -> None:
        """Write a result back; a document that is gone is no error."""
        data = result.data if len(msgspec.json.encode(result.data)) <= MOST_DATA_BYTES else {}
        body = {
            "state": result.state.value,
            "result": {"ok": result.ok, "error": result.error, "data": data},
        }

        def tell(client: "Client") -> None:
            from google.api_core.exceptions import NotFound
            from google.cloud.firestore import SERVER_TIMESTAMP

            command = client.document(f"{self._root}/commands/{command_id}")
            with contextlib.suppress(NotFound):
                command.update(
                    {**body, "answered": SERVER_TIMESTAMP},
                    timeout=TIMEOUT_S, retry=None,
                )  # fmt: skip

        await self._do(tell)

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.to_thread(self._disconnect)

    async def _do(self, ask: "Callable[[Client], T]") -> T:
        """Ask in a thread; a call without an answer costs the connection."""

        def call() -> T:
            if self._client is None:
                self._client = self._connect()
            with translated():
                renew(self._client)
                return ask(self._client)

        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                return await asyncio.to_thread(call)
        except (GatewayError, TimeoutError) as error:
            await self.close()
            if isinstance(error, GatewayError):
                raise
            msg = f"no answer within {CALL_LIMIT_S:.0f} s"
            raise CloudDownError(msg) from error

    def _listen(self, tell: Callable[[], object]) -> None:
        """Begin to listen, or begin anew where listening has ended."""
        from google.cloud.firestore_v1.base_query import FieldFilter

        if self._watch is not None and self._watch.is_active:
            return
        if self._client is None or time.monotonic() - self._began_s < LISTEN_AGAIN_S:
            return
        self._began_s = time.monotonic()
        commands = self._client.collection(f"{self._root}/commands")
        query = commands.where(filter=FieldFilter("state", "==", State.NEW.value))
        self._watch = query.on_snapshot(lambda *_: tell())

    def _disconnect(self) -> None:
        watch, self._watch = self._watch, None
        client, self._client = self._client, None
        self._began_s = float("-inf")
        if watch is not None:
            watch.unsubscribe()
        if client is not None:
            disconnect(client)


def _arrival(document: Any) -> Arrival:  # noqa: ANN401 - google's snapshot
    """Return a snapshot's own fields: what the gateway itself writes is not judged."""
    fields = dict(document.to_dict() or {})
    for own in ("state", "result", "answered", "created"):
        fields.pop(own, None)
    return Arrival(document.id, fields, int(document.read_time.timestamp() * 1000))
