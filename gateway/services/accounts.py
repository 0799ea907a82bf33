"""People who may use the gateway: names, roles, passwords, sessions, and the audit of all that."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gateway.domain.errors import (
    BadInputError,
    ConflictError,
    GatewayError,
    NotFoundError,
    TransientError,
)
from gateway.services.lockout import Lockout

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
DAY_MS = 86_400_000
IDLE_LIMIT_MS = 7 * DAY_MS
SESSION_LIMIT_MS = 30 * DAY_MS
TOUCH_EVERY_MS = 5 * 60_000  # not at every request: each is a commit on the SD card
SESSIONS_PER_USER = 20
TOKEN_BYTES = 32


class UserRole(StrEnum):
    """What a person may do: all, run the site, or look."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"


class LoginRefusedError(GatewayError):
    """Wrong name or password; which of them is never told."""


class LockedOutError(GatewayError):
    """Too many wrong passwords: the caller must wait `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passwords; wait {wait_s:.0f} s")
        self.wait_s = wait_s


class BusyError(TransientError):
    """So many logins wait already that another is refused; try again in a few seconds."""


@dataclass(frozen=True, slots=True)
class User:
    """One person as stored; the hash tells its own algorithm and parameters."""

    name: str
    role: UserRole
    password_hash: str = field(repr=False)
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """One login as stored: the token itself is known to the browser alone."""

    token_hash: bytes
    user: str
    created_ms: int
    seen_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to an account, and when."""

    at_ms: int
    who: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking."""

    name: str
    role: UserRole


class AccountStore(Protocol):
    """Where accounts live. Every change commits together with its audit entry."""

    async def add_user(self, user: User, entry: AuditEntry) -> bool:
        """Store a new user; return False when the name is taken."""

    async def set_password(
        self, name: str, password_hash: str, at_ms: int, entry: AuditEntry
    ) -> bool:
        """Change a password and end the user's sessions; return False for an unknown name."""

    async def change_password(
        self, user: User, password_hash: str, keep: bytes, entry: AuditEntry
    ) -> bool:
        """Change a password and end the user's sessions but `keep`, which is a token's hash.

        Return False, and change nothing, for who is gone or has another hash by now than `user`.
        """

    async def rehash(self, name: str, old_hash: str, new_hash: str) -> None:
        """Replace a hash by one of the same password, unless it changed meanwhile."""

    async def remove_user(self, name: str, entry: AuditEntry) -> bool:
        """Remove a user and the sessions.

        Return False for an unknown name, and for the last administrator, who stays.
        """

    async def get_user(self, name: str) -> User | None:
        """Return a user."""

    async def list_users(self) -> list[User]:
        """Return all users by name."""

    async def add_session(
        self, session: Session, password_hash: str, keep: int, entry: AuditEntry
    ) -> bool:
        """Store a session unless the user is gone or has another hash by now (False).

        Removes what has expired, and all but the `keep` newest sessions of the user.
        """

    async def find_session(self, token_hash: bytes) -> tuple[Session, UserRole] | None:
        """Return a session and its user's role of today."""

    async def touch_session(self, token_hash: bytes, seen_ms: int) -> None:
        """Note when a session was last used."""

    async def remove_session(self, token_hash: bytes, entry: AuditEntry) -> None:
        """End a session; one that is gone already is no error."""

    async def record(self, entry: AuditEntry) -> None:
        """Keep an audit entry; the oldest beyond a bound are dropped."""

    async def audit(self, limit: int) -> list[AuditEntry]:
        """Return the newest audit entries, newest first."""

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, newest first, below a number."""


class Passwords(Protocol):
    """How passwords are hashed; slow on purpose, so never on the event loop."""

    async def hash(self, password: str) -> str:
        """Return a salted hash."""

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether they match; None takes as long as a wrong password. Raises BusyError."""

    def outdated(self, hashed: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""


def wall_ms() -> int:
    """Return this machine's clock as Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Accounts:
    """Adds and removes people, logs them in, and knows who holds a session."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        *,
        now_ms: Callable[[], int] = wall_ms,
        lockout: Lockout | None = None,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._now_ms = now_ms
        self._lockout = Lockout() if lockout is None else lockout

    async def add(self, name: str, role: str, password: str, who: str) -> User:
        """Add a person, or raise BadInputError: bad name, role or password, or name taken."""
        check_name(name)
        if role not in set(UserRole):
            msg = f"role: must be one of {', '.join(UserRole)}, not {role[:40]!r}"
            raise BadInputError(msg)
        check_password(password)
        now_ms = self._now_ms()
        hashed = await self._passwords.hash(password)
        user = User(name, UserRole(role), hashed, now_ms, now_ms)
        if not await self._store.add_user(user, self._entry(who, "user_added", f"{name} {role}")):
            msg = f"user {name!r} exists already; change the password with: wattwarden users passwd"
            raise BadInputError(msg)
        return user

    async def passwd(self, name: str, password: str, who: str) -> None:
        """Set a password and end the sessions; NotFoundError, BadInputError."""
        check_password(password)
        hashed = await self._passwords.hash(password)
        entry = self._entry(who, "password_changed", name)
        if not await self._store.set_password(name, hashed, entry.at_ms, entry):
            raise _unknown(name)

    async def change(self, name: str, passwords: tuple[str, str], token: str, address: str) -> None:
        """Have a person change the own password, (old, new), and end all sessions but `token`.

        BadInputError for a wrong old or a bad new one; wrong ones count as at the login, so
        LockedOutError after too many, and BusyError.
        """
        old, new = passwords
        check_password(new)
        self._charge(name, address)
        user = await self._store.get_user(name)
        is_changed = False
        if await self._verify(user, old, name, address) and user is not None:
            hashed = await self._passwords.hash(new)
            entry = self._entry(name, "own_password_changed", address)
            is_changed = await self._store.change_password(user, hashed, token_hash(token), entry)
        if not is_changed:
            await self._store.record(self._entry(name, "password_refused", address))
            msg = "old: is not your password"
            raise BadInputError(msg)
        self._lockout.refund(name, address, forget=True)

    async def remove(self, name: str, who: str) -> None:
        """Remove a person and the sessions; NotFoundError, ConflictError for the last admin."""
        if await self._store.remove_user(name, self._entry(who, "user_removed", name)):
            return
        if await self._store.get_user(name) is None:
            raise _unknown(name)
        msg = f"{name} is the last administrator; add another first: wattwarden users add NAME"
        raise ConflictError(msg)

    async def users(self) -> list[User]:
        """Return everybody, by name."""
        return await self._store.list_users()

    async def login(self, name: str, password: str, address: str) -> tuple[str, Caller]:
        """Return a new session's token and whose it is.

        Raises LoginRefusedError, LockedOutError after too many failures, or BusyError.
        """
        known_form = (
            USER_NAME.fullmatch(name) is not None
            and len(password) <= LONGEST_PASSWORD
            and _is_unicode(password)
        )
        label = name if known_form else "?"
        self._charge(label, address)
        user = await self._store.get_user(name) if known_form else None
        right = await self._verify(user, password if known_form else "", label, address)
        token = await self._open_session(user, password, address) if user and right else None
        if user is None or token is None:
            await self._store.record(self._entry(label, "login_refused", address))
            msg = "wrong user name or password"
            raise LoginRefusedError(msg)
        self._lockout.refund(label, address, forget=True)
        return token, Caller(user.name, user.role)

    def _charge(self, label: str, address: str) -> None:
        """Count an attempt as a failure, or raise LockedOutError."""
        wait_s = self._lockout.charge(label, address)
        if wait_s > 0:
            raise LockedOutError(wait_s)

    async def _verify(self, user: User | None, password: str, label: str, address: str) -> bool:
        try:
            return await self._passwords.verify(password, user.password_hash if user else None)
        except BusyError:  # nothing was guessed
            self._lockout.refund(label, address, forget=False)
            raise

    async def _open_session(self, user: User, password: str, address: str) -> str | None:
        """Return a token, or None when the account changed while the password was checked."""
        hashed = user.password_hash
        if self._passwords.outdated(hashed):
            hashed = await self._passwords.hash(password)
            await self._store.rehash(user.name, user.password_hash, hashed)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_ms = self._now_ms()
        session = Session(token_hash(token), user.name, now_ms, now_ms, now_ms + SESSION_LIMIT_MS)
        entry = self._entry(user.name, "login", address)
        kept = await self._store.add_session(session, hashed, SESSIONS_PER_USER, entry)
        return token if kept else None

    async def caller(self, token: str) -> Caller | None:
        """Return whose session a token is; None when unknown, idle too long, or expired."""
        key = token_hash(token)
        found = await self._store.find_session(key)
        if found is None:
            return None
        session, role = found
        now_ms = self._now_ms()
        if now_ms >= session.expires_ms or now_ms - session.seen_ms >= IDLE_LIMIT_MS:
            return None
        # abs: a clock set back must not freeze the mark in the future
        if abs(now_ms - session.seen_ms) >= TOUCH_EVERY_MS:
            await self._store.touch_session(key, now_ms)
        return Caller(session.user, role)

    async def logout(self, token: str, who: str) -> None:
        """End a session."""
        await self._store.remove_session(token_hash(token), self._entry(who, "logout", ""))

    async def note(self, who: str, what: str, detail: str) -> None:
        """Keep in the audit what somebody did elsewhere."""
        await self._store.record(self._entry(who, what, detail))

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, newest first, below a number."""
        return await self._store.audit_page(before, limit)

    def _entry(self, who: str, what: str, detail: str) -> AuditEntry:
        return AuditEntry(self._now_ms(), who, what, detail)


def token_hash(token: str) -> bytes:
    """Return what is stored of a token: it is random, so a plain SHA-256 cannot be guessed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def check_name(name: str) -> None:
    """Raise BadInputError unless this may be a name."""
    if USER_NAME.fullmatch(name) is None:
        msg = (
            f"name: {name[:80]!r} must be 1 to 64 letters, digits or . _ @ - "
            "and start with a letter or digit"
        )
        raise BadInputError(msg)


def check_password(password: str) -> None:
    """Raise BadInputError unless a password has an allowed length; what it is, is not told."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        msg = (
            f"password: must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, "
            f"this one has {len(password)}"
        )
        raise BadInputError(msg)


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be stored; JSON can carry lone surrogates, which cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"no user named {name[:80]!r}; see: wattwarden users list")


def texts(args: Mapping[str, object], *keys: str) -> list[str]:
    """Return exactly these arguments, or raise BadInputError naming the one that is wrong."""
    for key in args.keys() - set(keys):
        msg = f"{key[:80]}: unknown argument"
        raise BadInputError(msg)
    values = []
    for key in keys:
        value = args.get(key)
        if not isinstance(value, str):
            msg = f"{key}: must be given, as text"
            raise BadInputError(msg)
        if not _is_unicode(value):
            msg = f"{key}: is not valid Unicode"
            raise BadInputError(msg)
        values.append(value)
    return values
