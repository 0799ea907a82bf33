"""What people said of alerts, for training: the newest verdict on each, nobody's name in it."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

QUERY = (
    "SELECT a.meter, a.channel, a.kind, a.opened_ms, coalesce(a.resolved_ms, a.updated_ms),"
    " v.right, v.note FROM alerts a JOIN verdicts v ON v.alert_id = a.id"
    " WHERE a.meter != '' AND v.no = (SELECT max(no) FROM verdicts WHERE alert_id = a.id)"
    " ORDER BY a.opened_ms, a.id"
)


class LabelRow(NamedTuple):
    """One verdict; `channel` "" is the whole meter. An alert still open ends where it stands."""

    meter: str
    channel: str
    kind: str
    from_ms: int
    to_ms: int
    right: bool
    note: str


def select_labels(db: sqlite3.Connection) -> Iterator[LabelRow]:
    """Yield what `tinymodels.train.labels` reads, in time order."""
    for meter, channel, kind, from_ms, to_ms, right, note in db.execute(QUERY):
        end_ms = max(to_ms, from_ms)
        yield LabelRow(meter, channel, kind, from_ms, end_ms, bool(right), note)
