"""A damaged database is set aside; who may log in and what was received are taken over."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.quarantine import open_or_replace
from gateway.domain.errors import SchemaTooNewError


def fill(path: Path) -> None:
    with opened(path) as database:
        database.write_now(
            lambda db: db.execute("INSERT INTO users VALUES ('ann', 'admin', 'x', 1, 1)")
        )


def users(database: Database) -> list[str]:
    return database.read_now(lambda db: [row[0] for row in db.execute("SELECT name FROM users")])


def test_a_sound_file_is_opened_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path / "w.db")
    database, note = open_or_replace(tmp_path / "w.db")
    assert users(database) == ["ann"]
    assert note == ""
    database.close()


def test_what_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(b"this was a card" * 1000)
    database, note = open_or_replace(path)
    assert users(database) == []
    database.close()
    (aside,) = tmp_path.glob("w.db.damaged-*")
    assert aside.read_bytes().startswith(b"this was a card")
    assert str(aside) in note


def test_users_survive_a_damaged_page(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'meta'"
        page = db.execute(query).fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    database, note = open_or_replace(path)
    assert users(database) == ["ann"]
    assert "damaged" in note
    database.close()


def test_a_newer_database_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(SchemaTooNewError):
        open_or_replace(path)
    assert not list(tmp_path.glob("*damaged*"))
