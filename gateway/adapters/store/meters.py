"""Meters as operators change them, on SQLite."""

import sqlite3

from gateway.adapters.store.alerts import load_alerts
from gateway.adapters.store.database import Database
from gateway.domain.alerts import Alert
from gateway.domain.meters import MeterInfo


class SqlMeterStore:
    """Satisfies `MeterStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_meter(self, no: int, info: MeterInfo, *, removed_ms: int | None) -> None:
        """Write a meter's label and flags, and its channels' roles and ratings."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE meters SET recorded = ?, label = ?, removed_ms = ? WHERE no = ?",
                (int(info.recorded), info.label, removed_ms, no),
            )
            db.executemany(
                "UPDATE channels SET role = ?, rating_a = ? WHERE meter_no = ? AND name = ?",
                [(c.role.value, c.rating_a, no, c.name) for c in info.channels.values()],
            )

        await self._database.write(work)

    async def stored_alert(self, alert_id: str) -> Alert | None:
        """Read an alert that the book may no longer hold."""
        found = await self._database.read(lambda db: load_alerts(db, "WHERE id = ?", (alert_id,)))
        return found[0] if found else None
