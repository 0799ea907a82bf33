"""Notices and devices, in SQLite."""

import sqlite3
from collections.abc import Mapping, Sequence

from gateway.adapters.store.alerts import COLUMNS, read_alert
from gateway.adapters.store.database import Database
from gateway.domain.alerts import Alert, HistoryEntry
from gateway.domain.errors import BadInputError
from gateway.services.notify.ports import (
    HANDED,
    Device,
    NewNotice,
    News,
    Notice,
    Platform,
    Stage,
    Target,
    Unanswered,
)

ALERT = ", ".join(f"a.{name}" for name in COLUMNS.split(", "))
WIDTH = len(COLUMNS.split(", "))
UPTO = "(SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'notified_upto')"
LONGEST_REASON = 200
DEVICE = "id, user, token, platform, name, language, created_ms, seen_ms"


class SqlNotices:
    """Satisfies `NoticeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def news(self, limit: int) -> list[News]:
        """Return history entries behind the position, oldest first."""
        query = (
            f"SELECT {ALERT}, h.no, h.at_ms, h.who, h.what FROM alert_history h"  # noqa: S608 - names of ours
            f" JOIN alerts a ON a.id = h.alert_id WHERE h.no > ifnull({UPTO}, 0)"
            " ORDER BY h.no LIMIT ?"
        )
        rows = await self._database.read(lambda db: db.execute(query, (limit,)).fetchall())
        return [News(row[WIDTH], read_alert(row), HistoryEntry(*row[WIDTH + 1 :])) for row in rows]

    async def plan(self, notices: Sequence[NewNotice], upto: int | None, at_ms: int) -> None:
        """Keep notices and move the position, in one transaction; a kept one stays as it is."""
        if not notices and upto is None:
            return

        def work(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO notices (alert_id, stage, road, target, tag, state, created_ms)"
                " VALUES (?,?,?,?,?,'waiting',?) ON CONFLICT DO NOTHING",
                [(n.alert_id, n.stage, *n.target, n.tag, at_ms) for n in notices],
            )
            if upto is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('notified_upto', ?)", (str(upto),))

        await self._database.write(work)

    async def waiting(self, limit: int) -> list[Notice]:
        """Return what waits, `limit` of each target, critical alerts first, then oldest first."""
        order = "ORDER BY a.severity != 'critical', n.no"
        return await self._notices(
            f"n.no IN (SELECT no FROM (SELECT n.no, row_number() OVER ("  # noqa: S608 - ours
            f"PARTITION BY n.road, n.target {order}) AS place FROM notices n"
            " JOIN alerts a ON a.id = n.alert_id WHERE n.state = 'waiting')"
            f" WHERE place <= ?) {order}",
            limit,
        )

    async def with_tag(self, target: Target, tag: str) -> list[Notice]:
        """Return what was sent to a target under a tag, with the alerts as they are now."""
        where = "n.tag = ? AND n.road = ? AND n.target = ? AND n.state = 'sent' ORDER BY n.no"
        return await self._notices(where, tag, *target)

    async def _notices(self, where: str, *arguments: object) -> list[Notice]:
        query = (
            f"SELECT {ALERT}, n.no, n.stage, n.road, n.target, n.tag, n.created_ms,"  # noqa: S608 - ours
            f" n.state = 'waiting' AND n.reason = '{HANDED}'"
            f" FROM notices n JOIN alerts a ON a.id = n.alert_id WHERE {where}"
        )
        rows = await self._database.read(lambda db: db.execute(query, arguments).fetchall())
        return [_notice(row) for row in rows]

    async def hand_over(self, nos: Sequence[int]) -> set[int]:
        """Mark what goes to its road now; return which of them wait, as the others must not go."""
        where = f"state = 'waiting' AND no IN ({','.join('?' * len(nos))})"

        def work(db: sqlite3.Connection) -> set[int]:
            found = db.execute(f"SELECT no FROM notices WHERE {where}", nos).fetchall()  # noqa: S608 - ours
            db.execute(
                f"UPDATE notices SET reason = '{HANDED}' WHERE reason != '{HANDED}' AND {where}",  # noqa: S608 - ours
                nos,
            )
            return {no for (no,) in found}

        return await self._database.write(work)

    async def take_back(self, nos: Sequence[int]) -> None:
        """Unmark what was handed over and waits: its road has said that it did not take it."""
        query = "UPDATE notices SET reason = '' WHERE no = ? AND state = 'waiting'"
        rows = [(no,) for no in nos]
        await self._database.write(lambda db: db.executemany(query, rows).rowcount)

    async def drop(self, notice: Notice, reason: str, at_ms: int) -> None:
        """Drop what waits, unless it was handed over since it was read."""
        query = (
            "UPDATE notices SET state = 'dropped', reason = ?, done_ms = ?"
            " WHERE no = ? AND state = 'waiting' AND (reason = ?) = ?"
        )
        said = f"{HANDED}; {reason}" if notice.handed else reason
        values = (said[:LONGEST_REASON], at_ms, notice.no, HANDED, notice.handed)
        await self._database.write(lambda db: db.execute(query, values).rowcount)

    async def finish(self, nos: Sequence[int], state: str, reason: str, at_ms: int) -> None:
        """Mark notices `sent` or `dropped`."""
        query = "UPDATE notices SET state = ?, reason = ?, done_ms = ? WHERE no = ?"
        rows = [(state, reason[:LONGEST_REASON], at_ms, no) for no in nos]
        await self._database.write(lambda db: db.executemany(query, rows).rowcount)

    async def recent_tag(self, alert: Alert, stage: str, since_ms: int) -> str | None:
        """Return the tag under which the first alert of this kind and severity was announced."""
        query = (
            "SELECT n.tag FROM notices n JOIN alerts a ON a.id = n.alert_id"
            " WHERE n.created_ms >= ? AND n.tag = n.alert_id AND n.stage = ? AND a.kind = ?"
            " AND a.severity = ? ORDER BY n.no LIMIT 1"
        )
        arguments = (since_ms, stage, alert.key[2].value, alert.severity.value)
        row = await self._database.read(lambda db: db.execute(query, arguments).fetchone())
        return None if row is None else str(row[0])

    async def told(self, alert_id: str) -> list[tuple[Target, bool]]:
        """Return who heard of an alert, or may have, and whether its message told of it alone."""
        query = (
            "SELECT n.road, n.target, NOT EXISTS (SELECT 1 FROM notices o WHERE o.tag = n.tag AND"
            " o.road = n.road AND o.target = n.target AND o.alert_id != n.alert_id)"
            " FROM notices n WHERE n.alert_id = ? AND (n.state = 'sent' OR n.reason LIKE ? || '%')"
            " GROUP BY n.road, n.target ORDER BY n.road, n.target"
        )
        values = (alert_id, HANDED)
        rows = await self._database.read(lambda db: db.execute(query, values).fetchall())
        return [(Target(road, target), bool(alone)) for road, target, alone in rows]

    async def unacknowledged(self) -> list[Unanswered]:
        """Return open critical alerts, not acknowledged and no old news, that were sent."""
        query = (
            f"SELECT {ALERT}, max(n.tag), max(n.done_ms),"  # noqa: S608 - names of ours
            " (SELECT count(DISTINCT r.stage) FROM notices r WHERE r.alert_id = a.id"
            " AND r.stage LIKE ? || '-%') FROM alerts a JOIN notices n ON n.alert_id = a.id"
            " WHERE a.state = 'open' AND a.severity = 'critical' AND a.historic = 0"
            " AND n.state = 'sent' GROUP BY a.id ORDER BY a.opened_ms, a.id"
        )
        arguments = (Stage.REMINDER.value,)
        rows = await self._database.read(lambda db: db.execute(query, arguments).fetchall())
        return [Unanswered(read_alert(row), *row[WIDTH:]) for row in rows]

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was done before a time."""
        query = "DELETE FROM notices WHERE state != 'waiting' AND created_ms < ?"
        await self._database.write(lambda db: db.execute(query, (at_ms,)).rowcount)

    async def counts(self) -> Mapping[str, int]:
        """Return how many notices there are by state."""
        query = "SELECT state, count(*) FROM notices GROUP BY state"
        return dict(await self._database.read(lambda db: db.execute(query).fetchall()))


