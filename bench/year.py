"""A year of one meter, written as the gateway would have left it: rollups, and raw readings.

The intervals are made from minute means and not from 31.5 million readings, which would take
the bench most of an hour; rows, their widths and where they lie are the same.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from gateway.adapters.store import rollups, segments
from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.intake import READING_COLUMNS
from gateway.adapters.store.many import insert_many
from gateway.adapters.store.schema import SEGMENT_BITS
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Reading
from gateway.pipeline.judge import MeterJudge
from gateway.pipeline.registers import Register
from gateway.pipeline.rollups import RESOLUTIONS, Bucket, Calendar
from gateway.services.effects import RollupPart
from gateway.services.planner import pack
from gateway.services.tracks import Track
from gateway.settings import DetectSettings

METER, CHANNEL, BOOT = "year", "grid", 77
MINUTE_MS, DAY_MS = 60_000, 86_400_000
WINDOWS_A_MINUTE = 60
BATCH = 20_000
ZONE = ZoneInfo("Europe/Lisbon")
_encode = msgspec.msgpack.Encoder().encode
Row = tuple[object, ...]


def make_year(path: Path, end_ms: int, raw_days: int, *, days: int = 365) -> None:
    """Write a database whose only meter has measured once a second until `end_ms`."""
    start_ms = end_ms - days * DAY_MS
    with opened(path) as database:
        database.write_now(lambda db: _register(db, start_ms, end_ms))
        _write_rollups(database, start_ms, days)
        rows = raw_days * 86_400
        for batch in _batches(_readings(end_ms - raw_days * DAY_MS, start_ms, rows)):
            _insert(database, batch)
        database.write_now(lambda db: _finish(db, end_ms - raw_days * DAY_MS, end_ms, rows))


def _insert(database: Database, batch: list[Row]) -> None:
    database.write_now(lambda db: insert_many(db, "readings", READING_COLUMNS, batch))


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _register(db: sqlite3.Connection, start_ms: int, end_ms: int) -> None:
    db.execute("INSERT INTO meters (no, id, registered_ms) VALUES (1, ?, ?)", (METER, start_ms))
    db.execute("INSERT INTO channels VALUES (1, 1, ?, 'grid', 30.0)", (CHANNEL,))
    db.execute("INSERT INTO boots VALUES (1, 1, ?, 1, ?, NULL, NULL, 0)", (BOOT, start_ms))
    windows = (end_ms - start_ms) // 1000
    registers = {CHANNEL: (Register(4e6), Register(0.0))}
    run = (1, 0, windows - 1, start_ms, end_ms, windows * 1000, _encode(registers))
    db.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?)", run)


def _minutes(start_ms: int, days: int) -> Iterator[Bucket]:
    random = np.random.default_rng(7)
    count = days * 1440
    power = (450 + 250 * np.sin(np.arange(count) / 229)).tolist()
    spread = random.gamma(2.0, 60.0, (count, 2)).tolist()
    volts = (230 + random.normal(0, 2, count)).tolist()
    wh_in = 0.0
    for k, (power_w, (low, high), voltage_v) in enumerate(zip(power, spread, volts, strict=True)):
        wh_in += power_w / 60
        dt_ms = MINUTE_MS
        yield Bucket(
            start_ms + k * MINUTE_MS, WINDOWS_A_MINUTE, dt_ms,
            power_w * dt_ms, dt_ms, power_w - low, power_w + high, -0.14 * power_w * dt_ms, dt_ms,
            voltage_v * dt_ms, dt_ms, voltage_v - 0.7, voltage_v + 0.9,
            power_w / voltage_v * dt_ms, dt_ms, start_ms + (k + 1) * MINUTE_MS, wh_in, 0.0,
        )  # fmt: skip


def _write_rollups(database: Database, start_ms: int, days: int) -> None:
    calendar = Calendar(ZONE)
    coarse: dict[tuple[str, int], Bucket] = {}

    def parts() -> Iterator[RollupPart]:
        for minute in _minutes(start_ms, days):
            for resolution in RESOLUTIONS[1:]:
                begin_ms = calendar.start_of(resolution, minute.start_ms)
                coarse.setdefault((resolution, begin_ms), Bucket(begin_ms)).merge(minute)
            yield RollupPart(1, "1m", minute)

    _write_parts(database, parts())
    _write_parts(database, (RollupPart(1, name, bucket) for (name, _), bucket in coarse.items()))


def _write_parts(database: Database, parts: Iterable[RollupPart]) -> None:
    remaining = iter(parts)
    while batch := list(islice(remaining, BATCH)):
        _add(database, batch)


def _add(database: Database, batch: list[RollupPart]) -> None:
    database.write_now(lambda db: rollups.add_parts(db, batch))


def _readings(first_ms: int, boot_ms: int, count: int) -> Iterator[Row]:
    random = np.random.default_rng(8)
    powers = np.round(450 + random.normal(0, 90, 86_400), 1).tolist()
    volts = np.round(230 + random.normal(0, 1, 86_400), 2).tolist()
    wh_in = 3.9e6
    for k in range(count):
        power_w, voltage_v = powers[k % 86_400], volts[k % 86_400]
        wh_in = round(wh_in + power_w / 3600, 4)
        at_ms = first_ms + (k + 1) * 1000
        current_a = round(abs(power_w) / voltage_v + 0.01, 3)
        channel = Channel(current_a, power_w, wh_in, 0.0, q=round(-0.14 * power_w, 1), z=1.2)
        seq, up = (at_ms - boot_ms) // 1000 - 1, at_ms - boot_ms
        reading = Reading(BOOT, seq, up, at_ms, 1000, voltage_v, 49.98, {CHANNEL: channel})
        yield (k + 1, 1, seq, 1, up, at_ms, at_ms, at_ms + 40, 1000, 0, pack(reading))


def _finish(db: sqlite3.Connection, retired_ms: int, end_ms: int, rows: int) -> None:
    """Close the segments, and leave nothing to judge."""
    for segment in range((rows + 1) >> SEGMENT_BITS):
        segments.summarise(db, segment)
    info = MeterInfo(METER, channels={CHANNEL: ChannelInfo(CHANNEL, Role.GRID, 30.0)})
    track = Track(1, info, MeterJudge(info, DetectSettings(), ZONE), Calendar(ZONE))
    track.row, track.at_ms = rows, end_ms
    db.execute("INSERT INTO judged VALUES (1, ?, ?, ?)", (rows, end_ms, track.snapshot()))
    for key, value in (("looked_at", rows), ("retired_until_ms:1", retired_ms)):
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, str(value)))
