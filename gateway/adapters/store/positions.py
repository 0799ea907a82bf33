"""How far the judging of stored readings has come."""

import sqlite3


def read_looked_at(db: sqlite3.Connection) -> int:
    """Return the row up to which every reading has been judged and rolled up."""
    row = db.execute("SELECT value FROM meta WHERE key = 'looked_at'").fetchone()
    return 0 if row is None else int(row[0])
