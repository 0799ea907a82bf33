"""What judging reads and writes, on SQLite."""

import sqlite3
from typing import Any
from zoneinfo import ZoneInfo

from gateway.adapters.store import rollups
from gateway.adapters.store.alerts import load_alerts, write_changes
from gateway.adapters.store.database import Database
from gateway.adapters.store.positions import read_looked_at
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.domain.alerts import Alert
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.pipeline.rollups import Calendar
from gateway.services.deriving_ports import OWN, MeterRecord, Next
from gateway.services.effects import Effects
from gateway.services.fitting import FOREVER_MS, RESOLUTION, History

REOPEN_MS = 86_400_000  # an alert resolved by hand may open again within the hour


class SqlDeriveStore:
    """Satisfies `DeriveStore`."""

    def __init__(self, database: Database, zone: ZoneInfo) -> None:
        self._database = database
        self._calendar = Calendar(zone)
        self._boots: dict[int, tuple[int, str, int]] = {}

    async def load_meters(self) -> list[MeterRecord]:
        """Read every meter with its position."""
        return await self._database.read(load_meters)

    async def load_alerts(self) -> tuple[list[Alert], list[Alert]]:
        """Read the alerts that are not resolved, and those lately resolved by a person."""

        def work(db: sqlite3.Connection) -> tuple[list[Alert], list[Alert]]:
            by_hand = (
                "WHERE state = 'resolved' AND resolved_ms >="
                " (SELECT max(updated_ms) FROM alerts) - ? AND id IN (SELECT alert_id FROM"
                " alert_history WHERE who != 'system' AND what LIKE 'resolved%')"
            )
            return (
                load_alerts(db, "WHERE state != 'resolved'"),
                load_alerts(db, by_hand, (REOPEN_MS,)),
            )

        return await self._database.read(work)

    async def looked_at(self) -> int:
        """Read the row up to which nothing is left to do."""
        return await self._database.read(read_looked_at)

    async def rows_after(self, row: int, limit: int) -> list[Next]:
        """Read committed readings in the order of their rows."""

        def work(db: sqlite3.Connection) -> list[Next]:
            query = f"SELECT {COLUMNS} FROM readings WHERE row > ? ORDER BY row LIMIT ?"  # noqa: S608
            return [self._next(db, found) for found in db.execute(query, (row, limit)).fetchall()]

        return await self._database.read(work)

    def _next(self, db: sqlite3.Connection, row: tuple[Any, ...]) -> Next:
        number = row[1]
        known = self._boots.get(number)
        if known is None:
            query = (
                "SELECT boots.no, meter_no, id, boot FROM boots JOIN meters ON meters.no = meter_no"
            )
            self._boots = {no: (m, meter, boot) for no, m, meter, boot in db.execute(query)}
            known = self._boots[number]
        meter_no, meter, boot = known
        return Next(meter_no, row[6] is not None, stored(row, meter, boot))

    async def dirty(self) -> list[tuple[int, int, int, int]]:
        """Read the spans that must be computed again."""
        query = "SELECT no, meter_no, from_ms, to_ms FROM dirty ORDER BY no LIMIT 50"
        return await self._database.read(lambda db: db.execute(query).fetchall())

    async def history(
        self, channel_no: int, meter: str, channel: str, from_ms: int, until_ms: int
    ) -> History:
        """Read a channel's minutes in a span, and its alerts."""

        def work(db: sqlite3.Connection) -> History:
            buckets = rollups.read(db, channel_no, RESOLUTION, from_ms, until_ms)
            where = (
                "WHERE meter = ? AND channel IN (?, '') AND opened_ms < ?"
                " AND ifnull(resolved_ms, ?) >= ?"
            )
            alerts = load_alerts(db, where, (meter, channel, until_ms, FOREVER_MS, from_ms))
            history = History(buckets, {})
            history.add_alerts(alerts, meter, channel)
            return history

        return await self._database.read(work)

    async def commit(self, effects: Effects) -> None:
        """Write everything in one transaction, or raise StorageError."""
        await self._database.write(lambda db: self._write(db, effects))

    def _write(self, db: sqlite3.Connection, effects: Effects) -> None:
        rollups.add_parts(db, effects.rollups)
        for order in effects.rebuilds:
            rollups.rebuild(db, order, self._calendar)
        write_changes(db, effects.changes)
        db.executemany(
            "INSERT INTO verdicts (alert_id, at_ms, who, right, note) VALUES (?,?,?,?,?)",
            effects.verdicts,
        )
        for model in effects.models:  # one a channel; earlier versions fitted other kinds
            of_channel = "DELETE FROM models WHERE meter_no = ? AND channel = ?"
            db.execute(of_channel, (model.meter_no, model.channel))
        db.executemany("INSERT OR REPLACE INTO models VALUES (?,?,?,?,?)", effects.models)
        db.executemany("INSERT OR REPLACE INTO judged VALUES (?,?,?,?)", effects.positions)
        query = "INSERT OR REPLACE INTO meta VALUES ('looked_at', ?)"
        db.execute(query, (str(effects.looked_at),))


def load_meters(db: sqlite3.Connection) -> list[MeterRecord]:
    """Return every meter, removed ones too: their readings stay."""
    channels: dict[int, dict[str, tuple[int, ChannelInfo]]] = {}
    for no, meter_no, name, role, rating_a in db.execute("SELECT * FROM channels ORDER BY no"):
        info = ChannelInfo(name, Role(role), rating_a)
        channels.setdefault(meter_no, {})[name] = (no, info)
    models: dict[int, dict[str, bytes]] = {}
    for meter_no, channel, body in db.execute(
        "SELECT meter_no, channel, body FROM models WHERE kind = ?", (OWN,)
    ):
        models.setdefault(meter_no, {})[channel] = body
    judged = {
        no: (row, at_ms, state) for no, row, at_ms, state in db.execute("SELECT * FROM judged")
    }
    records = []
    for no, meter_id, recorded, label, registered_ms in db.execute(
        "SELECT no, id, recorded, label, registered_ms FROM meters ORDER BY no"
    ).fetchall():
        own = channels.get(no, {})
        infos = {name: info for name, (_, info) in own.items()}
        meter = MeterInfo(meter_id, bool(recorded), label, registered_ms, infos)
        row, at_ms, state = judged.get(no, (0, 0, None))
        numbers = {name: number for name, (number, _) in own.items()}
        records.append(MeterRecord(no, meter, numbers, row, at_ms, state, models.get(no, {})))
    return records
