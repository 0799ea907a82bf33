"""Documents into Firestore: the only module that writes there for the uploader.

The client's own retries are switched off: with them a write to a server that is down blocks for
a minute. A call that times out costs the connection, for gRPC would wait up to two minutes before
it tries to connect again, and a dead one can look alive.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from cloud_sync.documents import EPOCH, Document
from cloud_sync.errors import (
    CloudBusyError,
    CloudDownError,
    CredentialError,
    ForbiddenError,
    QuotaError,
    RejectedError,
)
from cloud_sync.firebase_app import disconnect, renew
from cloud_sync.ports import Receipt
from gateway.domain.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.firestore import Client

T = TypeVar("T")
THREADS = 5  # three batches and the newest readings, and one that was given up and still ends
GRACE_S = 5.0  # above the call's own time limit
TOKEN_LIMIT_S = 30.0  # for a new access token, tries and all
NEVER_LEFT = ("failed to connect", "DNS", "Connection refused", "metadata from plugin")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise what Google's libraries raise as an error of ours that says who must act."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except (api.ServiceUnavailable, api.DeadlineExceeded, api.Cancelled) as error:
        text = f"no answer: {error.message}"
        raise CloudDownError(text, maybe_written=not _never_left(error)) from error
    except (api.Aborted, api.Conflict) as error:
        text = f"contention: {error.message}"
        raise CloudBusyError(text) from error
    except api.TooManyRequests as error:  # gRPC's RESOURCE_EXHAUSTED
        text = f"quota of the project used up: {error.message}"
        raise QuotaError(text) from error
    except api.Unauthenticated as error:
        text = f"credentials refused: {error.message}"
        raise CredentialError(text) from error
    except (api.Forbidden, api.NotFound, api.FailedPrecondition) as error:
        # FAILED_PRECONDITION: such as a database in Datastore mode; no document's fault.
        text = f"refused: {error.message}"
        raise ForbiddenError(text) from error
    except auth.GoogleAuthError as error:  # before ValueError, which some of these are too
        raise _token_error(error) from error
    except (api.BadRequest, ValueError, TypeError) as error:
        text = str(error)
        raise RejectedError(text) from error
    except (api.ServerError, api.GoogleAPICallError, OSError) as error:
        text = f"the cloud failed: {error}"
        raise CloudDownError(text, maybe_written=True) from error


def _token_error(error: "GoogleAuthError") -> GatewayError:
    """Return what it means that no access token could be had; nothing was sent."""
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError) or error.retryable:
        return CloudDownError(f"no way to Google's tokens: {error}")
    return CredentialError(f"credentials refused: {error}")


def _never_left(error: Exception) -> bool:
    """Tell whether the request failed before there was a connection or a token to send it with."""
    return any(word in str(error) for word in NEVER_LEFT)


class FirestoreCloud:
    """Satisfies `Cloud`. `connect` makes a client; a new one after every call without answer."""

    def __init__(self, connect: "Callable[[], Client]") -> None:
        self._connect = connect
        self._client: Client | None = None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="firestore")
        self._closed = False

    async def put(self, documents: Sequence[Document], timeout_s: float) -> Receipt:
        """Write documents in one commit: all of them, or none."""
        try:
            await self._within(TOKEN_LIMIT_S, self._prepare, sending=False)
            call = functools.partial(self._commit, documents, timeout_s)
            return await self._within(timeout_s + GRACE_S, call, sending=True)
        except CloudDownError:
            self._drop()
            raise

    async def _within(self, limit_s: float, call: Callable[[], T], *, sending: bool) -> T:
        """Call in a thread; CloudDownError where it takes too long."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s):
                return await loop.run_in_executor(self._pool, call)
        except TimeoutError as error:
            msg = f"no answer within {limit_s:.0f} s"
            raise CloudDownError(msg, maybe_written=sending) from error

    def _prepare(self) -> None:
        """Have a client and a token: nothing has been sent where that fails."""
        with translated():
            renew(self._usable())

    def _commit(self, documents: Sequence[Document], timeout_s: float) -> Receipt:
        with translated():
            client = self._usable()
            batch = client.batch()
            for document in documents:
                batch.set(client.document(document.path), document.fields)
            results = batch.commit(retry=None, timeout=timeout_s)
            written = results[0].update_time
            server_ms = round((written - EPOCH).total_seconds() * 1000)
        return Receipt(server_ms)

    def _usable(self) -> "Client":
        client = self._client
        if client is None:
            if self._closed:
                msg = "disconnected"
                raise CloudDownError(msg)
            try:
                client = self._client = self._connect()
            except (ConfigError, ValueError, TypeError) as error:
                # Nobody has logged in yet, or the project's name is none: the house goes on.
                raise CredentialError(str(error)) from error
        return client

    def _drop(self) -> None:
        """Forget the connection; calls on it end at once."""
        client, self._client = self._client, None
        if client is not None:
            disconnect(client)

    async def close(self) -> None:
        """Give up what is under way and disconnect."""
        self._closed = True
        self._drop()
        self._pool.shutdown(wait=False, cancel_futures=True)
