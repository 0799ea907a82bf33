"""Migration 0009: models from elsewhere, their trials, what happened to them."""

import sqlite3

NAME = "0009_models"
SCRIPTS = (
    (
        "CREATE TABLE pulled (no INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL,"
        " sha256 TEXT NOT NULL, what TEXT NOT NULL, kind TEXT NOT NULL, meter TEXT NOT NULL,"
        " channel TEXT NOT NULL, version INTEGER NOT NULL, custom TEXT NOT NULL,"
        " pulled_ms INTEGER NOT NULL, unproven_ms INTEGER, state TEXT NOT NULL,"
        " why TEXT NOT NULL, step_us REAL, body BLOB NOT NULL, UNIQUE (path, sha256)) STRICT"
    ),
    (
        "CREATE TABLE model_trials (pulled_no INTEGER NOT NULL REFERENCES pulled(no),"
        " meter TEXT NOT NULL, channel TEXT NOT NULL, state TEXT NOT NULL,"
        " since_ms INTEGER NOT NULL, why TEXT NOT NULL, facts BLOB NOT NULL,"
        " PRIMARY KEY (pulled_no, meter, channel)) STRICT"
    ),
    (
        "CREATE UNIQUE INDEX one_active_model ON model_trials (meter, channel)"
        " WHERE state = 'active'"
    ),
    (
        "CREATE TABLE shadow_scores (pulled_no INTEGER NOT NULL, meter TEXT NOT NULL,"
        " channel TEXT NOT NULL, start_ms INTEGER NOT NULL, score REAL, champion REAL,"
        " PRIMARY KEY (pulled_no, meter, channel, start_ms)) STRICT, WITHOUT ROWID"
    ),
    (
        "CREATE TABLE model_events (no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL,"
        " what TEXT NOT NULL, path TEXT NOT NULL, meter TEXT NOT NULL, channel TEXT NOT NULL,"
        " detail TEXT NOT NULL) STRICT"
    ),
    "CREATE TABLE model_notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
)
TABLES = ("pulled", "model_trials", "shadow_scores", "model_events", "model_notes")


def create(db: sqlite3.Connection) -> None:
    """Create the tables."""
    for script in SCRIPTS:
        db.execute(script)
