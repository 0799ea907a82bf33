"""What the doctor reads of meters: their state, versions, and the quarter-hours of their clamps."""

import json
import sqlite3
from datetime import UTC, datetime, tzinfo

from gateway.adapters.store.rows import COLUMNS, stored
from gateway.domain.meters import Role
from gateway.services.clamp_facts import ClampFacts, Quarter

WEEK_MS = 7 * 86_400_000
CLIP = "clip"
NEWEST_ROWS = 20_000  # of all meters; a minute or so on a Pi for none more


def states(db: sqlite3.Connection) -> dict[int, dict[str, object]]:
    """Return what each meter last said of itself, by its number; {} for what cannot be read."""
    found: dict[int, dict[str, object]] = {}
    for number, text in db.execute("SELECT no, state FROM meters WHERE state IS NOT NULL"):
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            found[number] = value
    return found


def number(state: dict[str, object], key: str) -> float | None:
    """Return a number a meter told, None where it told none."""
    value = state.get(key)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and isinstance(value, int | float) else None


def clamps(db: sqlite3.Connection, meter_no: int, *, now_ms: int, zone: tzinfo) -> list[ClampFacts]:
    """Return the newest week of a meter's channels as quarter-hours."""
    query = "SELECT no, name, role FROM channels WHERE meter_no = ? ORDER BY name"
    return [
        ClampFacts(name, Role(role), _quarters(db, channel_no, now_ms, zone))
        for channel_no, name, role in db.execute(query, (meter_no,)).fetchall()
    ]


def _quarters(db: sqlite3.Connection, channel_no: int, now_ms: int, zone: tzinfo) -> list[Quarter]:
    rows = db.execute(
        "SELECT start_ms, p_sum, p_dt, q_sum, q_dt, v_sum, v_dt, i_sum, i_dt FROM rollup_15m"
        " WHERE channel_no = ? AND start_ms >= ? AND p_dt > 0 AND v_dt > 0 AND i_dt > 0"
        " ORDER BY start_ms",
        (channel_no, now_ms - WEEK_MS),
    )
    return [
        Quarter(
            start_ms,
            datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone).hour,
            p_sum / p_dt,
            q_sum / q_dt if q_dt else None,
            v_sum / v_dt,
            i_sum / i_dt,
        )
        for start_ms, p_sum, p_dt, q_sum, q_dt, v_sum, v_dt, i_sum, i_dt in rows
    ]


def clipped_windows(db: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """Return (looked at, clipped) of the newest readings, by the meter's number."""
    owners = dict(db.execute("SELECT no, meter_no FROM boots"))
    highest = db.execute("SELECT max(row) FROM readings").fetchone()[0] or 0
    found: dict[int, tuple[int, int]] = {}
    rows = db.execute(
        f"SELECT {COLUMNS} FROM readings WHERE row > ?",  # noqa: S608 - column names of ours
        (highest - NEWEST_ROWS,),
    )
    for row in rows:
        meter_no = owners.get(row[1])
        if meter_no is not None:
            windows, clipped = found.get(meter_no, (0, 0))
            found[meter_no] = (windows + 1, clipped + (CLIP in stored(row, "", 0).flags))
    return found


def wanted_versions(db: sqlite3.Connection, meter: str) -> dict[str, int]:
    """Return the version of each kind of bundle that the meter is to load."""
    query = "SELECT kind, version FROM desired WHERE meter IN ('*', ?) ORDER BY meter"
    return {str(kind): int(version) for kind, version in db.execute(query, (meter,))}


def refused_versions(db: sqlite3.Connection, meter: str) -> dict[str, str]:
    """Return why the meter did not take the version it is to load, by kind."""
    rows = db.execute(
        "SELECT rollouts.kind, why, detail FROM rollouts JOIN desired"
        " ON desired.kind = rollouts.kind AND desired.version = rollouts.version"
        " AND desired.meter IN ('*', rollouts.meter)"
        " WHERE rollouts.meter = ? AND state = 'refused'",
        (meter,),
    )
    return {str(kind): f"{why} {detail}".strip() for kind, why, detail in rows}


def is_nominal(db: sqlite3.Connection, meter: str, calibration: float | None) -> bool:
    """Tell whether a meter's calibration is nominal parts, for which nothing was measured."""
    query = (
        "SELECT 1 FROM calibrations WHERE meter = ? AND version = ?"
        " AND json_array_length(body, '$.loads') = 0"
    )
    return db.execute(query, (meter, calibration)).fetchone() is not None
