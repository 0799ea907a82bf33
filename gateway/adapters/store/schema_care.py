"""Tables of what the gateway does to meters: commands, bundles and calibrations."""

import sqlite3

NAME = "0004_meter_care"
TABLES = (
    "commands", "bundles", "desired", "rollouts", "calibrations", "calibration_sessions",
    "drift_days",
)  # fmt: skip
SCRIPT = """
CREATE TABLE commands (
    id TEXT PRIMARY KEY, meter TEXT NOT NULL, kind TEXT NOT NULL, args_key TEXT NOT NULL,
    ttl_ms INTEGER NOT NULL, sent_ms INTEGER NOT NULL, sent_by TEXT NOT NULL,
    answered_ms INTEGER, result TEXT
) STRICT;
CREATE INDEX commands_by_age ON commands (sent_ms);
CREATE TABLE bundles (
    no INTEGER PRIMARY KEY, kind TEXT NOT NULL, meter TEXT NOT NULL, version INTEGER NOT NULL,
    sha256 TEXT NOT NULL, sig TEXT NOT NULL, published_ms INTEGER NOT NULL,
    published_by TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (kind, meter, version)
) STRICT;
CREATE TABLE desired (
    kind TEXT NOT NULL, meter TEXT NOT NULL, version INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, meter)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollouts (
    meter TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL,
    why TEXT NOT NULL, detail TEXT NOT NULL, updated_ms INTEGER NOT NULL,
    PRIMARY KEY (meter, kind, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE calibrations (
    meter TEXT NOT NULL, version INTEGER NOT NULL, made_ms INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (meter, version)
) STRICT;
CREATE TABLE calibration_sessions (
    meter TEXT PRIMARY KEY, updated_ms INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE TABLE drift_days (
    meter TEXT NOT NULL, day INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (meter, day)
) STRICT, WITHOUT ROWID;
"""


def create(db: sqlite3.Connection) -> None:
    """Create the tables."""
    for statement in SCRIPT.split(";\n"):
        if statement.strip():
            db.execute(statement)
