"""API tokens: how scripts log in. Named, bound to a role, with an end, kept as hashes only."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.accounts import (
    DAY_MS,
    AuditEntry,
    Caller,
    UserRole,
    check_name,
    texts,
    token_hash,
    wall_ms,
)

PREFIX = "ww_"  # so that scanners for leaked secrets can know one
TOKEN_BYTES = 32
USUAL_DAYS = 365
MOST_DAYS = 3650
MOST_TOKENS = 200
TOUCH_EVERY_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token as stored; `seen_ms` None = never used."""

    name: str
    token_hash: bytes
    role: UserRole
    created_ms: int
    created_by: str
    expires_ms: int
    seen_ms: int | None = None


class TokenStore(Protocol):
    """Where tokens live. Every change commits together with its audit entry."""

    async def add_token(self, token: ApiToken, most: int, entry: AuditEntry) -> bool:
        """Store a token; return False when the name is taken or there are `most` already."""

    async def remove_token(self, name: str, entry: AuditEntry) -> bool:
        """Remove a token; return False for an unknown name."""

    async def find_token(self, hashed: bytes) -> ApiToken | None:
        """Return a token."""

    async def touch_token(self, name: str, seen_ms: int) -> None:
        """Note when a token was last used."""

    async def list_tokens(self) -> list[ApiToken]:
        """Return all tokens by name."""


class Tokens:
    """Adds and revokes tokens, and knows who holds one."""

    def __init__(self, store: TokenStore, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._store = store
        self._now_ms = now_ms

    async def add(self, name: str, role: str, days: int, who: str) -> tuple[str, ApiToken]:
        """Return a new token, shown this once, and what is kept of it; BadInputError."""
        check_name(name)
        if role not in set(UserRole):
            msg = f"role: must be one of {', '.join(UserRole)}, not {role[:40]!r}"
            raise BadInputError(msg)
        if not 1 <= days <= MOST_DAYS:
            msg = f"days: must be 1 to {MOST_DAYS}"
            raise BadInputError(msg)
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        now_ms = self._now_ms()
        expires_ms = now_ms + days * DAY_MS
        kept = ApiToken(name, token_hash(text), UserRole(role), now_ms, who, expires_ms)
        entry = AuditEntry(now_ms, who, "token_added", f"{name} {role} {days} days")
        if not await self._store.add_token(kept, MOST_TOKENS, entry):
            msg = f"token {name!r} exists already, or there are {MOST_TOKENS}; remove one first"
            raise BadInputError(msg)
        return text, kept

    async def remove(self, name: str, who: str) -> None:
        """Revoke a token at once; NotFoundError."""
        entry = AuditEntry(self._now_ms(), who, "token_removed", name[:80])
        if not await self._store.remove_token(name, entry):
            msg = f"no token named {name[:80]!r}; see: wattwarden users token list"
            raise NotFoundError(msg)

    async def tokens(self) -> list[ApiToken]:
        """Return all tokens by name, expired ones too."""
        return await self._store.list_tokens()

    async def caller(self, text: str) -> Caller | None:
        """Return who holds a token; None when unknown, revoked or expired."""
        found = await self._store.find_token(token_hash(text))
        now_ms = self._now_ms()
        if found is None or now_ms >= found.expires_ms:
            return None
        if found.seen_ms is None or abs(now_ms - found.seen_ms) >= TOUCH_EVERY_MS:
            await self._store.touch_token(found.name, now_ms)
        return Caller(f"token:{found.name}", found.role)  # no person's name has a colon


Operation = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]


def token_operations(tokens: Tokens) -> dict[str, Operation]:
    """Return what may be done with tokens, by name; all audit themselves."""
    return {
        "tokens.add": partial(_add, tokens),
        "tokens.remove": partial(_remove, tokens),
        "tokens.list": partial(_list, tokens),
    }


async def _add(tokens: Tokens, args: Mapping[str, object], who: str) -> dict[str, object]:
    """Add a token: {name, role, days} gives {token, …}."""
    days = args.get("days", USUAL_DAYS)
    if type(days) is not int:
        msg = "days: must be a whole number"
        raise BadInputError(msg)
    rest = {key: value for key, value in args.items() if key != "days"}
    name, role = texts(rest, "name", "role")
    text, kept = await tokens.add(name, role, days, who)
    return {"token": text, **shown(kept)}


async def _remove(tokens: Tokens, args: Mapping[str, object], who: str) -> dict[str, object]:
    """Revoke a token: {name} gives {name}."""
    (name,) = texts(args, "name")
    await tokens.remove(name, who)
    return {"name": name}


async def _list(tokens: Tokens, args: Mapping[str, object], _: str) -> dict[str, object]:
    """List tokens: {} gives {items: […], next: null}, without the tokens themselves."""
    texts(args)
    return {"items": [shown(token) for token in await tokens.tokens()], "next": None}


def shown(token: ApiToken) -> dict[str, object]:
    """Return what people may see of a token; times in ms."""
    return {
        "name": token.name,
        "role": token.role.value,
        "created": token.created_ms,
        "created_by": token.created_by,
        "expires": token.expires_ms,
        "seen": token.seen_ms,
    }
