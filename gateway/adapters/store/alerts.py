"""Alerts, their history and the outbox: read at start, written with what caused them."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gateway.adapters.store.schema_cloud import NOW_MS, wanted_kinds
from gateway.domain.alerts import Alert, AlertKind, AlertState, HistoryEntry, Severity
from gateway.pipeline.alert_book import SYSTEM, Change
from gateway.services.cloud_feed import DueKind

COLUMNS = (
    "id, meter, channel, kind, severity, state, opened_ms, updated_ms, resolved_ms, count,"
    " title, detail, evidence, snoozed_until_ms, historic, muted"
)
RENEWAL = "renewal"  # kind in the outbox of an alert that lasts on: by the machine's own clock
UPSERT = (
    f"INSERT INTO alerts ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - names of ours
    " ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state,"
    " updated_ms = excluded.updated_ms, resolved_ms = excluded.resolved_ms,"
    " count = excluded.count, title = excluded.title, detail = excluded.detail,"
    " evidence = excluded.evidence, snoozed_until_ms = excluded.snoozed_until_ms,"
    " muted = excluded.muted"
)


def write_changes(db: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Write alerts, their history, verdicts, and what the cloud and the phones must learn."""
    for change in changes:
        alert = change.alert
        db.execute(UPSERT, _row(alert))
        db.executemany(
            "INSERT INTO alert_history (alert_id, at_ms, who, what) VALUES (?,?,?,?)",
            [(alert.id, entry.at_ms, entry.who, entry.what) for entry in change.history],
        )
        _post(db, alert, news=bool(change.history))


def _post(db: sqlite3.Connection, alert: Alert, *, news: bool) -> None:
    """Have the cloud learn of an alert: at once where its history grew, else some time.

    A renewal of a lasting condition joins the news that wait, and news take a renewal along.
    """
    body = outbox_body(alert)
    if news:
        post_news(db, alert.id, alert.updated_ms, body)
        return
    joined = "UPDATE outbox SET body = ? WHERE kind = 'alert' AND key = ?"
    if db.execute(joined, (body, alert.id)).rowcount == 0:
        db.execute(
            f"INSERT INTO outbox (kind, key, created_ms, body) VALUES ('{RENEWAL}', ?, {NOW_MS}, ?)"  # noqa: S608 - ours
            " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            (alert.id, body),
        )


def post_news(db: sqlite3.Connection, alert_id: str, at_ms: int, body: str) -> None:
    """Have the cloud learn of an alert at once."""
    db.execute(
        "INSERT INTO outbox (kind, key, created_ms, body) VALUES ('alert', ?, ?, ?)"
        " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
        (alert_id, at_ms, body),
    )
    db.execute("DELETE FROM outbox WHERE kind = ? AND key = ?", (RENEWAL, alert_id))


def take_back(db: sqlite3.Connection, alert_id: str) -> None:
    """Have the cloud learn that an alert's import is undone: what stands there is never deleted."""
    waited = db.execute("DELETE FROM outbox WHERE key = ?", (alert_id,)).rowcount
    if set(wanted_kinds(db)) <= {DueKind.HOUR}:  # there is no cloud
        return
    for alert in load_alerts(db, "WHERE id = ?", (alert_id,)):
        if waited or alert.state is not AlertState.RESOLVED:
            now_ms = int(db.execute(f"SELECT {NOW_MS}").fetchone()[0])
            end_ms = max(now_ms, alert.updated_ms)
            over = AlertState.RESOLVED
            ended = replace(alert, state=over, updated_ms=end_ms, resolved_ms=end_ms)
            post_news(db, alert_id, now_ms, outbox_body(ended))


def taken_back(body: str) -> tuple[Alert, list[HistoryEntry]]:
    """Return an alert that only the outbox holds any more, and how it ended."""
    told = json.loads(body)
    key = (told["meter"] or "", told["channel"] or "", AlertKind(told["kind"]))
    alert = Alert(
        told["id"], key, Severity(told["severity"]), AlertState(told["state"]), told["opened"],
        told["updated"], told["resolved"], told["count"], told["title"], told["detail"],
        told["evidence"], historic=told["historic"], muted=told["muted"],
    )  # fmt: skip
    return alert, [HistoryEntry(alert.updated_ms, SYSTEM, "resolved: the import was undone")]


def _row(alert: Alert) -> tuple[Any, ...]:
    meter, channel, kind = alert.key
    return (
        alert.id, meter, channel, kind.value, alert.severity.value, alert.state.value,
        alert.opened_ms, alert.updated_ms, alert.resolved_ms, alert.count, alert.title,
        alert.detail, json.dumps(alert.evidence), alert.snoozed_until_ms, int(alert.historic),
        int(alert.muted),
    )  # fmt: skip


def outbox_body(alert: Alert) -> str:
    """Return the alert as the outbox keeps it, in the words of the contract."""
    meter, channel, kind = alert.key
    return json.dumps(
        {
            "id": alert.id, "meter": meter or None, "channel": channel or None,
            "kind": kind.value, "severity": alert.severity.value, "state": alert.state.value,
            "opened": alert.opened_ms, "updated": alert.updated_ms,
            "resolved": alert.resolved_ms, "count": alert.count, "title": alert.title,
            "detail": alert.detail, "evidence": alert.evidence, "historic": alert.historic,
            "muted": alert.muted,
        },
        separators=(",", ":"),
    )  # fmt: skip


def load_alerts(
    db: sqlite3.Connection, where: str = "", arguments: tuple[object, ...] = ()
) -> list[Alert]:
    """Return alerts, oldest first; `where` is a clause of ours."""
    query = f"SELECT {COLUMNS} FROM alerts {where} ORDER BY opened_ms, id"  # noqa: S608
    return [read_alert(row) for row in db.execute(query, arguments)]


def read_alert(row: tuple[Any, ...]) -> Alert:
    """Return a row, in the order of COLUMNS, as an alert."""
    return Alert(
        id=row[0],
        key=(row[1], row[2], AlertKind(row[3])),
        severity=Severity(row[4]),
        state=AlertState(row[5]),
        opened_ms=row[6],
        updated_ms=row[7],
        resolved_ms=row[8],
        count=row[9],
        title=row[10],
        detail=row[11],
        evidence=json.loads(row[12]),
        snoozed_until_ms=row[13],
        historic=bool(row[14]),
        muted=bool(row[15]),
    )
