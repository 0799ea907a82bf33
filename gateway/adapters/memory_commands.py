"""Commands from the cloud in memory: the twins of the log in SQLite and of the collection."""

import asyncio
from dataclasses import dataclass, field

from gateway.domain.errors import TransientError
from gateway.services.remote_commands import Arrival, Begun
from gateway.services.remote_forms import RemoteCommand, RemoteResult


@dataclass(slots=True)
class MemoryCommandLog:
    """Satisfies `CommandLog`."""

    begun: dict[str, int] = field(default_factory=dict)  # id -> received, ms
    done: dict[str, RemoteResult] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    async def begin(self, command: RemoteCommand, at_ms: int) -> Begun | None:
        """Note that it is being done; return what was noted before."""
        if command.id in self.begun:
            return Begun(self.done.get(command.id))
        self.begun[command.id] = at_ms
        return None

    async def known(self, command_id: str) -> bool:
        """Tell whether it was begun before."""
        return command_id in self.begun

    async def finish(self, command_id: str, result: RemoteResult) -> None:
        """Note how it ended."""
        self.done[command_id] = result

    async def unwritten(self) -> list[tuple[str, RemoteResult]]:
        """Return results that the cloud has not taken."""
        return [(key, result) for key, result in self.done.items() if key not in self.taken]

    async def written(self, command_id: str) -> None:
        """Note that the cloud has taken a result."""
        self.taken.add(command_id)

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was received before a time and is written back."""
        for key in [k for k, ms in self.begun.items() if ms < at_ms and k in self.taken]:
            del self.begun[key], self.done[key]
            self.taken.discard(key)


@dataclass(slots=True)
class MemoryCommandBox:
    """Satisfies `CommandBox`; `put` is what the function does."""

    documents: dict[str, dict[str, object]] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    server_ms: int | None = None
    down: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, command_id: str, fields: dict[str, object]) -> None:
        """Write a document, or write it anew."""
        self.documents[command_id] = {"state": "new", **fields}
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when something may have arrived, or after a time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def pending(self, limit: int) -> list[Arrival]:
        """Return commands that nobody has answered, oldest first."""
        self._check()
        new = [
            Arrival(key, {k: v for k, v in fields.items() if k != "state"}, self.server_ms)
            for key, fields in self.documents.items() if fields["state"] == "new"
        ]  # fmt: skip
        return new[:limit]

    async def role_of(self, uid: str) -> str | None:
        """Return a person's role at this site as it is now; None for no member."""
        self._check()
        return self.members.get(uid)

    async def answer(self, command_id: str, result: RemoteResult) -> None:
        """Write a result back; a document that is gone is no error."""
        self._check()
        if command_id in self.documents:
            known = {"ok": result.ok, "error": result.error, "data": result.data}
            self.documents[command_id] |= {"state": result.state.value, "result": known}

    async def close(self) -> None:
        """Nothing is open."""

    def _check(self) -> None:
        if self.down:
            raise TransientError(self.down)
