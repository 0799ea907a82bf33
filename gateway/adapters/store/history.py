"""Histories for the web, read in threads of their own so that nothing else waits for them."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from zoneinfo import ZoneInfo

from gateway.adapters.store.database import Database
from gateway.adapters.store.energy import read_energy
from gateway.adapters.store.series import read_series
from gateway.services.energy import Energy, EnergyQuery
from gateway.services.series import Series, SeriesQuery, TooBusyError, TooMuchError

T = TypeVar("T")
READERS = 2
MOST_WAITING = 32
LONGEST_S = 10.0
STEPS_BETWEEN_LOOKS = 200_000  # instructions of SQLite's machine, a few milliseconds


class SqlHistory:
    """Satisfies `SeriesStore` and `EnergyStore`."""

    def __init__(self, database: Database, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="history")
        self._waiting = 0

    async def series(self, query: SeriesQuery, render: Callable[[Series], T]) -> T:
        """Read a series and return what `render`, called in the thread, makes of it."""
        return await self._read(lambda db: render(read_series(db, self._zone, query)))

    async def energy(self, query: EnergyQuery, render: Callable[[Energy], T]) -> T:
        """Read energies and return what `render`, called in the thread, makes of them."""
        return await self._read(lambda db: render(read_energy(db, self._zone, query)))

    def close(self) -> None:
        """Take no more queries; those that wait are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._waiting >= MOST_WAITING:
            msg = "too many people ask for history at once; try again in a few seconds"
            raise TooBusyError(msg)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._pool, self._database.read_now, lambda db: _bounded(db, work)
            )
        finally:
            self._waiting -= 1


def _bounded(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run work on one snapshot; TooMuchError when SQLite takes too long over it."""
    until_s = time.monotonic() + LONGEST_S
    db.set_progress_handler(lambda: time.monotonic() > until_s, STEPS_BETWEEN_LOOKS)
    try:
        db.execute("BEGIN")
        return work(db)
    except sqlite3.OperationalError as error:
        if time.monotonic() <= until_s:
            raise
        msg = f"start, end: this takes over {LONGEST_S:.0f} s; ask for a shorter span"
        raise TooMuchError(msg) from error
    finally:
        db.set_progress_handler(None, 0)
        if db.in_transaction:
            db.execute("ROLLBACK")
