"""Energy in SQL: a channel's counts around any time, and the steps of self-consumption."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.adapters.store.export import ChannelReader, Unwritten
from gateway.adapters.store.home import select_plans
from gateway.adapters.store.series import find_meter
from gateway.domain.meters import Role
from gateway.pipeline.rollups import FIXED_MS, Bucket
from gateway.pipeline.tariffs import Prices
from gateway.services.costing import costs
from gateway.services.energy import (
    MS_PER_HOUR,
    SHORTEST_HOLE_MS,
    Count,
    Energy,
    EnergyQuery,
    Interval,
    Point,
    Side,
    SolarUse,
    Steps,
    boundaries,
    point,
    solar_use,
    used,
)
from gateway.services.exporting import Target

COUNTS = "start_ms, reg_at_ms, dt_ms, wh_in + base_in, wh_out + base_out"
QUARTER, MINUTE = "15m", "1m"
MINUTES_UP_TO_MS = 8 * 86_400_000  # longer spans look at self-consumption by the quarter hour


class Row(NamedTuple):
    """The counts at the end of one interval of the rollups."""

    start_ms: int
    reg_at_ms: int
    dt_ms: int
    wh_in: float | None
    wh_out: float | None

    def counts(self) -> Count:
        """Return the counts, apart from their interval."""
        return Count(self.reg_at_ms, self.dt_ms, self.wh_in, self.wh_out)


class SqlTrail:
    """Satisfies `Trail`: written intervals and those that are not yet (rule I)."""

    def __init__(
        self, db: sqlite3.Connection, reader: ChannelReader, target: Target, late: Unwritten | None
    ) -> None:
        self._db = db
        self._reader = reader
        self._target = target
        self._late = late or {QUARTER: {}, MINUTE: {}}

    def around(self, at_ms: int) -> tuple[Count | None, Count | None]:
        """Return the last count at or before a time, and the first one after it."""
        earlier = self._near(at_ms, "start_ms < ? ORDER BY start_ms DESC", lambda s: s < at_ms)
        later = self._near(at_ms, "start_ms >= ? ORDER BY start_ms", lambda s: s >= at_ms)
        rows = sorted({*earlier, *later})
        before = [row for row in rows if row.reg_at_ms <= at_ms]
        after = [row for row in rows if row.reg_at_ms > at_ms]
        if not after:
            return (before[-1].counts() if before else None), None
        if not before:
            return None, self._first(after[0])
        count = after[0].counts()
        if count.at_ms - count.covered_ms - before[-1].reg_at_ms > SHORTEST_HOLE_MS:
            count = self._finer(after[0]).counts()
        return before[-1].counts(), count

    def steps(self, resolution: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the counts of intervals that begin in [start, end), in time order."""
        late = {s: b for s, b in self._late[resolution].items() if start_ms <= s < end_ms}
        query = (
            f"SELECT {COUNTS} FROM rollup_{resolution} WHERE channel_no = ?"  # noqa: S608 - ours
            " AND start_ms >= ? AND start_ms < ? AND reg_at_ms IS NOT NULL ORDER BY start_ms"
        )
        values = (self._target.channel_no, start_ms, end_ms)
        return _merged((Row(*row) for row in self._db.execute(query, values)), late)

    def _near(self, at_ms: int, where: str, fits: Callable[[int], bool]) -> list[Row]:
        """Return the two nearest quarter hours on one side, and all that are not written."""
        query = (
            f"SELECT {COUNTS} FROM rollup_{QUARTER} WHERE channel_no = ? AND"  # noqa: S608 - ours
            f" reg_at_ms IS NOT NULL AND {where} LIMIT 2"
        )
        found = self._db.execute(query, (self._target.channel_no, at_ms))
        late = {s: b for s, b in self._late[QUARTER].items() if fits(s)}
        return _merged((Row(*row) for row in found), late)

    def _finer(self, quarter: Row) -> Row:
        """Return the first minute of a quarter hour, the quarter itself where it has none."""
        end_ms = quarter.start_ms + FIXED_MS[QUARTER]
        return next(iter(self.steps(MINUTE, quarter.start_ms, end_ms)), quarter)

    def _first(self, quarter: Row) -> Count:
        """Return the counts at the first reading of all, which no rollup keeps."""
        minute = self._finer(quarter)
        # A window belongs to the interval that holds its middle, so it may end far behind it.
        readings = self._reader.readings(
            self._target, minute.start_ms, max(minute.reg_at_ms, minute.start_ms) + 1
        )
        for reading in readings:
            channel = reading.ch.get(self._target.channel)
            if channel is not None and (channel.wh_in, channel.wh_out) != (None, None):
                return Count(reading.at_ms, 0, channel.wh_in, channel.wh_out)
        return self._before(minute)

    def _before(self, minute: Row) -> Count:
        """Return the counts at a minute's begin by its mean power; the readings are retired."""
        # The quarter's own where its minutes are retired too.
        row = self._db.execute(
            "SELECT p_sum FROM (SELECT p_sum, 1 AS place FROM rollup_1m"
            " WHERE start_ms = :at AND channel_no = :channel"
            " UNION ALL SELECT p_sum, 2 FROM rollup_15m"
            " WHERE start_ms = :at AND channel_no = :channel) ORDER BY place LIMIT 1",
            {"at": minute.start_ms, "channel": self._target.channel_no},
        ).fetchone()
        net_wh = 0.0 if row is None else row[0] / MS_PER_HOUR
        return Count(
            minute.reg_at_ms - minute.dt_ms, 0,
            None if minute.wh_in is None else max(0.0, minute.wh_in - max(net_wh, 0.0)),
            None if minute.wh_out is None else max(0.0, minute.wh_out - max(-net_wh, 0.0)),
        )  # fmt: skip