class SqlDevices:
    """Satisfies `DeviceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_device(self, device: Device, most: int) -> Device:
        """Keep a device, by its token; of more than `most` of one person the stalest goes."""
        query = (
            f"INSERT INTO devices ({DEVICE}) VALUES (?,?,?,?,?,?,?,?)"  # noqa: S608 - names of ours
            " ON CONFLICT (token) DO UPDATE SET user = excluded.user,"
            " platform = excluded.platform, name = excluded.name,"
            f" language = excluded.language, seen_ms = excluded.seen_ms RETURNING {DEVICE}"
        )

        def work(db: sqlite3.Connection) -> Device:
            if db.execute("SELECT 1 FROM users WHERE name = ?", (device.user,)).fetchone() is None:
                msg = (
                    f"{device.user}: devices belong to people with an account here; see:"
                    " wattwarden users add"
                )
                raise BadInputError(msg)
            row = db.execute(query, _row(device)).fetchone()
            db.execute(
                "DELETE FROM devices WHERE user = ? AND id NOT IN (SELECT id FROM devices"
                " WHERE user = ? ORDER BY seen_ms DESC, id LIMIT ?)",
                (device.user, device.user, most),
            )
            return _device(row)

        return await self._database.write(work)

    async def list_devices(self, user: str | None = None) -> list[Device]:
        """Return devices, of one person or of all, oldest first."""
        where = "" if user is None else "WHERE user = ?"
        query = f"SELECT {DEVICE} FROM devices {where} ORDER BY created_ms, id"  # noqa: S608 - ours
        arguments = () if user is None else (user,)
        rows = await self._database.read(lambda db: db.execute(query, arguments).fetchall())
        return [_device(row) for row in rows]

    async def remove_device(self, device_id: str, user: str | None = None) -> bool:
        """Remove a device, of a person or of anybody; return False for an unknown one."""
        query = "DELETE FROM devices WHERE id = ? AND user = ifnull(?, user)"
        gone = await self._database.write(lambda db: db.execute(query, (device_id, user)).rowcount)
        return gone > 0


def _notice(row: tuple[object, ...]) -> Notice:
    no, stage, road, target, tag, created_ms, handed = row[WIDTH:]
    return Notice(
        int(str(no)), read_alert(row), str(stage), Target(str(road), str(target)), str(tag),
        int(str(created_ms)), bool(handed),
    )  # fmt: skip


def _row(device: Device) -> tuple[object, ...]:
    return (
        device.id, device.user, device.token, device.platform.value, device.name,
        device.language, device.created_ms, device.seen_ms,
    )  # fmt: skip


def _device(row: tuple[str, str, str, str, str, str, int, int]) -> Device:
    device_id, user, token, platform, *rest = row
    return Device(device_id, user, token, Platform(platform), *rest)  # type: ignore[arg-type] # the rest is in its order
