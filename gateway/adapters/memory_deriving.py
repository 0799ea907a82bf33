"""What judging reads and writes, in memory: the twin of the SQL one."""

from zoneinfo import ZoneInfo

from gateway.adapters.memory_store import Tables
from gateway.domain.alerts import Alert, AlertState
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.pipeline.rollups import RESOLUTIONS, Bucket, Calendar, Contribution, MeterRoll
from gateway.services.deriving_ports import OWN, MeterRecord, Next
from gateway.services.effects import Effects, Rebuild, RollupPart
from gateway.services.fitting import FOREVER_MS, RESOLUTION, History

REOPEN_MS = 86_400_000  # an alert resolved by hand may open again within the hour


class MemoryDeriveStore:
    """Satisfies `DeriveStore`."""

    def __init__(self, tables: Tables, zone: ZoneInfo) -> None:
        self._tables = tables
        self._calendar = Calendar(zone)

    async def load_meters(self) -> list[MeterRecord]:
        """Read every meter with its position."""
        return [self._record(no) for no in sorted(self._tables.meters)]

    def _record(self, no: int) -> MeterRecord:
        tables = self._tables
        info = tables.meters[no]
        own = {channel.name: (key, channel) for key, (meter_no, channel)
               in sorted(tables.channels.items()) if meter_no == no}  # fmt: skip
        meter = MeterInfo(
            info.id, info.recorded, info.label, info.registered_ms,
            {name: channel for name, (_, channel) in own.items()},
        )  # fmt: skip
        models = {row.channel: row.body for row in tables.models.values()
                  if row.meter_no == no and row.kind == OWN}  # fmt: skip
        numbers = {name: number for name, (number, _) in own.items()}
        position = tables.judged.get(no)
        if position is None:
            return MeterRecord(no, meter, numbers, 0, 0, None, models)
        _, row, at_ms, state = position
        return MeterRecord(no, meter, numbers, row, at_ms, state, models)

    async def load_alerts(self) -> tuple[list[Alert], list[Alert]]:
        """Read the alerts that are not resolved, and those lately resolved by a person."""
        alerts = sorted(self._tables.alerts.values(), key=lambda a: (a.opened_ms, a.id))
        newest_ms = max((alert.updated_ms for alert in alerts), default=0)
        lately = [
            alert
            for alert in alerts
            if alert.resolved_ms is not None
            and alert.id in self._tables.by_hand
            and alert.resolved_ms >= newest_ms - REOPEN_MS
        ]
        return [a for a in alerts if a.state is not AlertState.RESOLVED], lately

    async def looked_at(self) -> int:
        """Read the row up to which nothing is left to do."""
        return self._tables.looked_at

    async def rows_after(self, row: int, limit: int) -> list[Next]:
        """Read committed readings in the order of their rows."""
        numbers = sorted(number for number in self._tables.readings if number > row)[:limit]
        found = [self._tables.readings[number] for number in numbers]
        boots = self._tables.boots
        return [
            Next(boots[one.boot_no].meter_no, one.at_ms is not None, self._tables.reading(one))
            for one in found
        ]

    async def dirty(self) -> list[tuple[int, int, int, int]]:
        """Read the spans that must be computed again."""
        return [(no, *span) for no, span in sorted(self._tables.dirty.items())][:50]

    async def history(
        self, channel_no: int, meter: str, channel: str, from_ms: int, until_ms: int
    ) -> History:
        """Read a channel's minutes in a span, and its alerts."""
        buckets = [
            bucket
            for (number, resolution, start_ms), bucket in sorted(self._tables.rollups.items())
            if number == channel_no and resolution == RESOLUTION and from_ms <= start_ms < until_ms
        ]
        alerts = [
            alert
            for alert in self._tables.alerts.values()
            if alert.opened_ms < until_ms
            and (FOREVER_MS if alert.resolved_ms is None else alert.resolved_ms) >= from_ms
        ]
        history = History(buckets, {})
        history.add_alerts(alerts, meter, channel)
        return history

    async def commit(self, effects: Effects) -> None:
        """Write everything."""
        tables = self._tables
        self._add_parts(effects.rollups)
        for order in effects.rebuilds:
            self._rebuild(order)
        for change in effects.changes:
            tables.alerts[change.alert.id] = tables.outbox[change.alert.id] = change.alert
            if any(e.who != "system" and e.what.startswith("resolved") for e in change.history):
                tables.by_hand.add(change.alert.id)
        tables.verdicts.extend(effects.verdicts)
        tables.models.update({(m.meter_no, m.channel, m.kind): m for m in effects.models})
        tables.judged.update({position.meter_no: position for position in effects.positions})
        tables.looked_at = effects.looked_at

    def _add_parts(self, parts: list[RollupPart]) -> None:
        for channel_no, resolution, bucket in parts:
            key = (channel_no, resolution, bucket.start_ms)
            known = self._tables.rollups.setdefault(key, Bucket(bucket.start_ms))
            known.merge(bucket)

    def _rebuild(self, order: Rebuild) -> None:
        """Compute whole local days again, unless readings of them have been retired."""
        calendar = self._calendar
        day_ms = calendar.start_of("1d", order.from_ms)
        end_ms = calendar.end_of("1d", calendar.start_of("1d", order.to_ms))
        while day_ms < end_ms:
            next_ms = calendar.end_of("1d", day_ms)
            readings = self._between(order, day_ms, next_ms)
            if readings and day_ms >= self._tables.retired_until_ms:
                self._rebuild_day(order.meter_no, day_ms, next_ms, readings)
            day_ms = next_ms
        self._tables.dirty.pop(order.dirty_no, None)

    def _between(self, order: Rebuild, start_ms: int, end_ms: int) -> list[Stored]:
        tables = self._tables
        found = [
            tables.reading(row)
            for row in tables.readings.values()
            if tables.boots[row.boot_no].meter_no == order.meter_no
            and row.row <= order.row
            and row.at_ms is not None
            and start_ms <= row.at_ms - row.dt_ms // 2 < end_ms
        ]
        return sorted(found, key=lambda reading: (reading.at_ms, reading.row))

    def _rebuild_day(
        self, meter_no: int, day_ms: int, next_ms: int, readings: list[Stored]
    ) -> None:
        rollups = self._tables.rollups
        numbers = {c.name: no for no, (m, c) in self._tables.channels.items() if m == meter_no}
        roll = MeterRoll(self._calendar)
        for name, no in numbers.items():
            earlier = [
                bucket
                for (number, resolution, start_ms), bucket in sorted(rollups.items())
                if number == no and resolution == "1d" and start_ms < day_ms and bucket.reg_at_ms
            ]
            if earlier:
                roll.resume(name, earlier[-1])
        parts: list[Contribution] = []
        for reading in readings:
            roll.add(reading, parts)
        roll.flush(parts)
        gone = [
            key
            for key in rollups
            if key[0] in numbers.values() and key[1] in RESOLUTIONS and day_ms <= key[2] < next_ms
        ]
        for key in gone:
            del rollups[key]
        self._add_parts([RollupPart(numbers[p.channel], p.resolution, p.bucket) for p in parts])
