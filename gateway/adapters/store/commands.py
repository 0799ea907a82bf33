"""Commands and their answers in SQLite."""

import sqlite3

from gateway.adapters.store.database import Database
from gateway.services.commands import CommandRow

_SELECT = (
    "SELECT id, meter, kind, args_key, ttl_ms, sent_ms, sent_by, result FROM commands WHERE id = ?"
)


class SqlCommands:
    """Satisfies `CommandStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, row: CommandRow, forget_before_ms: int) -> CommandRow | None:
        """Store a command and forget old ones; return what was there under its id before."""

        def work(db: sqlite3.Connection) -> CommandRow | None:
            db.execute("DELETE FROM commands WHERE sent_ms < ?", (forget_before_ms,))
            before = db.execute(_SELECT, (row.id,)).fetchone()
            if before is not None:
                return CommandRow(*before)
            db.execute(
                "INSERT INTO commands (id, meter, kind, args_key, ttl_ms, sent_ms,"
                " sent_by) VALUES (?,?,?,?,?,?,?)",
                (
                    row.id, row.meter, row.kind, row.args_key, row.ttl_ms, row.sent_ms,
                    row.sent_by,
                ),
            )  # fmt: skip
            return None

        return await self._database.write(work)

    async def answered(self, command_id: str, meter: str, result: str, at_ms: int) -> None:
        """Store the first answer to a command."""
        query = (
            "UPDATE commands SET result = ?, answered_ms = ?"
            " WHERE id = ? AND meter = ? AND result IS NULL"
        )
        values = (result, at_ms, command_id, meter)
        await self._database.write(lambda db: db.execute(query, values).rowcount)
