"""One SQLite file: one writer thread that commits in groups, and read-only connections."""

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from gateway.adapters.store.log_space import give_log_space
from gateway.adapters.store.schema import migrate
from gateway.domain.errors import AlreadyRunningError, ConfigError, StorageError

log = structlog.get_logger()
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
READERS = 2
# Who reads goes through a span once, and the kernel's own cache is below: each of several
# connections would else keep 4 MB for good.
WRITER_CACHE_KIB, READER_CACHE_KIB = 4096, 1024
GROUP_LIMIT = 256  # works in one commit; bounds how long the first one waits
QUEUE_LIMIT = 1024
STUCK_S = 10.0  # a card that collects its garbage takes a second or two, one that dies for ever
# sqlite.org/rescode.html: SQLITE_CORRUPT, SQLITE_NOTADB
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRIMARY_CODE = 0xFF
# The disk's fault and not the settings': trying again may help (systemd does).
DISK_ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
CHECKED = "checked: "  # begins the reason where the whole file has been read already


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
        db.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB if read_only else WRITER_CACHE_KIB}")
    except sqlite3.Error as error:
        msg = f"storage.path: {path} cannot be opened: {error}"
        raise StorageError(msg) from error
    return db


class Database:
    """The only owner of the writing connection; safe to use from one event loop."""

    def __init__(self, path: Path, *, lasting: bool = False) -> None:
        """Open and migrate the file; `lasting`: for long, so that its log is worth the space.

        Raises AlreadyRunningError when another process writes it, SchemaTooNewError when a newer
        version wrote it, ConfigError when the folder cannot be used, StorageError otherwise.
        """
        self.path = path
        self._lock = _lock(path)
        try:
            self._db = connect(path)
            try:
                _translate(lambda: migrate(self._db, str(path)), path)
                self.was_unclean = _translate(lambda: _note_open(self._db), path)
                if lasting:
                    give_log_space(path)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise
        self.failures = 0  # commits that failed since the start
        self.damage = ""  # what SQLite said of the file when it found it damaged
        self._failing = ""  # what the last commit failed of
        self._begun_s: float | None = None  # when the commit under way began, monotonic
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_LIMIT)
        self._writer = threading.Thread(target=self._write_forever, name="sqlite-writer")
        self._writer.start()
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")

    @property
    def trouble(self) -> str:
        """Return why nothing can be stored at present, "" when it can."""
        begun_s = self._begun_s
        waiting_s = 0.0 if begun_s is None else time.monotonic() - begun_s
        if waiting_s > STUCK_S:
            return f"the disk has not answered for {waiting_s:.0f} s"
        return self.damage or self._failing

    def condemn(self, reason: str, *, checked: bool = False) -> None:
        """Note that the file is damaged, on disk too: the next start will look at it first.

        `checked`: the whole file has been read already.
        """
        if self.damage:
            return
        self.damage = reason
        log.error("database_damaged", reason=reason, file=str(self.path))
        with contextlib.suppress(OSError):  # then the next start finds it in the same way
            suspect_path(self.path).write_text(CHECKED + reason if checked else reason)

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
        except StorageError as error:
            if is_damage(error.__cause__):
                self.condemn(str(error.__cause__))
            raise
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
        self._begun_s = time.monotonic()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = [_attempt(self._db, job) for job in group]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(group, error)
            return
        finally:
            self._begun_s = None
        self._failing = ""
        for outcome in outcomes:
            if outcome.error is None:
                outcome.job.done.set_result(outcome.value)
            else:
                outcome.job.done.set_exception(outcome.error)

    def _fail(self, group: list[_Job], error: sqlite3.Error) -> None:
        """Undo the transaction and tell everybody whose work was in it."""
        with contextlib.suppress(sqlite3.Error):  # the transaction may already be gone
            self._db.execute("ROLLBACK")
        log.error("commit_failed", error=str(error))
        self.failures += 1
        self._failing = f"commit failed: {error}"
        if is_damage(error):
            self.condemn(str(error))
        for job in group:
            failure = StorageError(f"{self.path}: commit failed: {error}")
            failure.__cause__ = error
            job.done.set_exception(failure)


def is_damage(error: BaseException | None) -> bool:
    """Tell whether SQLite found the file itself damaged, not only out of reach."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & PRIMARY_CODE in DAMAGED


def _attempt(db: sqlite3.Connection, job: _Job) -> _Outcome:
    """Run one work in a savepoint; only an error of the disk fails the whole group."""
    db.execute("SAVEPOINT work")
    try:
        value = job.work(db)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise
        return _undo(db, job, error)
    except Exception as error:  # noqa: BLE001 - handed to whoever submitted the work
        return _undo(db, job, error)
    db.execute("RELEASE work")
    return _Outcome(job, value, None)


def _undo(db: sqlite3.Connection, job: _Job, error: Exception) -> _Outcome:
    db.execute("ROLLBACK TO work")
    db.execute("RELEASE work")
    return _Outcome(job, None, error)


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


def suspect_path(path: Path) -> Path:
    """Return the file beside a database that says why it is thought to be damaged."""
    return path.with_name(path.name + ".suspect")


def _lock(path: Path) -> int:
    """Hold the database for this process, until the returned descriptor is closed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"storage.path: {path} cannot be used: {error.strerror}"
        if error.errno in DISK_ERRORS:
            raise StorageError(msg) from error
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
