"""Look at the database after an unclean stop, and at the disk all the time."""

import asyncio
import shutil
import sqlite3

import structlog

from gateway.adapters.store.database import Database
from gateway.domain.alerts import AlertKind
from gateway.domain.errors import StorageError, TransientError
from gateway.services.deriving import Deriver
from gateway.services.placer import Now
from gateway.services.watch import storage_finding

log = structlog.get_logger()
LOOK_S = 60.0
LEAST_FREE_BYTES = 100_000_000


class HealthCheck:
    """The service: one quick_check after an unclean stop, then free space every minute."""

    def __init__(self, database: Database, deriver: Deriver, now: Now, set_aside: str = "") -> None:
        """Watch a database; `set_aside` says what became of a damaged one before it."""
        self._database = database
        self._deriver = deriver
        self._now = now
        self._told = False
        self._damaged = False
        self._set_aside = set_aside

    async def run(self) -> None:
        """Check until cancelled; TransientError when the disk fails."""
        await self._deriver.loaded.wait()
        alerts = self._deriver.desk.book.open_alerts
        told = [alert for alert in alerts if alert.key[2] is AlertKind.STORAGE]
        self._told = bool(told)
        # Damage told by an earlier run stays until a person has resolved it.
        self._damaged = any("damaged" in alert.detail for alert in told)
        try:
            await self._check_once()
            while True:
                await self._look_at_space()
                await asyncio.sleep(LOOK_S)
        except StorageError as error:
            msg = f"the database cannot be checked: {error}"
            raise TransientError(msg) from error

    async def _check_once(self) -> None:
        if self._set_aside:
            self._damaged = True  # until somebody resolves it: the card is to be replaced
            await self._report(self._set_aside)
        if not self._database.was_unclean:
            return
        log.info("database_check_started", reason="the last run did not end in order")
        result = await self._database.read(_quick_check)
        log.info("database_checked", result=result)
        if result != "ok":
            self._damaged = True
            await self._report(
                f"The database {self._database.path} is damaged: {result[:200]}. Make a backup"
                " now (wattwarden backup FILE) and replace the card."
            )

    async def _look_at_space(self) -> None:
        free = shutil.disk_usage(self._database.path.parent).free
        if free < LEAST_FREE_BYTES:
            await self._report(
                f"Only {free / 1e6:.0f} MB are free beside {self._database.path}; readings are"
                " no longer acknowledged when it is full. Free some space."
            )
        elif self._told and not self._damaged:
            self._told = False
            detail = f"{free / 1e6:.0f} MB are free again."
            await self._deriver.report(
                [storage_finding(self._now.wall_ms(), active=False, detail=detail)]
            )

    async def _report(self, detail: str) -> None:
        if not self._told:
            self._told = True
            finding = storage_finding(self._now.wall_ms(), active=True, detail=detail)
            await self._deriver.report([finding])


def _quick_check(db: sqlite3.Connection) -> str:
    return str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
