"""API tokens and the code of the first run, in SQLite."""

import sqlite3

from gateway.adapters.store.accounts import insert_audit, insert_user
from gateway.adapters.store.database import Database
from gateway.services.accounts import AuditEntry, User, UserRole
from gateway.services.tokens import ApiToken

COLUMNS = "name, token_hash, role, created_ms, created_by, expires_ms, seen_ms"
CODE_KEY = "setup_code"  # value: hash in hex, a colon, its end in Unix ms


class SqlTokens:
    """Satisfies `TokenStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_token(self, token: ApiToken, most: int, entry: AuditEntry) -> bool:
        """Store a token; return False when the name is taken or there are `most` already."""

        def work(db: sqlite3.Connection) -> bool:
            added = db.execute(
                f"INSERT INTO api_tokens ({COLUMNS}) SELECT ?,?,?,?,?,?,?"  # noqa: S608 - ours
                " WHERE (SELECT count(*) FROM api_tokens) < ? ON CONFLICT DO NOTHING",
                (
                    token.name, token.token_hash, token.role.value, token.created_ms,
                    token.created_by, token.expires_ms, token.seen_ms, most,
                ),
            ).rowcount  # fmt: skip
            return _audited(db, added, entry)

        return await self._database.write(work)

    async def remove_token(self, name: str, entry: AuditEntry) -> bool:
        """Remove a token; return False for an unknown name."""

        def work(db: sqlite3.Connection) -> bool:
            gone = db.execute("DELETE FROM api_tokens WHERE name = ?", (name,)).rowcount
            return _audited(db, gone, entry)

        return await self._database.write(work)

    async def find_token(self, hashed: bytes) -> ApiToken | None:
        """Return a token."""
        query = f"SELECT {COLUMNS} FROM api_tokens WHERE token_hash = ?"  # noqa: S608 - ours
        row = await self._database.read(lambda db: db.execute(query, (hashed,)).fetchone())
        return None if row is None else _token(row)

    async def touch_token(self, name: str, seen_ms: int) -> None:
        """Note when a token was last used."""
        query = "UPDATE api_tokens SET seen_ms = ? WHERE name = ?"
        await self._database.write(lambda db: db.execute(query, (seen_ms, name)).rowcount)

    async def list_tokens(self) -> list[ApiToken]:
        """Return all tokens by name."""
        query = f"SELECT {COLUMNS} FROM api_tokens ORDER BY name"  # noqa: S608 - ours
        rows = await self._database.read(lambda db: db.execute(query).fetchall())
        return [_token(row) for row in rows]


class SqlSetup:
    """Satisfies `SetupStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def has_users(self) -> bool:
        """Tell whether anybody may log in."""
        return await self._database.read(_has_users)

    async def keep_code(self, hashed: bytes, expires_ms: int, entry: AuditEntry) -> None:
        """Keep a code's hash in place of an earlier one."""

        def work(db: sqlite3.Connection) -> None:
            value = f"{hashed.hex()}:{expires_ms}"
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (CODE_KEY, value))
            insert_audit(db, entry)

        await self._database.write(work)

    async def code(self) -> tuple[bytes, int] | None:
        """Return the hash and its end."""
        return await self._database.read(_code)

    async def claim(self, user: User, hashed: bytes, entry: AuditEntry) -> bool:
        """Add the first user and forget the code; False when it is no longer this code's turn."""

        def work(db: sqlite3.Connection) -> bool:
            kept = _code(db)
            if kept is None or kept[0] != hashed or _has_users(db):
                return False
            db.execute("DELETE FROM meta WHERE key = ?", (CODE_KEY,))
            return insert_user(db, user, entry)

        return await self._database.write(work)


def _has_users(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None


def _code(db: sqlite3.Connection) -> tuple[bytes, int] | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (CODE_KEY,)).fetchone()
    if row is None:
        return None
    hashed, _, expires = str(row[0]).partition(":")
    return bytes.fromhex(hashed), int(expires)


def _audited(db: sqlite3.Connection, changed: int, entry: AuditEntry) -> bool:
    if changed > 0:
        insert_audit(db, entry)
    return changed > 0


def _token(row: tuple[str, bytes, str, int, str, int, int | None]) -> ApiToken:
    name, hashed, role, created_ms, created_by, expires_ms, seen_ms = row
    return ApiToken(name, hashed, UserRole(role), created_ms, created_by, expires_ms, seen_ms)
