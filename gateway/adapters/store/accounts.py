"""Accounts in SQLite: users, sessions, and the audit of what happened to them."""

import sqlite3

from gateway.adapters.store.database import Database
from gateway.services.accounts import AuditEntry, Session, User, UserRole

LONGEST_AUDIT = 10_000
SELECT_USERS = "SELECT name, role, password_hash, created_ms, changed_ms FROM users"


class SqlAccounts:
    """Satisfies `AccountStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(self, user: User, entry: AuditEntry) -> bool:
        """Store a new user; return False when the name is taken."""
        return await self._database.write(lambda db: insert_user(db, user, entry))

    async def set_password(
        self, name: str, password_hash: str, at_ms: int, entry: AuditEntry
    ) -> bool:
        """Change a password and end the user's sessions; return False for an unknown name."""
        return await self._database.write(
            lambda db: update_password(db, name, password_hash, at_ms, entry)
        )

    async def change_password(
        self, user: User, password_hash: str, keep: bytes, entry: AuditEntry
    ) -> bool:
        """Change a password unless it changed meanwhile (False); end all sessions but `keep`."""
        return await self._database.write(
            lambda db: replace_password(db, user, password_hash, keep, entry)
        )

    async def rehash(self, name: str, old_hash: str, new_hash: str) -> None:
        """Replace a hash by one of the same password, unless it changed meanwhile."""
        query = "UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ?"
        await self._database.write(lambda db: _do(db, query, (new_hash, name, old_hash)))

    async def remove_user(self, name: str, entry: AuditEntry) -> bool:
        """Remove a user and the sessions; False for an unknown name and the last administrator."""
        return await self._database.write(lambda db: delete_user(db, name, entry))

    async def get_user(self, name: str) -> User | None:
        """Return a user."""
        return await self._database.read(lambda db: select_user(db, name))

    async def list_users(self) -> list[User]:
        """Return all users by name."""
        return await self._database.read(select_users)

    async def add_session(
        self, session: Session, password_hash: str, keep: int, entry: AuditEntry
    ) -> bool:
        """Store a session unless the user is gone or has another hash by now (False)."""
        return await self._database.write(
            lambda db: insert_session(db, session, password_hash, keep, entry)
        )

    async def find_session(self, token_hash: bytes) -> tuple[Session, UserRole] | None:
        """Return a session and its user's role of today."""
        return await self._database.read(lambda db: select_session(db, token_hash))

    async def touch_session(self, token_hash: bytes, seen_ms: int) -> None:
        """Note when a session was last used."""
        query = "UPDATE sessions SET seen_ms = ? WHERE token_hash = ?"
        await self._database.write(lambda db: _do(db, query, (seen_ms, token_hash)))

    async def remove_session(self, token_hash: bytes, entry: AuditEntry) -> None:
        """End a session; one that is gone already is no error."""
        await self._database.write(lambda db: delete_session(db, token_hash, entry))

    async def record(self, entry: AuditEntry) -> None:
        """Keep an audit entry; the oldest beyond a bound are dropped."""
        await self._database.write(lambda db: insert_audit(db, entry))

    async def audit(self, limit: int) -> list[AuditEntry]:
        """Return the newest audit entries, newest first."""
        return await self._database.read(lambda db: select_audit(db, limit))

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, newest first, below a number."""
        return await self._database.read(lambda db: select_audit_page(db, before, limit))


def insert_user(db: sqlite3.Connection, user: User, entry: AuditEntry) -> bool:
    """Insert a user; return False when the name is taken."""
    row = (user.name, user.role.value, user.password_hash, user.created_ms, user.changed_ms)
    query = (
        "INSERT INTO users (name, role, password_hash, created_ms, changed_ms)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    return _audited(db, _do(db, query, row), entry)


def update_password(
    db: sqlite3.Connection, name: str, password_hash: str, at_ms: int, entry: AuditEntry
) -> bool:
    """Set a user's hash and delete the sessions; return False for an unknown name."""
    query = "UPDATE users SET password_hash = ?, changed_ms = ? WHERE name = ?"
    changed = _do(db, query, (password_hash, at_ms, name))
    _do(db, "DELETE FROM sessions WHERE user = ?", (name,))
    return _audited(db, changed, entry)


