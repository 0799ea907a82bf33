"""Days of several meters as a gateway would have stored them while it was cut off.

Rollups are made from minute means and raw readings from a pool of packed ones: what is read and
sent has the right number of rows and bytes, and is made in minutes instead of hours.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from gateway.adapters.store import rollups, segments
from gateway.adapters.store.database import opened
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

MINUTE_MS, DAY_MS = 60_000, 86_400_000
POOL = 2000
BATCH = 20_000
ZONE = ZoneInfo("UTC")
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True)
class Outage:
    """`meters` at one reading a second for `days` before `end_ms`, a whole UTC day."""

    meters: int
    days: int
    end_ms: int
    channels: tuple[str, ...] = ("grid",)
    raw: bool = True

    @property
    def start_ms(self) -> int:
        """Return when it began."""
        return self.end_ms - self.days * DAY_MS

    @property
    def windows(self) -> int:
        """Return how many readings one meter took."""
        return self.days * DAY_MS // 1000


def make(path: Path, outage: Outage) -> None:
    """Write the database."""
    with opened(path) as database:
        database.write_now(lambda db: _register(db, outage))
        number = 0
        for meter in range(1, outage.meters + 1):
            for _ in outage.channels:
                number += 1
                parts = iter(_parts(outage, number, meter * 10 + number))
                while batch := list(islice(parts, BATCH)):
                    database.write_now(lambda db, own=batch: rollups.add_parts(db, own))  # type: ignore[misc]
        if outage.raw:
            rows = _rows(outage)
            while chunk := list(islice(rows, BATCH)):
                database.write_now(
                    lambda db, own=chunk: insert_many(db, "readings", READING_COLUMNS, own)  # type: ignore[misc]
                )
        database.write_now(lambda db: _finish(db, outage))


def name_of(meter: int) -> str:
    """Return a meter's id by its number."""
    return f"meter-{meter:02d}"


def _register(db: sqlite3.Connection, outage: Outage) -> None:
    registers = {name: (Register(4e6), Register(0.0)) for name in outage.channels}
    channel_no = 0
    for meter in range(1, outage.meters + 1):
        db.execute(
            "INSERT INTO meters (no, id, registered_ms) VALUES (?,?,?)",
            (meter, name_of(meter), outage.start_ms),
        )
        for name in outage.channels:
            channel_no += 1
            db.execute("INSERT INTO channels VALUES (?,?,?,?,30.0)",
                       (channel_no, meter, name, "grid" if name == "grid" else "load"))  # fmt: skip
        db.execute("INSERT INTO boots VALUES (?,?,?,1,?,NULL,NULL,0)",
                   (meter, meter, meter + 76, outage.start_ms))  # fmt: skip
        run = (meter, 0, outage.windows - 1, outage.start_ms, outage.end_ms,
               outage.windows * 1000, _encode(registers))  # fmt: skip
        db.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?)", run)


def _minutes(outage: Outage, seed: int) -> Iterator[Bucket]:
    """Yield a channel's minutes: a load that swings over the day, appliances, noise."""
    random = np.random.default_rng(seed)
    count = outage.days * 1440
    base = 300 + 200 * np.sin(np.arange(count) / 229) + random.normal(0, 20, count)
    bursts = np.repeat(random.exponential(400, count // 20 + 1) * (random.random(count // 20 + 1)
                       < 0.3), 20)[:count]  # fmt: skip
    power = (base + bursts).tolist()
    spread = np.round(random.gamma(2.0, 60.0, (count, 2)), 1).tolist()
    volts = (230 + random.normal(0, 1.5, count)).tolist()
    wh_in = 1e5
    for k, (power_w, (low, high), voltage_v) in enumerate(zip(power, spread, volts, strict=True)):
        wh_in += max(0.0, power_w) / 60
        dt_ms = MINUTE_MS
        yield Bucket(
            outage.start_ms + k * MINUTE_MS, 60, dt_ms, power_w * dt_ms, dt_ms,
            round(power_w - low, 1), round(power_w + high, 1), -0.14 * power_w * dt_ms, dt_ms,
            voltage_v * dt_ms, dt_ms, round(voltage_v - 0.7, 2), round(voltage_v + 0.9, 2),
            abs(power_w) / voltage_v * dt_ms, dt_ms,
            outage.start_ms + (k + 1) * MINUTE_MS, round(wh_in, 3), 0.0,
        )  # fmt: skip


def _parts(outage: Outage, channel_no: int, seed: int) -> Iterator[RollupPart]:
    calendar = Calendar(ZONE)
    coarse: dict[tuple[str, int], Bucket] = {}
    for minute in _minutes(outage, seed):
        for resolution in RESOLUTIONS[1:]:
            begin_ms = calendar.start_of(resolution, minute.start_ms)
            coarse.setdefault((resolution, begin_ms), Bucket(begin_ms)).merge(minute)
        yield RollupPart(channel_no, "1m", minute)
    for (name, _), bucket in coarse.items():
        yield RollupPart(channel_no, name, bucket)


def _rows(outage: Outage) -> Iterator[tuple[object, ...]]:
    """Yield readings as they would have come: second by second, meter by meter."""
    random = np.random.default_rng(8)
    bodies = []
    for power_w in np.round(450 + random.normal(0, 90, POOL), 1).tolist():
        channel = Channel(round(power_w / 230, 3), power_w, 1e5 + power_w, 0.0, q=-60.5, z=1.2)
        own = dict.fromkeys(outage.channels, channel)
        bodies.append(pack(Reading(77, 0, 0, 0, 1000, 230.25, 49.98, own)))
    row = 0
    for seq in range(outage.windows):
        up_ms = (seq + 1) * 1000
        at_ms = outage.start_ms + up_ms
        for meter in range(1, outage.meters + 1):
            row += 1
            body = bodies[row % POOL]
            yield (row, meter, seq, 1, up_ms, at_ms, at_ms, at_ms + 40, 1000, 0, body)


def _finish(db: sqlite3.Connection, outage: Outage) -> None:
    """Close the segments, and leave nothing to judge."""
    rows = outage.windows * outage.meters if outage.raw else 0
    for segment in range((rows + 1) >> SEGMENT_BITS):
        segments.summarise(db, segment)
    for meter in range(1, outage.meters + 1):
        infos = {name: ChannelInfo(name, Role.GRID, 30.0) for name in outage.channels}
        info = MeterInfo(name_of(meter), channels=infos)
        track = Track(meter, info, MeterJudge(info, DetectSettings(), ZONE), Calendar(ZONE))
        track.row, track.at_ms = rows, outage.end_ms
        judged = (meter, rows, outage.end_ms, track.snapshot())
        db.execute("INSERT INTO judged VALUES (?,?,?,?)", judged)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('looked_at', ?)", (str(rows),))
