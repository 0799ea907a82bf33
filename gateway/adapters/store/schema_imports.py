"""Migration 0010: where the alerts of each import end, so that undoing it leaves later ones."""

import json
import sqlite3

NAME = "0010_import_alerts"
NTH_ALERT = "SELECT rowid FROM alerts WHERE meter = ? AND rowid > ? ORDER BY rowid LIMIT 1 OFFSET ?"


def create(db: sqlite3.Connection) -> None:
    """Note it in every import that has ended: so many alerts as it counted, from its mark on."""
    query = "SELECT no, body FROM imports WHERE state IN ('done', 'failed')"
    for no, text in db.execute(query).fetchall():
        job = json.loads(text)
        if job.get("choice") is None:
            continue
        before, count = job["alerts_before"], job["alerts"]
        last = None
        if count:
            values = (job["choice"]["meter"], before, count - 1)
            last = db.execute(NTH_ALERT, values).fetchone()
        if last is not None or not count:
            job["alerts_after"] = before if last is None else last[0]
            db.execute("UPDATE imports SET body = ? WHERE no = ?", (json.dumps(job), no))
