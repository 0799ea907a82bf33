"""Password hashes by argon2id, one at a time in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from gateway.domain.errors import StorageError
from gateway.services.accounts import BusyError

T = TypeVar("T")
# OWASP Password Storage Cheat Sheet (2024): of its equivalent settings for argon2id the one
# that takes least memory. The C library keeps what a hash took, and with the library's default
# of 64 MiB one login would nearly double what the gateway takes on a Pi.
MEMORY_KIB = 7168
PASSES = 5
LANES = 1
LONGEST_QUEUE = 8  # about a second of work on a Pi; more is refused rather than queued


class Argon2Passwords:
    """Satisfies `Passwords`; a flood of logins costs one core at low memory, never more."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="argon2")
        self._waiting = 0
        self._lock = threading.Lock()
        self._decoy: str | None = None  # made at the first need: start-up stays quick

    async def hash(self, password: str) -> str:
        """Return a salted hash. Raises BusyError."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether they match; None costs the same time. Raises BusyError, StorageError."""
        return await self._run(lambda: self._verify(password, hashed))

    def outdated(self, hashed: str) -> bool:
        """Tell whether a hash was made with other parameters than this object's."""
        return self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def _verify(self, password: str, hashed: str | None) -> bool:
        if hashed is None and self._decoy is None:
            self._decoy = self._hasher.hash(password)  # takes as long as a check
            return False
        try:
            self._hasher.verify(hashed or self._decoy or "", password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as error:
            msg = f"a stored password hash is damaged ({error}); set the password anew"
            raise StorageError(msg) from error
        return hashed is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= LONGEST_QUEUE:
            msg = "too many logins at once"
            raise BusyError(msg)
        with self._lock:
            self._waiting += 1
        # Counted until the thread is done with it, also when the caller has gone.
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: "Future[T]") -> None:
        with self._lock:
            self._waiting -= 1
