"""The write-ahead log has its full length from the start, and what stood in it stays."""

import shutil
import sqlite3
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.adapters.store.database import Database, connect
from gateway.adapters.store.log_space import LOG_BYTES, give_log_space, log_path


def insert(db: sqlite3.Connection, *, number: int) -> None:
    db.execute("INSERT INTO meta VALUES (?, ?)", (f"k{number}", "x" * 2000))


def test_commits_overwrite_the_log_of_a_daemon_and_never_extend_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "w.db", lasting=True)
    try:
        assert log_path(database.path).stat().st_size >= LOG_BYTES
        for number in range(300):
            database.write_now(partial(insert, number=number))
        assert log_path(database.path).stat().st_size == pytest.approx(LOG_BYTES, rel=0.01)
        count = database.read_now(lambda db: db.execute("SELECT count(*) FROM meta").fetchone())
        assert count[0] >= 300
    finally:
        database.close()


def test_a_command_does_not_write_4_mb(tmp_path: Path) -> None:
    database = Database(tmp_path / "w.db")
    try:
        assert log_path(database.path).stat().st_size < LOG_BYTES
    finally:
        database.close()


def test_what_a_crash_left_in_the_log_is_still_there(tmp_path: Path) -> None:
    """Zeros behind the last commit are the log's end for whoever recovers it."""
    path, copy = tmp_path / "w.db", tmp_path / "copy.db"
    db = connect(path)
    db.execute("CREATE TABLE kept (x)")
    db.executemany("INSERT INTO kept VALUES (?)", [(n,) for n in range(500)])
    give_log_space(path)
    shutil.copy(path, copy)  # as a power cut leaves it: never closed
    shutil.copy(log_path(path), log_path(copy))
    db.close()
    with sqlite3.connect(copy) as after:
        assert after.execute("SELECT count(*) FROM kept").fetchone() == (500,)
        assert after.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_without_room_to_spare_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=10**9, used=10**9, free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    database = Database(tmp_path / "w.db", lasting=True)
    try:
        assert log_path(database.path).stat().st_size < LOG_BYTES
    finally:
        database.close()
