"""Databases of earlier versions: brought up to date, with all that they hold."""

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from sqlite_utils import Database as UtilsDatabase

from gateway.adapters.store import schema, schema_care
from gateway.adapters.store.database import connect, opened
from gateway.adapters.store.imports import SqlImports
from gateway.adapters.store.readonly import snapshot
from gateway.adapters.store.tokens import SqlTokens
from gateway.services.accounts import AuditEntry, UserRole
from gateway.services.import_jobs import Choice, ImportJob
from gateway.services.tokens import ApiToken


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make a database as version 0.1.0 did: the first migration and nothing else."""
    path = tmp_path / "old.db"
    db = connect(path)
    schema.migrations.apply(UtilsDatabase(db), stop_before="0002_api_tokens")
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO users VALUES ('ada', 'admin', 'hash', 1, 1)")
    db.execute("INSERT INTO meters (id, registered_ms) VALUES ('kitchen', 5)")
    db.close()
    return path


def tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_old_database_can_be_looked_into_as_it_is(old: Path) -> None:
    with snapshot(old) as db:
        assert db.execute("SELECT id FROM meters").fetchall() == [("kitchen",)]
        assert "api_tokens" not in tables(db)


async def test_an_old_database_is_brought_up_to_date_and_keeps_all(old: Path) -> None:
    for _ in range(2):  # the second time nothing is left to do
        with opened(old) as database:
            assert database.read_now(
                lambda db: db.execute("SELECT name FROM users").fetchall()
            ) == [("ada",)]
            version = database.read_now(lambda db: db.execute("PRAGMA user_version").fetchone())
            assert version == (schema.SCHEMA_VERSION,)
            assert "api_tokens" in database.read_now(tables)
    with opened(old) as database:
        token = ApiToken("t", b"x", UserRole.VIEWER, 1, "ada", 2)
        assert await SqlTokens(database).add_token(token, 5, AuditEntry(1, "ada", "did", ""))


def test_the_old_schema_is_that_of_a_new_database_less_what_came_since(
    old: Path, tmp_path: Path
) -> None:
    with opened(tmp_path / "new.db") as database, snapshot(old) as db:
        came_since = database.read_now(tables) - tables(db)
        assert not tables(db) - database.read_now(tables)
        assert {"api_tokens", "devices", *schema_care.TABLES} <= came_since


async def test_imports_of_an_earlier_version_know_which_alerts_they_brought(tmp_path: Path) -> None:
    path = tmp_path / "imports.db"
    db = connect(path)
    schema.migrations.apply(UtilsDatabase(db), stop_before="0010_import_alerts")
    rows = ((no, "both" if no != 2 else "other") for no in range(1, 6))
    db.executemany(
        "INSERT INTO alerts (id, meter, channel, kind, severity, state, opened_ms, updated_ms,"
        " count, title, detail, evidence, historic) VALUES"
        " ('a' || ?1, ?2, '', 'over_voltage', 'warning', 'resolved', 5, 5, 1, '', '', '{}', 1)",
        rows,
    )
    choice = Choice("both", "grid", "UTC", "t", {"p": "p"}, "ymd")
    fresh = ImportJob(0, "ä.csv", 5, 1, "ada", "done", choice=choice, started_ms=1)
    for change in (
        {"alerts": 2}, {"alerts_before": 3, "alerts": 2}, {"alerts_before": 3, "state": "failed"},
        {"choice": None, "state": "failed"},
    ):  # fmt: skip
        job = msgspec.structs.replace(fresh, **change)
        body = msgspec.to_builtins(job)
        del body["alerts_after"]  # as it was kept then
        db.execute("INSERT INTO imports (state, body) VALUES (?, ?)", (job.state, json.dumps(body)))
    db.close()
    with opened(path) as database:
        store = SqlImports(database)
        found = [await store.get(no) for no in (1, 2, 3, 4)]
        assert [job and job.alerts_after for job in found] == [3, 5, 3, None]
        assert [job and await store.count_alerts(job) for job in found] == [2, 2, 0, 0]
        assert found[0] is not None
        assert found[0].file == "ä.csv"
        await store.finish_undo(found[0])
        left = await database.read(lambda db: db.execute("SELECT id FROM alerts").fetchall())
        assert left == [("a2",), ("a4",), ("a5",)]
