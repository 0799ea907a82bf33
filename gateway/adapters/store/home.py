"""Tariffs, mutes and documents on SQLite."""

import json
import sqlite3
from typing import Any

from gateway.adapters.store.database import Database
from gateway.domain.alerts import AlertKind
from gateway.pipeline.mutes import Mute
from gateway.pipeline.tariffs import Plan
from gateway.services.tariff_plans import plan_json, read_plan

MUTE_COLUMNS = "id, meter, channel, kind, until_ms, created_ms, created_by"


class SqlTariffs:
    """Satisfies `TariffStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def plans(self) -> list[Plan]:
        """Return all plans in the order of their first days."""
        return await self._database.read(select_plans)

    async def put_plan(self, plan: Plan) -> bool:
        """Write a plan by its id; False where another one begins on the same day."""
        body = json.dumps(plan_json(plan))

        def work(db: sqlite3.Connection) -> bool:
            done = db.execute(
                "INSERT INTO tariffs VALUES (?,?,?) ON CONFLICT (id) DO UPDATE SET"
                " valid_from = excluded.valid_from, body = excluded.body"
                " WHERE NOT EXISTS (SELECT 1 FROM tariffs AS other WHERE"
                " other.valid_from = excluded.valid_from AND other.id != excluded.id)",
                (plan.id, plan.valid_from.isoformat(), body),
            )
            return done.rowcount > 0

        try:
            return await self._database.write(work)
        except sqlite3.IntegrityError:  # a new plan on a day that is taken
            return False

    async def drop_plan(self, plan_id: str) -> bool:
        """Remove a plan; False for an unknown one."""
        query = "DELETE FROM tariffs WHERE id = ?"
        return await self._database.write(lambda db: db.execute(query, (plan_id,)).rowcount > 0)


class SqlMutes:
    """Satisfies `MuteStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mutes(self) -> list[Mute]:
        """Return all, oldest first."""
        return await self._database.read(select_mutes)

    async def put_mute(self, mute: Mute) -> None:
        """Write one by its id."""
        row = (
            mute.id, mute.meter, mute.channel, mute.kind.value, mute.until_ms, mute.created_ms,
            mute.created_by,
        )  # fmt: skip
        query = "INSERT OR REPLACE INTO mutes VALUES (?,?,?,?,?,?,?)"
        await self._database.write(lambda db: db.execute(query, row).rowcount)

    async def drop_mute(self, mute_id: str) -> bool:
        """Remove one; False for an unknown one."""
        query = "DELETE FROM mutes WHERE id = ?"
        return await self._database.write(lambda db: db.execute(query, (mute_id,)).rowcount > 0)


class SqlDocuments:
    """Satisfies `DocumentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def document(self, key: str) -> tuple[int, object] | None:
        """Return (version, content), None where nothing was kept."""
        return await self._database.read(lambda db: select_document(db, key))

    async def put_document(self, key: str, content: object, *, after: int | None) -> int | None:
        """Keep a document; None where `after` is not the version that is kept."""
        body = json.dumps(content, ensure_ascii=False)

        def work(db: sqlite3.Connection) -> int | None:
            row = db.execute("SELECT version FROM documents WHERE key = ?", (key,)).fetchone()
            version = 0 if row is None else int(row[0])
            if after is not None and after != version:
                return None
            db.execute("INSERT OR REPLACE INTO documents VALUES (?,?,?)", (key, version + 1, body))
            return version + 1

        return await self._database.write(work)


def select_plans(db: sqlite3.Connection) -> list[Plan]:
    """Return all plans in the order of their first days."""
    rows = db.execute("SELECT id, body FROM tariffs ORDER BY valid_from").fetchall()
    return [read_plan(plan_id, json.loads(body)) for plan_id, body in rows]


def select_mutes(db: sqlite3.Connection) -> list[Mute]:
    """Return all mutes, oldest first."""
    rows = db.execute(f"SELECT {MUTE_COLUMNS} FROM mutes ORDER BY created_ms, id")  # noqa: S608 - ours
    return [_mute(row) for row in rows]


def select_document(db: sqlite3.Connection, key: str) -> tuple[int, object] | None:
    """Return (version, content) of a document."""
    row = db.execute("SELECT version, body FROM documents WHERE key = ?", (key,)).fetchone()
    return None if row is None else (int(row[0]), json.loads(row[1]))


def _mute(row: tuple[Any, ...]) -> Mute:
    mute_id, meter, channel, kind, until_ms, created_ms, created_by = row
    return Mute(mute_id, meter, channel, AlertKind(kind), until_ms, created_ms, created_by)