def replace_password(
    db: sqlite3.Connection, user: User, password_hash: str, keep: bytes, entry: AuditEntry
) -> bool:
    """Set a user's hash if it is still the one of `user`; delete all sessions but `keep`."""
    query = (
        "UPDATE users SET password_hash = ?, changed_ms = ? WHERE name = ? AND password_hash = ?"
    )
    changed = _do(db, query, (password_hash, entry.at_ms, user.name, user.password_hash))
    if changed:
        _do(db, "DELETE FROM sessions WHERE user = ? AND token_hash != ?", (user.name, keep))
    return _audited(db, changed, entry)


def delete_user(db: sqlite3.Connection, name: str, entry: AuditEntry) -> bool:
    """Delete a user unless it is the last administrator; sessions go by the foreign key."""
    query = (
        "DELETE FROM users WHERE name = ?1 AND (role != 'admin'"
        " OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND name != ?1))"
    )
    return _audited(db, _do(db, query, (name,)), entry)


def select_user(db: sqlite3.Connection, name: str) -> User | None:
    """Return one user."""
    row = db.execute(f"{SELECT_USERS} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _user(row)


def select_users(db: sqlite3.Connection) -> list[User]:
    """Return all users by name."""
    return [_user(row) for row in db.execute(f"{SELECT_USERS} ORDER BY name")]


def insert_session(
    db: sqlite3.Connection, session: Session, password_hash: str, keep: int, entry: AuditEntry
) -> bool:
    """Insert a session if the user still has this hash; delete expired and surplus ones."""
    _do(db, "DELETE FROM sessions WHERE expires_ms <= ?", (session.created_ms,))
    added = _do(
        db,
        "INSERT INTO sessions (token_hash, user, created_ms, seen_ms, expires_ms)"
        " SELECT ?, name, ?, ?, ? FROM users WHERE name = ? AND password_hash = ?",
        (
            session.token_hash,
            session.created_ms,
            session.seen_ms,
            session.expires_ms,
            session.user,
            password_hash,
        ),
    )
    _do(
        db,
        "DELETE FROM sessions WHERE user = ? AND rowid NOT IN"
        " (SELECT rowid FROM sessions WHERE user = ? ORDER BY rowid DESC LIMIT ?)",
        (session.user, session.user, keep),
    )
    return _audited(db, added, entry)


def select_session(db: sqlite3.Connection, token_hash: bytes) -> tuple[Session, UserRole] | None:
    """Return a session and its user's role."""
    row = db.execute(
        "SELECT token_hash, user, s.created_ms, seen_ms, expires_ms, role"
        " FROM sessions s JOIN users ON name = user WHERE token_hash = ?",
        (token_hash,),
    ).fetchone()
    return None if row is None else (Session(*row[:5]), UserRole(row[5]))


def delete_session(db: sqlite3.Connection, token_hash: bytes, entry: AuditEntry) -> None:
    """Delete a session."""
    _audited(db, _do(db, "DELETE FROM sessions WHERE token_hash = ?", (token_hash,)), entry)


def insert_audit(db: sqlite3.Connection, entry: AuditEntry) -> None:
    """Append an entry and drop what is beyond the bound."""
    cursor = db.execute(
        "INSERT INTO audit (at_ms, who, what, detail) VALUES (?, ?, ?, ?)",
        (entry.at_ms, entry.who, entry.what, entry.detail),
    )
    _do(db, "DELETE FROM audit WHERE no <= ?", ((cursor.lastrowid or 0) - LONGEST_AUDIT,))


def select_audit(db: sqlite3.Connection, limit: int) -> list[AuditEntry]:
    """Return the newest entries, newest first."""
    query = "SELECT at_ms, who, what, detail FROM audit ORDER BY no DESC LIMIT ?"
    return [AuditEntry(*row) for row in db.execute(query, (limit,))]


def select_audit_page(
    db: sqlite3.Connection, before: int | None, limit: int
) -> list[tuple[int, AuditEntry]]:
    """Return entries with their numbers, newest first, below a number."""
    query = "SELECT no, at_ms, who, what, detail FROM audit WHERE no < ? ORDER BY no DESC LIMIT ?"
    below = 2**63 - 1 if before is None else before
    return [(row[0], AuditEntry(*row[1:])) for row in db.execute(query, (below, limit))]


def _do(db: sqlite3.Connection, query: str, values: tuple[object, ...]) -> int:
    """Run a statement and return how many rows it changed."""
    return db.execute(query, values).rowcount


def _audited(db: sqlite3.Connection, changed: int, entry: AuditEntry) -> bool:
    if changed:
        insert_audit(db, entry)
    return changed > 0


def _user(row: tuple[str, str, str, int, int]) -> User:
    name, role, password_hash, created_ms, changed_ms = row
    return User(name, UserRole(role), password_hash, created_ms, changed_ms)
