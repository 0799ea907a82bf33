"""Migration 0006: tariffs, mutes, imports, and documents such as the site's tree."""

import sqlite3

NAME = "0006_home"
SCRIPTS = (
    (
        "CREATE TABLE tariffs (id TEXT PRIMARY KEY, valid_from TEXT NOT NULL UNIQUE,"
        " body TEXT NOT NULL) STRICT"
    ),
    (
        "CREATE TABLE mutes (id TEXT PRIMARY KEY, meter TEXT NOT NULL, channel TEXT,"
        " kind TEXT NOT NULL, until_ms INTEGER, created_ms INTEGER NOT NULL,"
        " created_by TEXT NOT NULL) STRICT"
    ),
    # One JSON document a row, with the version that an editor must have read to replace it.
    (
        "CREATE TABLE documents (key TEXT PRIMARY KEY, version INTEGER NOT NULL,"
        " body TEXT NOT NULL) STRICT"
    ),
    (
        "CREATE TABLE imports (no INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL,"
        " body TEXT NOT NULL) STRICT"
    ),
    "ALTER TABLE alerts ADD COLUMN muted INTEGER NOT NULL DEFAULT 0",
)
TABLES = ("tariffs", "mutes", "documents", "imports")


def create(db: sqlite3.Connection) -> None:
    """Apply it."""
    for script in SCRIPTS:
        db.execute(script)
