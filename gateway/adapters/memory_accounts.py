"""Accounts in memory: the twin of the SQLite store, for tests and trying things out."""

from dataclasses import replace

from gateway.services.accounts import AuditEntry, Session, User, UserRole

LONGEST_AUDIT = 10_000


class MemoryAccounts:
    """Satisfies `AccountStore`."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._sessions: dict[bytes, Session] = {}
        self._audit: list[AuditEntry] = []
        self._recorded = 0

    async def add_user(self, user: User, entry: AuditEntry) -> bool:
        """Store a new user; return False when the name is taken."""
        if user.name in self._users:
            return False
        self._users[user.name] = user
        await self.record(entry)
        return True

    async def set_password(
        self, name: str, password_hash: str, at_ms: int, entry: AuditEntry
    ) -> bool:
        """Change a password and end the user's sessions; return False for an unknown name."""
        user = self._users.get(name)
        if user is None:
            return False
        self._users[name] = replace(user, password_hash=password_hash, changed_ms=at_ms)
        self._end_sessions(name)
        await self.record(entry)
        return True

    async def change_password(
        self, user: User, password_hash: str, keep: bytes, entry: AuditEntry
    ) -> bool:
        """Change a password unless it changed meanwhile (False); end all sessions but `keep`."""
        now = self._users.get(user.name)
        if now is None or now.password_hash != user.password_hash:
            return False
        self._users[user.name] = replace(now, password_hash=password_hash, changed_ms=entry.at_ms)
        self._sessions = {
            k: s for k, s in self._sessions.items() if s.user != user.name or k == keep
        }
        await self.record(entry)
        return True

    async def rehash(self, name: str, old_hash: str, new_hash: str) -> None:
        """Replace a hash by one of the same password, unless it changed meanwhile."""
        user = self._users.get(name)
        if user is not None and user.password_hash == old_hash:
            self._users[name] = replace(user, password_hash=new_hash)

    async def remove_user(self, name: str, entry: AuditEntry) -> bool:
        """Remove a user and the sessions; False for an unknown name and the last administrator."""
        admins = {user.name for user in self._users.values() if user.role is UserRole.ADMIN}
        if name not in self._users or admins == {name}:
            return False
        del self._users[name]
        self._end_sessions(name)
        await self.record(entry)
        return True

    async def get_user(self, name: str) -> User | None:
        """Return a user."""
        return self._users.get(name)

    async def list_users(self) -> list[User]:
        """Return all users by name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    async def add_session(
        self, session: Session, password_hash: str, keep: int, entry: AuditEntry
    ) -> bool:
        """Store a session unless the user is gone or has another hash by now (False)."""
        user = self._users.get(session.user)
        if user is None or user.password_hash != password_hash:
            return False
        now_ms = session.created_ms
        self._sessions = {k: s for k, s in self._sessions.items() if s.expires_ms > now_ms}
        self._sessions[session.token_hash] = session
        theirs = [k for k, s in self._sessions.items() if s.user == session.user]
        for key in theirs[:-keep]:
            del self._sessions[key]
        await self.record(entry)
        return True

    async def find_session(self, token_hash: bytes) -> tuple[Session, UserRole] | None:
        """Return a session and its user's role of today."""
        session = self._sessions.get(token_hash)
        return None if session is None else (session, self._users[session.user].role)

    async def touch_session(self, token_hash: bytes, seen_ms: int) -> None:
        """Note when a session was last used."""
        session = self._sessions.get(token_hash)
        if session is not None:
            self._sessions[token_hash] = replace(session, seen_ms=seen_ms)

    async def remove_session(self, token_hash: bytes, entry: AuditEntry) -> None:
        """End a session; one that is gone already is no error."""
        if self._sessions.pop(token_hash, None) is not None:
            await self.record(entry)

    async def record(self, entry: AuditEntry) -> None:
        """Keep an audit entry; the oldest beyond a bound are dropped."""
        self._recorded += 1
        self._audit.append(entry)
        del self._audit[:-LONGEST_AUDIT]

    async def audit(self, limit: int) -> list[AuditEntry]:
        """Return the newest audit entries, newest first."""
        return self._audit[::-1][:limit]

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return audit entries with their numbers, newest first, below a number."""
        first = self._recorded - len(self._audit) + 1
        numbered = list(enumerate(self._audit, first))[::-1]
        return [row for row in numbered if before is None or row[0] < before][:limit]

    def _end_sessions(self, name: str) -> None:
        self._sessions = {k: s for k, s in self._sessions.items() if s.user != name}
