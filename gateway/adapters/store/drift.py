"""Days of the drift watch, in SQLite."""

import sqlite3
from collections.abc import Mapping

import msgspec

from gateway.adapters.store.database import Database
from gateway.pipeline.drift import Day
from gateway.services.calibration_forms import Made

_day = msgspec.json.Decoder(Day)
_since = msgspec.json.Decoder(Made)


class SqlDrift:
    """Satisfies `DriftStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def days(self) -> Mapping[str, Mapping[int, Day]]:
        """Return all kept days, by meter and day number."""

        def work(db: sqlite3.Connection) -> dict[str, dict[int, Day]]:
            out: dict[str, dict[int, Day]] = {}
            for meter, number, body in db.execute("SELECT meter, day, body FROM drift_days"):
                out.setdefault(meter, {})[number] = _day.decode(body)
            return out

        return await self._database.read(work)

    async def add_day(self, meter: str, day: Day, forget_before: int) -> None:
        """Keep a day, and forget old ones."""
        body = msgspec.json.encode(day).decode()

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO drift_days VALUES (?,?,?)", (meter, day.day, body))
            db.execute("DELETE FROM drift_days WHERE day < ?", (forget_before,))

        await self._database.write(work)

    async def calibrated_ms(self) -> Mapping[str, int]:
        """Return since when each meter has its newest calibration."""
        query = (
            "SELECT meter, body FROM calibrations JOIN (SELECT meter, max(version) AS version"
            " FROM calibrations GROUP BY meter) USING (meter, version)"
        )
        rows = await self._database.read(lambda db: db.execute(query).fetchall())
        return {meter: _since.decode(body).in_force_ms for meter, body in rows}
