"""API tokens and the code of the first run in memory: the twins of the SQLite stores."""

from dataclasses import replace

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.services.accounts import AuditEntry, User
from gateway.services.tokens import ApiToken


class MemoryTokens:
    """Satisfies `TokenStore`; audits with the accounts."""

    def __init__(self, accounts: MemoryAccounts) -> None:
        self._accounts = accounts
        self._tokens: dict[str, ApiToken] = {}

    async def add_token(self, token: ApiToken, most: int, entry: AuditEntry) -> bool:
        """Store a token; return False when the name is taken or there are `most` already."""
        if token.name in self._tokens or len(self._tokens) >= most:
            return False
        self._tokens[token.name] = token
        await self._accounts.record(entry)
        return True

    async def remove_token(self, name: str, entry: AuditEntry) -> bool:
        """Remove a token; return False for an unknown name."""
        if self._tokens.pop(name, None) is None:
            return False
        await self._accounts.record(entry)
        return True

    async def find_token(self, hashed: bytes) -> ApiToken | None:
        """Return a token."""
        return next((t for t in self._tokens.values() if t.token_hash == hashed), None)

    async def touch_token(self, name: str, seen_ms: int) -> None:
        """Note when a token was last used."""
        if name in self._tokens:
            self._tokens[name] = replace(self._tokens[name], seen_ms=seen_ms)

    async def list_tokens(self) -> list[ApiToken]:
        """Return all tokens by name."""
        return sorted(self._tokens.values(), key=lambda token: token.name)


class MemorySetup:
    """Satisfies `SetupStore` over the accounts."""

    def __init__(self, accounts: MemoryAccounts) -> None:
        self._accounts = accounts
        self._kept: tuple[bytes, int] | None = None

    async def has_users(self) -> bool:
        """Tell whether anybody may log in."""
        return bool(await self._accounts.list_users())

    async def keep_code(self, hashed: bytes, expires_ms: int, entry: AuditEntry) -> None:
        """Keep a code's hash in place of an earlier one."""
        self._kept = (hashed, expires_ms)
        await self._accounts.record(entry)

    async def code(self) -> tuple[bytes, int] | None:
        """Return the hash and its end."""
        return self._kept

    async def claim(self, user: User, hashed: bytes, entry: AuditEntry) -> bool:
        """Add the first user and forget the code; False when it is no longer this code's turn."""
        if self._kept is None or self._kept[0] != hashed or await self.has_users():
            return False
        self._kept = None
        return await self._accounts.add_user(user, entry)