def read_energy(db: sqlite3.Connection, zone: ZoneInfo, query: EnergyQuery) -> Energy:
    """Read what a query asks for, on the connection's snapshot."""
    edges = boundaries(query, zone)
    meter_no = find_meter(db, query.meter)
    reader = ChannelReader(db, zone)
    channels = db.execute(
        "SELECT no, name, role FROM channels WHERE meter_no = ? ORDER BY no", (meter_no,)
    ).fetchall()
    late = reader.all_not_written(Target(meter_no, 0, ""))
    trails = {
        name: SqlTrail(db, reader, Target(meter_no, number, name), late.get(name))
        for number, name, _ in channels
    }
    points = {name: [point(trail, at_ms) for at_ms in edges] for name, trail in trails.items()}
    roles = {name: role for _, name, role in channels}
    step, suns = _suns(trails, roles, edges)
    paid = costs(Prices(select_plans(db), zone), trails, roles, edges, zone)
    items = [
        replace(_interval(index, begin_ms, end_ms, points, suns[index]), cost=paid[index])
        for index, (begin_ms, end_ms) in enumerate(pairwise(edges))
    ]
    return Energy(items, step)


def _interval(
    index: int, begin_ms: int, end_ms: int, points: Mapping[str, list[Point]],
    sun: SolarUse | None,
) -> Interval:  # fmt: skip
    ends = [(found[index], found[index + 1]) for found in points.values()]
    channels = {name: used(found[index], found[index + 1]) for name, found in points.items()}
    partial = any(not end.reached and begin.side is not Side.AFTER for begin, end in ends)
    return Interval(begin_ms, end_ms, channels, sun, partial)


def _suns(
    trails: Mapping[str, SqlTrail], roles: Mapping[str, str], edges: list[int]
) -> tuple[str | None, list[SolarUse | None]]:
    """Return how finely, and what became of the sun's energy in each interval."""
    if not {Role.SOLAR.value, Role.GRID.value} <= set(roles.values()):
        return None, [None] * (len(edges) - 1)
    step = MINUTE if edges[-1] - edges[0] <= MINUTES_UP_TO_MS else QUARTER
    generated, exported, imported = Steps(), Steps(), Steps()
    for name, trail in trails.items():
        if roles[name] == Role.SOLAR:
            _add_steps(trail, step, edges, generated, None)
        elif roles[name] == Role.GRID:
            _add_steps(trail, step, edges, imported, exported)
    return step, solar_use(generated, exported, imported, edges)


def _add_steps(
    trail: SqlTrail, step: str, edges: list[int], into: Steps, out_of: Steps | None
) -> None:
    """Add what a channel's registers rose by in each step."""
    begin = point(trail, edges[0])
    wh_in, wh_out = begin.wh_in, begin.wh_out
    for row in trail.steps(step, edges[0], edges[-1]):
        if row.wh_in is not None:
            wh_in = row.wh_in if wh_in is None else wh_in
            into.add(row.start_ms, max(0.0, row.wh_in - wh_in))
            wh_in = max(wh_in, row.wh_in)
        if out_of is not None and row.wh_out is not None:
            wh_out = row.wh_out if wh_out is None else wh_out
            out_of.add(row.start_ms, max(0.0, row.wh_out - wh_out))
            wh_out = max(wh_out, row.wh_out)


def _merged(rows: Iterable[Row], late: Mapping[int, Bucket]) -> list[Row]:
    """Return rows in time order, with the parts that are not written yet added."""
    found = {row.start_ms: row for row in rows}
    for start_ms, bucket in late.items():
        known, part = found.get(start_ms), _row(bucket)
        if known is not None:
            found[start_ms] = _joined(known, bucket, part)
        elif part is not None:
            found[start_ms] = part
    return [found[start_ms] for start_ms in sorted(found)]


def _row(bucket: Bucket) -> Row | None:
    if bucket.reg_at_ms is None:
        return None
    wh_in = None if bucket.wh_in is None else bucket.wh_in + bucket.base_in
    wh_out = None if bucket.wh_out is None else bucket.wh_out + bucket.base_out
    return Row(bucket.start_ms, bucket.reg_at_ms, bucket.dt_ms, wh_in, wh_out)


def _joined(row: Row, bucket: Bucket, part: Row | None) -> Row:
    dt_ms = row.dt_ms + bucket.dt_ms
    if part is None or part.reg_at_ms < row.reg_at_ms:
        return row._replace(dt_ms=dt_ms)
    wh_in = row.wh_in if part.wh_in is None else part.wh_in
    wh_out = row.wh_out if part.wh_out is None else part.wh_out
    return Row(row.start_ms, part.reg_at_ms, dt_ms, wh_in, wh_out)
