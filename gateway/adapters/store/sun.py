"""What judging solar panels reads and keeps, in SQLite."""

import sqlite3
from collections.abc import Mapping

import numpy as np

from gateway.adapters.store.database import Database
from gateway.domain.alerts import AlertKind
from tinymodels.detect.minutes import VALUES, Minutes

PREFIX = "sun_judged:"  # of the meta table, before a channel's number
# A quarter hour of which less is known says little of itself.
LEAST_MS = 7 * 60_000
QUARTERS = (
    "SELECT start_ms, p_sum / p_dt FROM rollup_15m WHERE channel_no = ?"
    " AND start_ms >= ? AND start_ms < ? AND p_dt >= ? ORDER BY start_ms"
)


class SqlSun:
    """Satisfies `SunStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def quarters(self, channel_no: int, from_ms: int, until_ms: int) -> Minutes:
        """Return mean power of a channel's quarter hours that begin in [from, until)."""

        def work(db: sqlite3.Connection) -> Minutes:
            rows = db.execute(QUARTERS, (channel_no, from_ms, until_ms, LEAST_MS)).fetchall()
            table = np.array(rows, dtype=np.float64).reshape(-1, 2)
            values = np.full((len(table), len(VALUES)), np.nan)
            values[:, 0] = table[:, 1]
            return Minutes(table[:, 0].astype(np.int64), values)

        return await self._database.read(work)

    async def reached_ms(self) -> Mapping[int, int]:
        """Return the time up to which rollups are on the disk, by number of the meter."""
        query = "SELECT meter_no, at_ms FROM judged"
        return dict(await self._database.read(lambda db: db.execute(query).fetchall()))

    async def first_ms(self, channel_no: int) -> int | None:
        """Return when a channel's first quarter hour begins."""
        query = "SELECT min(start_ms) FROM rollup_15m WHERE channel_no = ?"
        found = await self._database.read(lambda db: db.execute(query, (channel_no,)).fetchone())
        return None if found[0] is None else int(found[0])

    async def judged_days(self) -> Mapping[int, int]:
        """Return the day that was judged last, by number of the channel."""
        query = "SELECT key, value FROM meta WHERE key GLOB ?"
        rows = await self._database.read(lambda db: db.execute(query, (PREFIX + "*",)).fetchall())
        return {int(key.removeprefix(PREFIX)): int(value) for key, value in rows}

    async def note_judged(self, channel_no: int, day: int) -> None:
        """Keep the day that was judged last."""
        row = (f"{PREFIX}{channel_no}", str(day))
        await self._database.write(
            lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", row)
        )

    async def alerts(self, meter: str, channel: str) -> list[tuple[int, int | None]]:
        """Return when the alerts about a channel's panels opened and were resolved."""
        query = (
            "SELECT opened_ms, resolved_ms FROM alerts WHERE meter = ? AND channel = ?"
            " AND kind = ? ORDER BY opened_ms"
        )
        which = (meter, channel, AlertKind.PV_UNDERPERFORMANCE.value)
        return await self._database.read(lambda db: db.execute(query, which).fetchall())
