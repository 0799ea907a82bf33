"""Read models in SQL: meters, alerts and the store's own state, for people."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.adapters.store.alerts import COLUMNS, read_alert
from gateway.adapters.store.bundles import select_progress
from gateway.adapters.store.capacity import daily_bytes, read_space
from gateway.adapters.store.cloud_due import read_backlog
from gateway.adapters.store.database import Database
from gateway.domain.alerts import HistoryEntry, Severity
from gateway.domain.errors import NotFoundError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Stored
from gateway.services.accounts import wall_ms
from gateway.services.views import (
    LONGEST_HISTORY,
    AlertFilter,
    AlertPage,
    AlertView,
    Diagnostics,
    DiskView,
    MeterPage,
    MeterView,
    ModelView,
    StatusView,
    is_online,
    read_cursor,
    write_cursor,
)

Latest = Callable[[str], Stored | None]  # the newest reading of a meter, from memory
MOST_MODELS = 500
SELECT_ALERTS = f"SELECT {COLUMNS} FROM alerts"  # noqa: S608 - constants of ours
SELECT_METERS = (
    "SELECT no, id, recorded, label, registered_ms, online, state_ms, state FROM meters"
    " WHERE removed_ms IS NULL"
)


class SqlViews:
    """Satisfies `Views` on the gateway's database."""

    def __init__(
        self,
        database: Database,
        *,
        max_bytes: int,
        latest: Latest,
        unjudged: Callable[[], int] | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._latest = latest
        self._unjudged = unjudged  # the running judge knows; on disk its position lags
        self._now_ms = now_ms

    async def list_meters(self, cursor: str | None, limit: int) -> MeterPage:
        """Return registered meters by id; the cursor is the last id seen."""
        found = await self._database.read(lambda db: select_meters(db, cursor or "", limit + 1))
        items = [self._with_last(view) for view in found[:limit]]
        return MeterPage(items, items[-1].info.id if len(found) > limit else None)

    async def get_meter(self, meter: str) -> MeterView:
        """Return one meter; NotFoundError when unknown or removed."""
        found = await self._database.read(lambda db: select_meter(db, meter))
        if found is None:
            msg = f"no meter {meter[:40]!r}"
            raise NotFoundError(msg)
        return self._with_last(found)

    async def list_alerts(self, which: AlertFilter, cursor: str | None, limit: int) -> AlertPage:
        """Return alerts, newest first; BadInputError for a cursor that is none."""
        after = read_cursor(cursor) if cursor else None
        found = await self._database.read(lambda db: select_alerts(db, which, after, limit + 1))
        items = found[:limit]
        if len(found) <= limit:
            return AlertPage(items)
        last = items[-1].alert
        return AlertPage(items, write_cursor(last.opened_ms, last.id))

    async def get_alert(self, alert_id: str) -> AlertView:
        """Return one alert; NotFoundError when unknown."""
        found = await self._database.read(lambda db: select_alert(db, alert_id))
        if found is None:
            msg = f"no alert {alert_id[:80]!r}"
            raise NotFoundError(msg)
        return found

    async def status(self) -> StatusView:
        """Return the state of the store."""
        return await self._database.read(self._status)

    def _status(self, db: sqlite3.Connection) -> StatusView:
        growth = daily_bytes(db, self._now_ms())
        room = max(0, read_space(db, self._database.path).room(self._max_bytes))
        return StatusView(
            judge_backlog=count_unjudged(db) if self._unjudged is None else self._unjudged(),
            cloud_backlog=sum(read_backlog(db).waiting.values()),
            offline_days=None if growth is None else room / growth,
            disk=self._disk(),
            dead_letters=dict(
                db.execute("SELECT reason, count FROM dead_letter_counts ORDER BY reason")
            ),
            open_alerts=count_open_alerts(db),
            models=[
                ModelView(*row)
                for row in db.execute(
                    "SELECT id, channel, kind, fitted_ms FROM models"
                    " JOIN meters ON no = meter_no ORDER BY id, channel, kind LIMIT ?",
                    (MOST_MODELS,),
                )
            ],
        )

    def _disk(self) -> DiskView:
        path = self._database.path
        files = [path, path.with_name(path.name + "-wal")]
        used = sum(file.stat().st_size for file in files if file.exists())
        return DiskView(used, self._max_bytes, shutil.disk_usage(path.parent).free)

    def _with_last(self, view: MeterView) -> MeterView:
        known = replace(view, last=self._latest(view.info.id))
        return replace(known, online=is_online(known, self._now_ms()))


def select_meters(db: sqlite3.Connection, after: str, limit: int) -> list[MeterView]:
    """Return registered meters with ids behind `after`."""
    query = f"{SELECT_METERS} AND id > ? ORDER BY id LIMIT ?"
    return [_meter(db, row) for row in db.execute(query, (after, limit)).fetchall()]


def select_meter(db: sqlite3.Connection, meter: str) -> MeterView | None:
    """Return one registered meter."""
    row = db.execute(f"{SELECT_METERS} AND id = ?", (meter,)).fetchone()
    return None if row is None else _meter(db, row)


def select_alerts(
    db: sqlite3.Connection, which: AlertFilter, after: tuple[int, str] | None, limit: int
) -> list[AlertView]:
    """Return alerts by opening time, newest first, that lie behind `after`."""
    clauses: list[str] = []
    values: list[str | int] = []
    for column, wanted in (
        ("state", which.state),
        ("severity", which.severity),
        ("meter", which.meter),
    ):
        if wanted is not None:
            clauses.append(f"{column} = ?")
            values.append(str(wanted))
    if which.muted is not None:
        clauses.append("muted = ?")
        values.append(int(which.muted))
    if after is not None:
        clauses.append("(opened_ms, id) < (?, ?)")
        values.extend(after)
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    query = f"{SELECT_ALERTS}{where} ORDER BY opened_ms DESC, id DESC LIMIT ?"
    return [_alert(db, row) for row in db.execute(query, (*values, limit)).fetchall()]


def select_alert(db: sqlite3.Connection, alert_id: str) -> AlertView | None:
    """Return one alert."""
    row = db.execute(f"{SELECT_ALERTS} WHERE id = ?", (alert_id,)).fetchone()
    return None if row is None else _alert(db, row)


def count_open_alerts(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many alerts are not resolved, for every severity."""
    query = "SELECT severity, count(*) FROM alerts WHERE state != 'resolved' GROUP BY severity"
    return {severity.value: 0 for severity in Severity} | dict(db.execute(query))


def count_unjudged(db: sqlite3.Connection) -> int:
    """Return how many committed readings lie behind the newest judged one.

    Readings are judged in the order of their commits, so the newest position is the
    gateway's; the difference of row numbers bounds the count without reading the rows.
    """
    newest = db.execute("SELECT coalesce(max(row), 0) FROM readings").fetchone()[0]
    judged = db.execute("SELECT coalesce(max(row), 0) FROM judged").fetchone()[0]
    return max(0, int(newest) - int(judged))


def _meter(
    db: sqlite3.Connection,
    row: tuple[int, str, int, str, int, int, int | None, str | None],
) -> MeterView:
    number, meter, recorded, label, registered_ms, online, state_ms, state = row
    query = "SELECT name, role, rating_a FROM channels WHERE meter_no = ? ORDER BY no"
    channels = {
        name: ChannelInfo(name, Role(role), rating_a)
        for name, role, rating_a in db.execute(query, (number,))
    }
    said = json.loads(state) if state else {}
    said = said if isinstance(said, dict) else {}
    return MeterView(
        MeterInfo(meter, bool(recorded), label, registered_ms, channels),
        online=bool(online),
        state_ms=state_ms,
        fw=said["fw"] if isinstance(said.get("fw"), str) else None,
        model=said["model"] if isinstance(said.get("model"), int) else None,
        cal=said["cal"] if isinstance(said.get("cal"), int) else None,
        rollouts=tuple(select_progress(db, meter)),
        diagnostics=_diagnostics(said),
    )


def _diagnostics(said: Mapping[str, object]) -> Diagnostics | None:
    """Return what a `state` tells of the meter; a last will tells nothing."""
    told = Diagnostics(
        # 0 dBm is no radio at all: a simulated or wired meter.
        rssi_dbm=_whole(said, "rssi") or None,
        heap_bytes=_whole(said, "heap") or None,
        backlog=_whole(said, "backlog"),
        up_ms=_whole(said, "up"),
        starts=_whole(said, "bootn"),
    )
    return None if told == Diagnostics() else told


def _whole(said: Mapping[str, object], name: str) -> int | None:
    """Return a whole number that a browser can hold, None where there is none."""
    value = said.get(name)
    return value if type(value) is int and abs(value) < 1 << 53 else None


def _alert(db: sqlite3.Connection, row: tuple[Any, ...]) -> AlertView:
    alert = read_alert(row)
    query = "SELECT at_ms, who, what FROM alert_history WHERE alert_id = ? ORDER BY no DESC LIMIT ?"
    newest = [HistoryEntry(*entry) for entry in db.execute(query, (alert.id, LONGEST_HISTORY))]
    return AlertView(alert, newest[::-1])
