"""Calibrations and the sessions that make them, in SQLite."""

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.adapters.store.database import Database
from gateway.services.calibration_forms import Made, Session

MOST_KEPT = 50  # per meter; a record with what it was made from is some 20 kB

_session = msgspec.json.Decoder(Session)
_made = msgspec.json.Decoder(Made)


class SqlCalibrations:
    """Satisfies `CalibrationStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def session(self, meter: str) -> Session | None:
        """Return what was begun."""
        query = "SELECT body FROM calibration_sessions WHERE meter = ?"
        row = await self._database.read(lambda db: db.execute(query, (meter,)).fetchone())
        return None if row is None else _session.decode(row[0])

    async def save_session(self, session: Session, at_ms: int) -> None:
        """Keep it, in place of what was there."""
        await self._database.write(lambda db: _save(db, session, at_ms))

    async def drop_session(self, meter: str) -> None:
        """Forget it."""
        query = "DELETE FROM calibration_sessions WHERE meter = ?"
        await self._database.write(lambda db: db.execute(query, (meter,)).rowcount)

    async def keep(self, made: Made, session: Session | None) -> None:
        """Store a calibration, and the session that made it, in one commit."""
        body = msgspec.json.encode(made).decode()

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO calibrations VALUES (?,?,?,?)",
                (made.meter, made.version, made.made_ms, body),
            )
            db.execute(
                "DELETE FROM calibrations WHERE meter = ? AND version NOT IN (SELECT version"
                " FROM calibrations WHERE meter = ? ORDER BY version DESC LIMIT ?)",
                (made.meter, made.meter, MOST_KEPT),
            )
            if session is not None:
                _save(db, session, made.made_ms)

        await self._database.write(work)

    async def made(self, meter: str) -> Sequence[Made]:
        """Return a meter's calibrations, the newest first."""
        query = "SELECT body FROM calibrations WHERE meter = ? ORDER BY version DESC"
        rows = await self._database.read(lambda db: db.execute(query, (meter,)).fetchall())
        return [_made.decode(row[0]) for row in rows]


def _save(db: sqlite3.Connection, session: Session, at_ms: int) -> None:
    body = msgspec.json.encode(session).decode()
    query = "INSERT OR REPLACE INTO calibration_sessions VALUES (?,?,?)"
    db.execute(query, (session.meter, at_ms, body))
