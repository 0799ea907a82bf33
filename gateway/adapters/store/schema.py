"""The database's schema as numbered migrations, applied in order and never edited afterwards."""

import sqlite3
import sys
from collections.abc import Callable

from gateway.adapters.store import (
    schema_care,
    schema_cloud,
    schema_home,
    schema_imports,
    schema_models,
    schema_notices,
)
from gateway.domain.errors import SchemaTooNewError

# sqlite-utils imports pandas and numpy where they happen to be installed, to tell the types of
# tables that we never give it: 75 MB that a gateway on a Pi would carry, and a fifth of a second
# for every small command.
_hidden = [name for name in ("pandas", "numpy") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type] # None: as if not installed
from sqlite_utils import Database as UtilsDatabase  # noqa: E402
from sqlite_utils.migrations import Migrations  # noqa: E402

for _name in _hidden:
    del sys.modules[_name]

# Readings share a segment of 2^12 rows, so that a meter's rows are found without an index
# that every commit would have to touch (docs/adr/0001).
SEGMENT_BITS = 12

migrations = Migrations("wattwarden")

METERS = """
CREATE TABLE meters (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, recorded INTEGER NOT NULL DEFAULT 0,
    label TEXT NOT NULL DEFAULT '', registered_ms INTEGER NOT NULL, removed_ms INTEGER,
    state TEXT, state_ms INTEGER, online INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE channels (
    no INTEGER PRIMARY KEY, meter_no INTEGER NOT NULL REFERENCES meters(no),
    name TEXT NOT NULL, role TEXT NOT NULL, rating_a REAL, UNIQUE (meter_no, name)
) STRICT;
CREATE TABLE boots (
    no INTEGER PRIMARY KEY, meter_no INTEGER NOT NULL REFERENCES meters(no),
    boot INTEGER NOT NULL, bootn INTEGER, first_received_ms INTEGER NOT NULL,
    state_anchor_ms INTEGER, reading_anchor_ms INTEGER, offset_ms INTEGER,
    UNIQUE (meter_no, boot)
) STRICT;
"""
READINGS = """
CREATE TABLE readings (
    row INTEGER PRIMARY KEY, boot_no INTEGER NOT NULL, seq INTEGER NOT NULL,
    n INTEGER NOT NULL, up_ms INTEGER NOT NULL, t_ms INTEGER, at_ms INTEGER,
    received_ms INTEGER NOT NULL, dt_ms INTEGER NOT NULL, marks INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE segments (
    boot_no INTEGER NOT NULL, segment INTEGER NOT NULL, rows INTEGER NOT NULL,
    min_seq INTEGER NOT NULL, max_seq INTEGER NOT NULL,
    min_at_ms INTEGER, max_at_ms INTEGER,
    PRIMARY KEY (boot_no, segment)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_by_age ON segments (segment);
CREATE TABLE runs (
    boot_no INTEGER NOT NULL REFERENCES boots(no), first INTEGER NOT NULL,
    last INTEGER NOT NULL, first_at_ms INTEGER, last_at_ms INTEGER,
    last_up_ms INTEGER NOT NULL, regs BLOB NOT NULL,
    PRIMARY KEY (boot_no, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE gaps (
    boot_no INTEGER NOT NULL REFERENCES boots(no), first INTEGER NOT NULL,
    last INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('provisional', 'final')),
    reason TEXT NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (boot_no, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE unplaced (
    boot_no INTEGER PRIMARY KEY REFERENCES boots(no), first_row INTEGER NOT NULL
) STRICT;
CREATE TABLE dirty (
    no INTEGER PRIMARY KEY, meter_no INTEGER NOT NULL REFERENCES meters(no),
    from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE dead_letters (
    no INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, topic TEXT NOT NULL,
    reason TEXT NOT NULL, detail TEXT NOT NULL, size INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE TABLE dead_letter_counts (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT;
"""
# Sums are kept instead of means, so that a late reading adds to a closed interval exactly.
# 1-minute rows of all channels lie together (few pages a commit); the coarser ones by channel.
ROLLUP_COLUMNS = """
    n INTEGER NOT NULL, dt_ms INTEGER NOT NULL,
    p_sum REAL NOT NULL, p_dt INTEGER NOT NULL, p_min REAL, p_max REAL,
    q_sum REAL NOT NULL, q_dt INTEGER NOT NULL,
    v_sum REAL NOT NULL, v_dt INTEGER NOT NULL, v_min REAL, v_max REAL,
    i_sum REAL NOT NULL, i_dt INTEGER NOT NULL,
    reg_at_ms INTEGER, wh_in REAL, wh_out REAL, base_in REAL NOT NULL, base_out REAL NOT NULL,
"""
RESOLUTIONS_MS = {"1m": 60_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}
JUDGING = """
CREATE TABLE judged (
    meter_no INTEGER PRIMARY KEY REFERENCES meters(no), row INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, state BLOB NOT NULL
) STRICT;
CREATE TABLE models (
    meter_no INTEGER NOT NULL REFERENCES meters(no), channel TEXT NOT NULL,
    kind TEXT NOT NULL, fitted_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (meter_no, channel, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, meter TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL,
    severity TEXT NOT NULL, state TEXT NOT NULL, opened_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, resolved_ms INTEGER, count INTEGER NOT NULL,
    title TEXT NOT NULL, detail TEXT NOT NULL, evidence TEXT NOT NULL,
    snoozed_until_ms INTEGER, historic INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_open_alert ON alerts (meter, channel, kind) WHERE state != 'resolved';
CREATE INDEX alerts_by_time ON alerts (opened_ms, id);
CREATE TABLE alert_history (
    no INTEGER PRIMARY KEY, alert_id TEXT NOT NULL REFERENCES alerts(id),
    at_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL
) STRICT;
CREATE INDEX history_of_alert ON alert_history (alert_id, no);
CREATE TABLE verdicts (
    no INTEGER PRIMARY KEY, alert_id TEXT NOT NULL REFERENCES alerts(id),
    at_ms INTEGER NOT NULL, who TEXT NOT NULL, right INTEGER NOT NULL, note TEXT NOT NULL
) STRICT;
CREATE TABLE outbox (
    no INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL,
    created_ms INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (kind, key)
) STRICT;
"""
PEOPLE = """
CREATE TABLE users (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password_hash TEXT NOT NULL,
    created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
    no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL,
    what TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


def _run(db: UtilsDatabase, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            db.conn.execute(statement)


@migrations(name="0001_first")
def first(db: UtilsDatabase) -> None:
    """Create every table of the main job."""
    for script in (METERS, READINGS, JUDGING, PEOPLE):
        _run(db, script)
    for name in RESOLUTIONS_MS:
        key = "start_ms, channel_no" if name == "1m" else "channel_no, start_ms"
        _run(
            db,
            f"CREATE TABLE rollup_{name} (channel_no INTEGER NOT NULL, start_ms INTEGER NOT NULL,"
            f"{ROLLUP_COLUMNS} PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;\n",
        )


@migrations(name="0002_api_tokens")
def api_tokens(db: UtilsDatabase) -> None:
    """Keep tokens of scripts: only their hashes, as of sessions."""
    _run(
        db,
        "CREATE TABLE api_tokens (name TEXT PRIMARY KEY, token_hash BLOB NOT NULL UNIQUE,"
        " role TEXT NOT NULL, created_ms INTEGER NOT NULL, created_by TEXT NOT NULL,"
        " expires_ms INTEGER NOT NULL, seen_ms INTEGER) STRICT;\n",
    )


# Later migrations, each in a module of the part that needs it: number and name, what it does.
LATER: tuple[tuple[str, Callable[[sqlite3.Connection], None]], ...] = (
    (schema_care.NAME, schema_care.create),
    (schema_home.NAME, schema_home.create),
    (schema_cloud.NAME, schema_cloud.create),
    (schema_notices.NAME, schema_notices.create),
    (schema_models.NAME, schema_models.create),
    (schema_imports.NAME, schema_imports.create),
)


def _register(name: str, create: Callable[[sqlite3.Connection], None]) -> None:
    @migrations(name=name)
    def apply(db: UtilsDatabase) -> None:
        create(db.conn)


for _name, _create in LATER:
    _register(_name, _create)
KNOWN = frozenset(("0001_first", "0002_api_tokens", *(name for name, _ in LATER)))
# Written to PRAGMA user_version; rises with every migration.
SCHEMA_VERSION = max(int(name[:4]) for name in KNOWN)


def refuse_newer(db: sqlite3.Connection, path: str) -> None:
    """Raise SchemaTooNewError when a newer version of the program wrote this database."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    table = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    applied = (
        {str(row[0]) for row in db.execute("SELECT name FROM _sqlite_migrations")}
        if db.execute(table).fetchone()
        else set()
    )
    if version > SCHEMA_VERSION or applied - KNOWN:
        msg = (
            f"storage.path: {path} was written by a newer version (schema {version}, this program "
            f"knows {SCHEMA_VERSION}); install that version or restore a backup"
        )
        raise SchemaTooNewError(msg)


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring a database to this program's schema, or raise SchemaTooNewError."""
    refuse_newer(db, path)
    migrations.apply(UtilsDatabase(db))
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
