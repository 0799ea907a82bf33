"""Look through the database after the start, and at the disk all the time."""

import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import structlog

from gateway.adapters.store.database import Database, connect, is_damage
from gateway.domain.alerts import AlertKind
from gateway.domain.errors import StorageError
from gateway.services.deriving import Deriver
from gateway.services.placer import Now
from gateway.services.watch import storage_finding

log = structlog.get_logger()
LOOK_S = 2.0
LEAST_FREE_BYTES = 100_000_000
CHECK_EVERY_S = 7 * 86_400.0
OPCODES_A_LOOK = 20_000
CALM_S = 30.0  # without a failed commit, and the disk counts as working again


class HealthCheck:
    """The service: the file's soundness after the start and weekly, failed commits, free space.

    An alert about the disk can be stored only once the disk takes it: it is tried until then.
    """

    def __init__(self, database: Database, deriver: Deriver, now: Now, set_aside: str = "") -> None:
        """Watch a database; `set_aside` says what became of a damaged one before it."""
        self._database = database
        self._deriver = deriver
        self._now = now
        self._set_aside = set_aside
        self._topic = ""  # what the open alert is about
        self._lasting = bool(set_aside)  # until somebody resolves it: the card is to be replaced
        self._failures = 0
        self._failed_s: float | None = None  # when a commit last failed, monotonic
        self._failed = ""

    async def run(self) -> None:
        """Look until cancelled. StorageError when the file is damaged: it must be set aside."""
        await self._deriver.loaded.wait()
        alerts = self._deriver.desk.book.open_alerts
        told = [alert.detail for alert in alerts if alert.key[2] is AlertKind.STORAGE]
        # Damage told by an earlier run stays until a person has resolved it.
        self._lasting = self._lasting or any("damaged" in detail for detail in told)
        self._topic = "earlier" if told else ""
        ended = threading.Event()
        check = asyncio.ensure_future(self._check_file(ended))
        try:
            while True:
                self._refuse_damage()
                await self._tell(*await self._look())
                await asyncio.sleep(LOOK_S)
        finally:
            ended.set()
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    def _refuse_damage(self) -> None:
        """Have the process end: only a start can set the file aside."""
        if self._database.damage:
            msg = (
                f"storage.path: {self._database.path} is damaged ({self._database.damage});"
                " the next start sets it aside and takes over what can be read"
            )
            raise StorageError(msg)

    async def _check_file(self, ended: threading.Event) -> None:
        """Read the whole file, beside everything else: damage may lie where nobody looks."""
        while True:
            await self._check_once(ended)
            await asyncio.sleep(CHECK_EVERY_S)

    async def _check_once(self, ended: threading.Event) -> None:
        try:
            result = await asyncio.to_thread(quick_check, self._database.path, ended)
        except StorageError as error:
            log.warning("database_not_checked", error=str(error))
            return
        log.info("database_checked", result=result, was_unclean=self._database.was_unclean)
        if result != "ok":
            self._database.condemn(result.replace("\n", " ")[:200], checked=True)

    async def _look(self) -> tuple[str, str]:
        """Return what is wrong now: a word, and a sentence for people; both "" for nothing."""
        if self._database.failures > self._failures:
            self._failures = self._database.failures
            self._failed = self._database.trouble or self._failed or "a commit failed"
            self._failed_s = self._now.mono_s()
        trouble = self._database.trouble
        if trouble:
            return "failing", (
                f"Nothing can be stored in {self._database.path}: {trouble}. Meters keep their"
                " readings until it works again; look at the card or disk."
            )
        if self._failed_s is not None and self._now.mono_s() - self._failed_s < CALM_S:
            detail = f"{self._database.path} could not be written for a while: {self._failed}."
            return "failing", detail
        try:
            free = await asyncio.to_thread(shutil.disk_usage, self._database.path.parent)
        except OSError as error:
            return "disk", f"The disk of {self._database.path} does not answer: {error.strerror}."
        if free.free < LEAST_FREE_BYTES:
            return "space", (
                f"Only {free.free / 1e6:.0f} MB are free beside {self._database.path}; the"
                " oldest readings give way soon, and when it is full none are acknowledged. Free"
                " some space."
            )
        return ("aside", self._set_aside) if self._set_aside else ("", "")

    async def _tell(self, topic: str, said: str) -> None:
        """Open, renew or resolve the alert; what cannot be stored is tried at the next look."""
        if topic == self._topic or (not topic and self._lasting):
            return
        detail = said or "The database can be written again, and there is enough space."
        finding = storage_finding(self._now.wall_ms(), active=bool(topic), detail=detail)
        try:
            await self._deriver.report([finding])
        except StorageError as error:
            log.warning("storage_alert_not_stored", detail=detail, error=str(error))
        else:
            self._topic = topic


def quick_check(path: Path, ended: threading.Event) -> str:
    """Return what SQLite finds wrong with the file, "ok" for nothing; on a connection of its own.

    It takes minutes on a card full of readings, or until `ended` is set. Raises StorageError when
    it cannot be read.
    """
    with closing(connect(path, read_only=True)) as db:
        db.set_progress_handler(ended.is_set, OPCODES_A_LOOK)
        try:
            return _quick_check(db)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return str(error)
            msg = f"{path} cannot be checked: {error}"
            raise StorageError(msg) from error


def _quick_check(db: sqlite3.Connection) -> str:
    return str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
