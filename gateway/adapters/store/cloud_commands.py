"""Commands from the cloud that were begun or done, in SQLite."""

import sqlite3

import msgspec

from gateway.adapters.store.database import Database
from gateway.services.remote_commands import Begun
from gateway.services.remote_forms import RemoteCommand, RemoteResult

_decode = msgspec.json.Decoder(RemoteResult).decode


class SqlCommandLog:
    """Satisfies `CommandLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, command: RemoteCommand, at_ms: int) -> Begun | None:
        """Note that it is being done; return what was noted before."""

        def work(db: sqlite3.Connection) -> Begun | None:
            query = "SELECT state, result FROM cloud_commands WHERE id = ?"
            row = db.execute(query, (command.id,)).fetchone()
            if row is not None:
                return Begun(_decode(row[1]) if row[0] == "done" else None)
            db.execute(
                "INSERT INTO cloud_commands (id, received_ms, who, kind, state, result)"
                " VALUES (?,?,?,?,'begun','')",
                (command.id, at_ms, command.who, command.kind.value),
            )
            return None

        return await self._database.write(work)

    async def known(self, command_id: str) -> bool:
        """Tell whether it was begun before."""
        query = "SELECT 1 FROM cloud_commands WHERE id = ?"
        found = await self._database.read(lambda db: db.execute(query, (command_id,)).fetchone())
        return found is not None

    async def finish(self, command_id: str, result: RemoteResult) -> None:
        """Note how it ended."""
        query = "UPDATE cloud_commands SET state = 'done', result = ? WHERE id = ?"
        body = msgspec.json.encode(result).decode()
        await self._database.write(lambda db: db.execute(query, (body, command_id)).rowcount)

    async def unwritten(self) -> list[tuple[str, RemoteResult]]:
        """Return results that the cloud has not taken."""
        query = "SELECT id, result FROM cloud_commands WHERE state = 'done' AND NOT written"
        rows = await self._database.read(lambda db: db.execute(query).fetchall())
        return [(command_id, _decode(result)) for command_id, result in rows]

    async def written(self, command_id: str) -> None:
        """Note that the cloud has taken a result."""
        query = "UPDATE cloud_commands SET written = 1 WHERE id = ?"
        await self._database.write(lambda db: db.execute(query, (command_id,)).rowcount)

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was received before a time and is written back."""
        query = "DELETE FROM cloud_commands WHERE received_ms < ? AND written"
        await self._database.write(lambda db: db.execute(query, (at_ms,)).rowcount)
