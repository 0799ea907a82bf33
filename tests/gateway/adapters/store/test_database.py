"""The database: group commit, savepoints, refusals, and what a cancelled caller may not break."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.store.database import Database, connect, lock_path, opened
from gateway.adapters.store.schema import SCHEMA_VERSION
from gateway.domain.errors import (
    AlreadyRunningError,
    ConfigError,
    SchemaTooNewError,
    StorageError,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "w.db") as made:
        yield made


def put(key: str) -> str:
    return f"INSERT INTO meta VALUES ('{key}', '1')"  # noqa: S608


OWN = {"open", "notified_upto"}  # what the gateway itself keeps there
COUNT = "SELECT count(*) FROM meta WHERE key NOT IN ('open', 'notified_upto')"


def putting(key: str) -> Callable[[sqlite3.Connection], int]:
    return lambda db: db.execute(put(key)).rowcount


async def keys(database: Database) -> set[str]:
    found = await database.read(lambda db: db.execute("SELECT key FROM meta").fetchall())
    return {key for (key,) in found} - OWN


async def test_a_write_is_on_disk_when_it_returns(database: Database) -> None:
    await database.write(lambda db: db.execute(put("a")).rowcount)
    with sqlite3.connect(database.path) as other:
        assert other.execute("SELECT count(*) FROM meta WHERE key = 'a'").fetchone() == (1,)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_pragmas_that_the_promises_rest_on(database: Database) -> None:
    def pragmas(db: sqlite3.Connection) -> list[int]:
        names = ("synchronous", "foreign_keys")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.write(pragmas) == [2, 1]  # FULL, on


async def test_works_that_wait_share_one_commit(database: Database) -> None:
    commits: list[str] = []
    held = threading.Event()

    def trace(db: sqlite3.Connection) -> None:
        db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    await database.write(trace)
    commits.clear()
    first = asyncio.ensure_future(database.write(lambda _: held.wait(5)))
    await asyncio.sleep(0.05)
    more = [asyncio.ensure_future(database.write(putting(f"k{k}"))) for k in range(50)]
    await asyncio.sleep(0.05)
    held.set()
    await asyncio.gather(first, *more)
    assert commits.count("COMMIT") == 2
    assert len(await keys(database)) == 50


async def test_a_failing_work_undoes_only_itself(database: Database) -> None:
    held = threading.Event()

    def half(db: sqlite3.Connection) -> None:
        db.execute(put("half"))
        msg = "no"
        raise ValueError(msg)

    waiting = asyncio.ensure_future(database.write(lambda _: held.wait(5)))
    await asyncio.sleep(0.05)
    works = (putting("before"), half, putting("before"), putting("after"))  # the third: not unique
    tasks = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.sleep(0.05)
    held.set()
    results = await asyncio.gather(waiting, *tasks, return_exceptions=True)
    assert isinstance(results[2], ValueError)
    assert isinstance(results[3], sqlite3.IntegrityError)
    assert await keys(database) == {"before", "after"}


async def test_a_failed_commit_is_a_storage_error_for_all(database: Database) -> None:
    def breaks_at_commit(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO gaps VALUES (99, 0, 1, 'final', '', 0)")

    held = threading.Event()
    waiting = asyncio.ensure_future(database.write(lambda _: held.wait(5)))
    await asyncio.sleep(0.05)
    works = (lambda db: db.execute(put("a")).rowcount, breaks_at_commit)
    tasks = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.sleep(0.05)
    held.set()
    results = await asyncio.gather(waiting, *tasks, return_exceptions=True)
    assert results[0] is True
    assert all(isinstance(result, StorageError) for result in results[1:])
    assert await keys(database) == set()
    await database.write(lambda db: db.execute(put("b")).rowcount)  # it goes on
    assert await keys(database) == {"b"}


async def test_an_error_of_the_disk_fails_the_group_and_nothing_is_kept(
    database: Database,
) -> None:
    def full(db: sqlite3.Connection) -> None:
        db.execute(put("x"))
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.execute("INSERT INTO meta VALUES ('big', hex(zeroblob(10000000)))")

    with pytest.raises(StorageError, match="full"):
        await database.write(full)
    await database.write(lambda db: db.execute("PRAGMA max_page_count = 1073741823").fetchone())
    await database.write(lambda db: db.execute(put("b")).rowcount)
    assert await keys(database) == {"b"}


async def test_a_cancelled_caller_does_not_stop_the_writer(database: Database) -> None:
    for _ in range(3):
        task = asyncio.ensure_future(database.write(lambda _: time.sleep(0.05)))
        queued = asyncio.ensure_future(database.write(lambda _: 1))
        await asyncio.sleep(0.01)
        task.cancel()
        queued.cancel()
        await asyncio.gather(task, queued, return_exceptions=True)
    async with asyncio.timeout(5):
        assert await database.write(lambda _: 7) == 7


async def test_a_cancelled_caller_of_a_failing_work_does_not_either(database: Database) -> None:
    def fails(_: sqlite3.Connection) -> None:
        time.sleep(0.05)
        msg = "disk I/O error"
        raise sqlite3.OperationalError(msg)

    task = asyncio.ensure_future(database.write(fails))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        assert await database.write(lambda _: 7) == 7


async def test_a_queue_that_is_full_is_said_so(database: Database) -> None:
    held = threading.Event()
    first = database.submit(lambda _: held.wait(10))
    await asyncio.sleep(0.05)
    queued = [database.submit(lambda _: 1) for _ in range(1024)]
    with pytest.raises(StorageError, match="slower"):
        database.submit(lambda _: 1)
    held.set()
    assert first.result(5)
    assert [future.result(5) for future in queued] == [1] * 1024


async def test_readers_cannot_write_and_their_errors_are_translated(database: Database) -> None:
    with pytest.raises(StorageError, match=r"storage\.path: .*readonly"):
        await database.read(lambda db: db.execute(put("a")))
    assert await database.read(lambda db: db.execute("SELECT 1").fetchone()) == (1,)


def test_write_now_and_read_now_block(database: Database) -> None:
    assert database.write_now(lambda db: db.execute(put("a")).rowcount) == 1
    assert database.read_now(lambda db: db.execute(COUNT).fetchone()) == (1,)


def test_what_is_queued_is_committed_before_closing(tmp_path: Path) -> None:
    database = Database(tmp_path / "w.db")
    futures = [database.submit(putting(f"k{k}")) for k in range(99)]
    database.close()
    assert all(future.done() for future in futures)
    with opened(tmp_path / "w.db") as again:
        assert again.read_now(lambda db: db.execute(COUNT).fetchone())[0] == 99


def test_an_unclean_stop_is_noticed_and_a_clean_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    code = (
        "import os, pathlib, sys\n"
        "from gateway.adapters.store.database import Database\n"
        "Database(pathlib.Path(sys.argv[1]))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    with opened(path) as database:
        assert database.was_unclean
    with opened(path) as database:
        assert not database.was_unclean


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    code = (
        "import pathlib, sys\n"
        "from gateway.adapters.store.database import Database\n"
        "from gateway.domain.errors import AlreadyRunningError\n"
        "try:\n"
        "    Database(pathlib.Path(sys.argv[1])).close()\n"
        "except AlreadyRunningError as error:\n"
        "    print(error)\n"
    )
    with opened(path):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            check=True, timeout=30, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == f"storage.path: {path} is in use by another wattwarden process\n"
        with pytest.raises(AlreadyRunningError):
            Database(path)
    with opened(path) as database:
        assert database.write_now(lambda _: 1) == 1


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "w.db") as database:
            database.write_now(lambda db: db.execute(put("a")).rowcount)
            for path in (database.path, lock_path(database.path), tmp_path / "w.db-wal"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    finally:
        os.umask(before)


def test_a_newer_schema_is_refused_by_its_version(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    with opened(path) as database:
        database.write_now(
            lambda db: db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}").fetchone()
        )
    before = path.read_bytes()
    with pytest.raises(SchemaTooNewError, match=rf"newer version \(schema {SCHEMA_VERSION + 1}"):
        Database(path)
    assert path.read_bytes() == before


def test_an_unknown_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    with opened(path) as database:
        database.write_now(
            lambda db: (
                db.execute(
                    "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
                    " VALUES ('wattwarden', '0002_future', 'then')"
                ).rowcount
            )
        )
    with pytest.raises(SchemaTooNewError):
        Database(path)
    with pytest.raises(SchemaTooNewError):  # the lock was released by the first refusal
        Database(path)


def test_what_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(b"this is no database file, whatever its name says" * 100)
    with pytest.raises(StorageError, match=r"storage\.path"):
        Database(path)


@pytest.mark.parametrize("name", ["file/w.db", "folder"])
def test_a_path_that_cannot_be_used_is_a_config_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"storage\.path"):
        Database(tmp_path / name)


def test_a_read_only_connection_to_nothing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        connect(tmp_path / "none.db", read_only=True)


def test_every_table_is_strict(database: Database) -> None:
    tables = database.read_now(
        lambda db: db.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
            " AND name NOT LIKE 'sqlite%' AND name != '_sqlite_migrations'"
        ).fetchall()
    )
    assert len(tables) > 20
    assert [name for name, strict in tables if not strict] == []
