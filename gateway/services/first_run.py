"""The first administrator, made over the web by who knows a code that this machine printed."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from gateway.domain.errors import BadInputError
from gateway.services.accounts import (
    AuditEntry,
    LockedOutError,
    LoginRefusedError,
    Passwords,
    User,
    UserRole,
    check_name,
    check_password,
    texts,
    token_hash,
    wall_ms,
)
from gateway.services.lockout import Lockout

# No letters that look alike; 12 of 28 are 57 bits, far beyond what the lock-out lets anybody try.
LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 12
VALID_MS = 24 * 3_600_000
LABEL = "?setup"  # in the lock-out's table; no user has such a name


class SetupStore(Protocol):
    """Where the code's hash lives; every change commits together with its audit entry."""

    async def has_users(self) -> bool:
        """Tell whether anybody may log in."""

    async def keep_code(self, hashed: bytes, expires_ms: int, entry: AuditEntry) -> None:
        """Keep a code's hash in place of an earlier one."""

    async def code(self) -> tuple[bytes, int] | None:
        """Return the hash and its end."""

    async def claim(self, user: User, hashed: bytes, entry: AuditEntry) -> bool:
        """Add the first user and forget the code; False when it is no longer this code's turn."""


class FirstRun:
    """Hands out one code at a time, and takes it for the first account."""

    def __init__(
        self,
        store: SetupStore,
        passwords: Passwords,
        *,
        now_ms: Callable[[], int] = wall_ms,
        lockout: Lockout | None = None,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._now_ms = now_ms
        self._lockout = Lockout() if lockout is None else lockout

    async def needed(self) -> bool:
        """Tell whether nobody may log in yet."""
        return not await self._store.has_users()

    async def new_code(self, who: str) -> tuple[str, int]:
        """Return a new code, which ends any earlier one, and until when it holds (Unix ms).

        BadInputError when there is an account already.
        """
        if not await self.needed():
            msg = "somebody may log in already; add more with: wattwarden users add NAME"
            raise BadInputError(msg)
        code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
        now_ms = self._now_ms()
        entry = AuditEntry(now_ms, who, "setup_code", "a code for the first account")
        await self._store.keep_code(_hash(code), now_ms + VALID_MS, entry)
        return "-".join(code[at : at + 4] for at in range(0, CODE_LENGTH, 4)), now_ms + VALID_MS

    async def claim(self, code: str, name: str, password: str, address: str) -> User:
        """Make the first administrator.

        Raises LoginRefusedError for a wrong or old code, LockedOutError after too many of
        them, BadInputError for a bad name or password or when it has been done already.
        """
        if not await self.needed():
            msg = "code: the first account exists already; log in"
            raise BadInputError(msg)
        check_name(name)
        check_password(password)
        if (wait_s := self._lockout.charge(LABEL, address)) > 0:
            raise LockedOutError(wait_s)
        now_ms = self._now_ms()
        kept, hashed = await self._store.code(), _hash(code)
        if kept is None or now_ms >= kept[1] or not hmac.compare_digest(kept[0], hashed):
            msg = "code: wrong or too old; print another with: wattwarden users setup-code"
            raise LoginRefusedError(msg)
        password_hash = await self._passwords.hash(password)
        user = User(name, UserRole.ADMIN, password_hash, now_ms, now_ms)
        entry = AuditEntry(now_ms, name, "first_user_added", f"{name} admin from {address}")
        if not await self._store.claim(user, hashed, entry):
            msg = "code: it has just been used"
            raise LoginRefusedError(msg)
        self._lockout.refund(LABEL, address, forget=True)
        return user


def _hash(code: str) -> bytes:
    letters = "".join(letter for letter in code.upper() if letter in LETTERS)
    return token_hash(letters)


Operation = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]


def setup_operations(first_run: FirstRun) -> dict[str, Operation]:
    """Return what may be done before the first login, by name; it audits itself."""
    return {"users.setup_code": partial(_new_code, first_run)}


async def _new_code(first_run: FirstRun, args: Mapping[str, object], who: str) -> dict[str, object]:
    """Make a code: {} gives {code, expires}."""
    texts(args)
    code, expires_ms = await first_run.new_code(who)
    return {"code": code, "expires": expires_ms}
