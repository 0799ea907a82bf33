"""What the doctor reads in the database, on one read-only snapshot."""

import sqlite3
import time
from datetime import UTC, tzinfo
from pathlib import Path

from gateway.adapters.store import checkup_meters
from gateway.adapters.store.capacity import daily_bytes, read_space
from gateway.adapters.store.cloud_due import read_backlog
from gateway.adapters.store.inventory import newest_reading
from gateway.adapters.store.readonly import snapshot
from gateway.adapters.store.schema import SCHEMA_VERSION
from gateway.adapters.store.views import count_unjudged
from gateway.domain.readings import Mark, Stored
from gateway.services.cloud_feed import Backlog
from gateway.services.doctor_facts import DatabaseFacts, MeterFacts

QUICK_CHECK_S = 20.0
OPCODES_A_LOOK = 20_000
NOT_KEPT = Mark.ANCHORED | Mark.NEIGHBOURED


def read_facts(
    path: Path, *, max_bytes: int, now_ms: int, full: bool, zone: tzinfo = UTC
) -> DatabaseFacts:
    """Read everything the doctor asks; `max_bytes` is what the database may take.

    `full` runs integrity_check to its end, else quick_check for 20 s at most. Raises as
    `snapshot`.
    """
    damage = _damage(path, full=full)
    with snapshot(path) as db:
        growth = daily_bytes(db, now_ms)
        room = max(0, read_space(db, path).room(max_bytes))
        last_dead = db.execute("SELECT max(received_ms) FROM dead_letters").fetchone()[0]
        schema = int(db.execute("PRAGMA user_version").fetchone()[0])
        # A database the daemon has not brought up to date yet lacks the newer tables.
        current = schema >= SCHEMA_VERSION
        backlog = read_backlog(db) if current else Backlog({}, 0)
        return DatabaseFacts(
            schema=schema,
            damage=damage,
            full_check=full,
            marked_open=db.execute("SELECT 1 FROM meta WHERE key = 'open'").fetchone() is not None,
            mode=path.stat().st_mode,
            offline_days=None if not growth else room / growth,
            unjudged=count_unjudged(db),
            unplaced_boots=int(db.execute("SELECT count(*) FROM unplaced").fetchone()[0]),
            dead=dict(db.execute("SELECT reason, count FROM dead_letter_counts")),
            last_dead_ms=last_dead,
            waiting=sum(backlog.waiting.values()),
            waiting_since_ms=backlog.oldest_ms or None,
            meters=_Meters(db, now_ms, zone, current=current).facts(),
        )


def _damage(path: Path, *, full: bool) -> str | None:
    """Return what SQLite finds wrong, "" for nothing, None when the time was over."""
    deadline_s = time.monotonic() + QUICK_CHECK_S
    with snapshot(path) as db:
        if not full:
            db.set_progress_handler(lambda: time.monotonic() > deadline_s, OPCODES_A_LOOK)
        try:
            query = "PRAGMA integrity_check(1)" if full else "PRAGMA quick_check(1)"
            found = str(db.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s and not full:
                return None
            raise
        except sqlite3.DatabaseError as error:
            return str(error)
    return "" if found == "ok" else found.replace("\n", " ")[:200]


class _Meters:
    """Reads the facts of every meter on one snapshot."""

    def __init__(self, db: sqlite3.Connection, now_ms: int, zone: tzinfo, *, current: bool) -> None:
        self._db = db
        self._now_ms = now_ms
        self._zone = zone
        self._current = current  # whether the schema has the tables of bundles
        self._states = checkup_meters.states(db)
        self._clipped = checkup_meters.clipped_windows(db)

    def facts(self) -> list[MeterFacts]:
        query = "SELECT no, id, recorded, state_ms FROM meters WHERE removed_ms IS NULL ORDER BY id"
        return [self._meter(*row) for row in self._db.execute(query).fetchall()]

    def _meter(self, no: int, meter: str, recorded: int, state_ms: int | None) -> MeterFacts:
        db = self._db
        windows: dict[str, int] = dict(
            db.execute(
                "SELECT state, sum(last - first + 1) FROM gaps JOIN boots ON no = boot_no"
                " WHERE meter_no = ? GROUP BY state",
                (no,),
            )
        )
        last = newest_reading(db, meter)
        heard = [at for at in (state_ms, last.received_ms if last else None) if at is not None]
        state = self._states.get(no, {})
        calibration, model = (checkup_meters.number(state, key) for key in ("cal", "model"))
        looked_at, clipped = self._clipped.get(no, (0, 0))
        return MeterFacts(
            meter,
            bool(recorded),
            max(heard, default=None),
            provisional=windows.get("provisional", 0),
            final=windows.get("final", 0),
            kept_time=last is None or not last.marks & NOT_KEPT,
            skew_ms=_skew_ms(last),
            rssi_dbm=checkup_meters.number(state, "rssi"),
            firmware=str(state.get("fw") or ""),
            calibration=None if calibration is None else int(calibration),
            nominal=self._current and checkup_meters.is_nominal(db, meter, calibration),
            model=None if model is None else int(model),
            clamps=checkup_meters.clamps(db, no, now_ms=self._now_ms, zone=self._zone),
            windows=looked_at,
            clipped=clipped,
            wanted=checkup_meters.wanted_versions(db, meter) if self._current else {},
            refused=checkup_meters.refused_versions(db, meter) if self._current else {},
        )


def _skew_ms(last: Stored | None) -> int | None:
    return None if last is None or last.t_ms is None else last.t_ms - last.received_ms
