"""A gateway without sockets: planner, store and judging, driven step by step by a test."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from gateway.adapters.store import rollups
from gateway.adapters.store.database import Database
from gateway.adapters.store.deriving import SqlDeriveStore
from gateway.adapters.store.intake import load_ledger
from gateway.adapters.store.intake_store import SqlIntakeStore
from gateway.adapters.store.placing import SqlPlacingStore
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.pipeline.decode import decode
from gateway.pipeline.rollups import Bucket, Calendar, MeterRoll
from gateway.services.batches import Ack, Batch
from gateway.services.deriving import Deriver
from gateway.services.gapkeeper import sweep_gaps
from gateway.services.ledger import Boot, Ledger, Meter
from gateway.services.messages import StateKeeper, take_event
from gateway.services.placing import Placing
from gateway.services.planner import Planner, PlanRules
from gateway.settings import DetectSettings

START_MS = 1_760_000_400_000  # 2025-10-09 09:00 UTC, a whole quarter of an hour
UTC = ZoneInfo("UTC")
Json = dict[str, Any]


@dataclass
class FakeNow:
    """A clock that a test sets."""

    wall: int = START_MS + 7_200_000  # readings of two hours may come
    mono: float = 0.0
    trust: bool = True

    def wall_ms(self) -> int:
        return self.wall

    def mono_s(self) -> float:
        return self.mono

    def trusted(self) -> bool:
        return self.trust

    def pass_s(self, seconds: float) -> None:
        """Let both clocks run."""
        self.wall += round(seconds * 1000)
        self.mono += seconds


def window(seq: int, boot: int = 1, *, boot_ms: int = START_MS, **fields: Any) -> Json:  # noqa: ANN401
    """Return one valid 1 s window of a boot that began at `boot_ms`, with these fields changed."""
    up = fields.pop("up", (seq + 1) * 1000)
    channel = {"i": 2.2, "p": 500.0, "q": -60.0, "wh_in": 1000.0 + up / 7200, "wh_out": 0.0}
    channel |= {key: fields.pop(key) for key in ("i", "p", "q", "wh_in", "wh_out") if key in fields}
    usual: Json = {
        "boot": boot, "seq": seq, "up": up, "t": boot_ms + up, "dt": 1000,
        "v": 230.0, "f": 50.0, "ch": {"grid": channel},
    }  # fmt: skip
    return usual | fields


def windows(first: int, last: int, boot: int = 1, **fields: Any) -> list[Json]:  # noqa: ANN401
    """Return the windows first … last of a boot."""
    return [window(seq, boot, **fields) for seq in range(first, last + 1)]


def spool(last: int, n: int, boot: int = 1, **fields: Any) -> Json:  # noqa: ANN401
    """Return a spool record of the `n` windows up to `last`."""
    return window(last, boot, **{"n": n, "dt": n * 1000, "flags": ["spool"], **fields})


class Site:
    """One gateway's data path on a real database file."""

    def __init__(
        self, path: Path, *, auto_register: bool = True, zone: ZoneInfo = UTC,
        settings: DetectSettings | None = None,
    ) -> None:  # fmt: skip
        self.now = FakeNow()
        self.zone = zone
        self.settings = settings or DetectSettings()
        self.rules = PlanRules(auto_register, 230.0)
        self.path = path
        self.database = Database(path)
        self.deriver = Deriver(SqlDeriveStore(self.database, zone), self.settings, zone)
        self.placing = Placing(
            SqlPlacingStore(self.database), lambda: self.ledger, self.now, self.deriver.release
        )
        self.states = StateKeeper()
        self.last = Batch()
        self.reload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    # -- in -----------------------------------------------------------------------------------

    def reload(self) -> Ledger:
        """Forget the ledger and read it from disk, as a restart does."""
        self.ledger = self.database.write_now(load_ledger)
        self.planner = Planner(self.ledger, self.rules, self.now)
        self.states.planner = self.planner
        return self.ledger

    def plan(self, readings: Json | list[Json] | bytes, meter: str = "home") -> None:
        """Plan one `readings` message that is received now."""
        payload = readings if isinstance(readings, bytes) else json.dumps(readings).encode()
        topic = f"ww/v1/{meter}/readings"
        known = meter in self.ledger.meters
        self.planner.message(topic, meter, decode(payload), self.now.wall)
        if not known:
            self.states.admit(meter)

    def commit(self) -> list[Ack]:
        """Commit what was planned; return the acks."""
        self.last = batch = self.planner.finish()
        SqlIntakeStore(self.database).submit(batch).result(10)
        return batch.acks

    def send(self, readings: Json | list[Json] | bytes, meter: str = "home") -> Ack | None:
        """Plan and commit one message; return the ack of its meter."""
        self.plan(readings, meter)
        return next((ack for ack in self.commit() if ack.meter == meter), None)

    def live(self, readings: Iterable[Json], meter: str = "home") -> Ack | None:
        """Send each reading a moment after its window's end by its own `t`."""
        ack = None
        for reading in readings:
            self.now.wall = reading["t"] + 40
            ack = self.send(reading, meter)
        return ack

    def state(
        self, meter: str = "home", *, retained: bool = False, **fields: Any  # noqa: ANN401
    ) -> Ack | None:  # fmt: skip
        """Take a `state` message and commit."""
        payload = json.dumps({"online": True, **fields}).encode()
        topic = f"ww/v1/{meter}/state"
        self.states.take(topic, meter, payload, self.now.wall, retained=retained)
        return next(iter(self.commit()), None)

    def event(self, meter: str = "home", **fields: Any) -> Ack | None:  # noqa: ANN401
        """Take an `events` message and commit."""
        payload = json.dumps(fields).encode()
        take_event(self.planner, f"ww/v1/{meter}/events", meter, payload, self.now.wall)
        return next(iter(self.commit()), None)

    def dropped(self, first: int, last: int, boot: int = 1) -> Ack | None:
        """Have the meter say that it no longer has windows first … last."""
        fields: Json = {"from": first, "to": last}
        return self.event(boot=boot, seq=0, up=1, t=None, kind="dropped", **fields)

    def sweep(self) -> None:
        """Look at every hole and commit what follows."""
        sweep_gaps(self.planner, self.ledger, self.now.mono_s(), self.now.wall_ms())
        self.commit()

    def add_meter(self, meter: str = "home", *, recorded: bool = False) -> Meter:
        """Register a meter as an operator does."""
        known = self.planner.register(MeterInfo(meter, recorded, "", self.now.wall))
        self.commit()
        return known

    async def derive(self) -> None:
        """Roll up and judge all that is committed."""
        if not self.deriver.loaded.is_set():
            await self.deriver.load()
        await self.deriver.settle()

    async def restart_deriving(self) -> None:
        """Forget rollups and judging in memory and go on from what is stored."""
        self.deriver = Deriver(SqlDeriveStore(self.database, self.zone), self.settings, self.zone)
        self.placing = Placing(
            SqlPlacingStore(self.database), lambda: self.ledger, self.now, self.deriver.release
        )
        await self.deriver.load()

    # -- out ----------------------------------------------------------------------------------

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Read the database as it is on disk."""
        return self.database.read_now(lambda db: db.execute(sql, arguments).fetchall())

    def rows(self, meter: str = "home") -> list[Stored]:
        """Return a meter's raw readings in the order of boots and seq."""
        boots = dict(
            self.query(
                "SELECT boots.no, boot FROM boots JOIN meters ON meters.no = meter_no WHERE id = ?",
                meter,
            )
        )
        found = self.query(f"SELECT {COLUMNS} FROM readings ORDER BY boot_no, seq, row")  # noqa: S608
        return [stored(row, meter, boots[row[1]]) for row in found if row[1] in boots]

    def seqs(self, meter: str = "home") -> list[int]:
        """Return the seq of every raw reading."""
        return [row.seq for row in self.rows(meter)]

    def gaps(self) -> list[tuple[int, int, str]]:
        """Return (first, last, state) of every gap."""
        return self.query("SELECT first, last, state FROM gaps ORDER BY boot_no, first")

    def dead(self) -> list[str]:
        """Return the reasons of all dead letters, oldest first."""
        return [row[0] for row in self.query("SELECT reason FROM dead_letters ORDER BY no")]

    def boot(self, number: int = 1, meter: str = "home") -> Boot:
        """Return one boot as the ledger knows it."""
        return self.ledger.meters[meter].boots[number]

    def rollup(self, resolution: str, channel: str = "grid", meter: str = "home") -> list[Bucket]:
        """Return the stored intervals of a channel."""
        ((number,),) = self.query(
            "SELECT channels.no FROM channels JOIN meters ON meters.no = meter_no"
            " WHERE meters.id = ? AND name = ?", meter, channel,
        )  # fmt: skip
        return self.database.read_now(
            lambda db: list(rollups.read(db, number, resolution, -(2**62), 2**62))
        )

    def rolled(
        self, resolution: str, channel: str = "grid", meter: str = "home"
    ) -> dict[int, Bucket]:
        """Return the intervals as a reader sees them: stored ones and what memory holds open."""
        merged = {bucket.start_ms: bucket for bucket in self.rollup(resolution, channel, meter)}
        track = next(t for t in self.deriver.tracks.values() if t.info.id == meter)
        for part in track.roll.open_parts():
            if (part.channel, part.resolution) == (channel, resolution):
                merged.setdefault(part.bucket.start_ms, Bucket(part.bucket.start_ms)).merge(
                    part.bucket
                )
        return merged

    def recomputed(
        self, resolution: str, channel: str = "grid", meter: str = "home"
    ) -> dict[int, Bucket]:
        """Return the intervals computed from the raw readings alone, in time order."""
        roll = MeterRoll(Calendar(self.zone))
        parts: list[Any] = []
        for reading in sorted(self.rows(meter), key=lambda r: (r.at_ms, r.row)):
            roll.add(reading, parts)
        roll.flush(parts)
        merged: dict[int, Bucket] = {}
        for part in parts:
            if (part.channel, part.resolution) == (channel, resolution):
                start_ms = part.bucket.start_ms
                merged.setdefault(start_ms, Bucket(start_ms)).merge(part.bucket)
        return merged


def same_bucket(a: Bucket, b: Bucket) -> bool:
    """Tell whether two intervals say the same, sums to rounding."""
    for name in Bucket.__struct_fields__:
        left, right = getattr(a, name), getattr(b, name)
        if left is None or right is None or not isinstance(left, float):
            if left != right:
                return False
        elif abs(left - right) > 1e-6 * max(1.0, abs(left), abs(right)):
            return False
    return True
