"""Tables of what people are told of: their devices, what goes to them, and commands from afar."""

import sqlite3

NAME = "0008_notices"
SCRIPT = """
CREATE TABLE devices (
    id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
    token TEXT NOT NULL UNIQUE, platform TEXT NOT NULL, name TEXT NOT NULL,
    language TEXT NOT NULL, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_of_user ON devices (user);
CREATE TABLE notices (
    no INTEGER PRIMARY KEY AUTOINCREMENT, alert_id TEXT NOT NULL REFERENCES alerts(id),
    stage TEXT NOT NULL, road TEXT NOT NULL, target TEXT NOT NULL, tag TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped')),
    created_ms INTEGER NOT NULL, done_ms INTEGER, reason TEXT NOT NULL DEFAULT '',
    UNIQUE (alert_id, stage, road, target)
) STRICT;
CREATE INDEX notices_waiting ON notices (no) WHERE state = 'waiting';
CREATE INDEX notices_by_time ON notices (created_ms);
CREATE TABLE cloud_commands (
    id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL, who TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('begun', 'done')), result TEXT NOT NULL,
    written INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT OR REPLACE INTO meta
    SELECT 'notified_upto', CAST(ifnull(max(no), 0) AS TEXT) FROM alert_history;
"""


def create(db: sqlite3.Connection) -> None:
    """Create the tables; alerts that are older than them are nobody's news."""
    for statement in SCRIPT.split(";\n"):
        if statement.strip():
            db.execute(statement)
