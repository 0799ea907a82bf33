"""One SQLite file: one writer thread that commits in groups, and read-only connections."""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from gateway.adapters.store.schema import migrate
from gateway.domain.errors import AlreadyRunningError, ConfigError, StorageError

log = structlog.get_logger()
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
READERS = 2
GROUP_LIMIT = 256  # works in one commit; bounds how long the first one waits
QUEUE_LIMIT = 1024


class _Job(NamedTuple):
    work: Work[object]
    done: Future[object]


class _Outcome(NamedTuple):
    job: _Job
    value: object
    error: BaseException | None


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection with the pragmas that our promises rest on.

    WAL with synchronous=FULL: a committed transaction survives a power cut
    (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    try:
        if read_only:
            uri = f"{path.absolute().as_uri()}?mode=ro"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        else:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA busy_timeout = 10000")
        db.execute("PRAGMA cache_size = -4096")
    except sqlite3.Error as error:
        msg = f"storage.path: {path} cannot be opened: {error}"
        raise StorageError(msg) from error
    return db


class Database:
    """The only owner of the writing connection; safe to use from one event loop."""

    def __init__(self, path: Path) -> None:
        """Open and migrate the file.

        Raises AlreadyRunningError when another process writes it, SchemaTooNewError when a newer
        version wrote it, ConfigError when the folder cannot be used, StorageError otherwise.
        """
        self.path = path
        self._lock = _lock(path)
        try:
            self._db = connect(path)
            _translate(lambda: migrate(self._db, str(path)), path)
            self.was_unclean = _translate(lambda: _note_open(self._db), path)
        except BaseException:
            os.close(self._lock)
            raise
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_LIMIT)
        self._writer = threading.Thread(target=self._write_forever, name="sqlite-writer")
        self._writer.start()
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")

    async def write(self, work: Work[T]) -> T:
        """Run `work` in the writer's transaction; return after COMMIT has reached the disk.

        Several works share one commit, each in a savepoint of its own: what one raises undoes
        only that one, and is raised here. StorageError when the commit itself fails.
        """
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Work[T]) -> "Future[T]":
        """Queue `work` as `write` does; the future is done after COMMIT."""
        done: Future[T] = Future()
        try:
            self._jobs.put_nowait(_Job(work, done))  # type: ignore[arg-type]
        except queue.Full as error:
            msg = "the disk is slower than what is written to it"
            raise StorageError(msg) from error
        return done

    def write_now(self, work: Work[T]) -> T:
        """Do as `write`, blocking: for the command line while no daemon runs."""
        return self.submit(work).result()

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a read-only connection in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.read_now, work)

    def read_now(self, work: Work[T]) -> T:
        """Do as `read`, blocking."""
        try:
            db = self._idle_readers.get_nowait()
        except queue.Empty:
            db = connect(self.path, read_only=True)
        try:
            return _translate(lambda: work(db), self.path)
        finally:
            self._idle_readers.put(db)

    def close(self) -> None:
        """Commit what is queued, checkpoint, and close. Blocks until done."""
        self._jobs.put(None)
        self._writer.join()
        self._pool.shutdown()
        while not self._idle_readers.empty():
            self._idle_readers.get_nowait().close()
        with contextlib.suppress(sqlite3.Error):  # a busy reader only delays the checkpoint
            self._db.execute("DELETE FROM meta WHERE key = 'open'")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        os.close(self._lock)

    def _write_forever(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            ended = False
            while len(group) < GROUP_LIMIT:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                group.append(more)
            self._commit(group)
            if ended:
                return

    def _commit(self, submitted: list[_Job]) -> None:
        # From here on nobody can cancel; what was cancelled before is not begun.
        group = [job for job in submitted if job.done.set_running_or_notify_cancel()]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = [_attempt(self._db, job) for job in group]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):  # the transaction may already be gone
                self._db.execute("ROLLBACK")
            log.error("commit_failed", error=str(error))  # noqa: TRY400 - told in one line
            failure = StorageError(f"{self.path}: commit failed: {error}")
            for job in group:
                job.done.set_exception(failure)
            return
        for outcome in outcomes:
            if outcome.error is None:
                outcome.job.done.set_result(outcome.value)
            else:
                outcome.job.done.set_exception(outcome.error)


def _attempt(db: sqlite3.Connection, job: _Job) -> _Outcome:
    """Run one work in a savepoint; only an error of the disk fails the whole group."""
    db.execute("SAVEPOINT work")
    try:
        value = job.work(db)
    except sqlite3.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - handed to whoever submitted the work
        db.execute("ROLLBACK TO work")
        db.execute("RELEASE work")
        return _Outcome(job, None, error)
    db.execute("RELEASE work")
    return _Outcome(job, value, None)


def _note_open(db: sqlite3.Connection) -> bool:
    """Note that the database is in use; tell whether the last user did not close it."""
    unclean = db.execute("SELECT 1 FROM meta WHERE key = 'open'").fetchone() is not None
    db.execute("INSERT OR REPLACE INTO meta VALUES ('open', '1')")
    return unclean


def _translate(call: Callable[[], T], path: Path) -> T:
    try:
        return call()
    except sqlite3.Error as error:
        msg = f"storage.path: {path}: {error}"
        raise StorageError(msg) from error


def lock_path(path: Path) -> Path:
    """Return the lock file beside a database."""
    return path.with_name(path.name + ".lock")


def _lock(path: Path) -> int:
    """Hold the database for this process, until the returned descriptor is closed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"storage.path: {path} cannot be used: {error.strerror}"
        raise ConfigError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _give_to_owner(path)
    except BlockingIOError as error:
        os.close(lock)
        msg = f"storage.path: {path} is in use by another wattwarden process"
        raise AlreadyRunningError(msg) from error
    return lock


def _give_to_owner(path: Path) -> None:
    """Leave files that root has made to the folder's owner, whom the daemon runs as."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for file in (path, lock_path(path)):
            os.chown(file, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Open a database for the time of a `with` block."""
    database = Database(path)
    try:
        yield database
    finally:
        database.close()
