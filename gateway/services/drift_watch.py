"""Watch over weeks whether calibrations have moved; see gateway.pipeline.drift."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.meters import MeterInfo, Role
from gateway.domain.readings import Stored
from gateway.pipeline.drift import (
    DAY_MS,
    MARK,
    Day,
    Gathering,
    Suspect,
    cleared,
    finding,
    suspects,
)
from gateway.services.deriving import Deriver
from gateway.services.ledger import Ledger

log = structlog.get_logger()
LOOK_S = 1.0
KEPT_DAYS = 400  # a baseline is the first two weeks after a calibration
FRESH_MS = 10_000  # what comes late is history, and its neighbours are not known


class DriftStore(Protocol):
    """What the watch needs from storage."""

    async def days(self) -> Mapping[str, Mapping[int, Day]]:
        """Return all kept days, by meter and day number."""

    async def add_day(self, meter: str, day: Day, forget_before: int) -> None:
        """Keep a day, and forget old ones."""

    async def calibrated_ms(self) -> Mapping[str, int]:
        """Return since when each meter has its newest calibration."""


class DriftWatch:
    """The service: gathers each meter's day from its newest readings, judges when it ends."""

    def __init__(self, store: DriftStore, deriver: Deriver, ledger: Callable[[], Ledger]) -> None:
        self._store = store
        self._deriver = deriver
        self._ledger = ledger
        self._days: dict[str, dict[int, Day]] = {}
        self._open: dict[str, Gathering] = {}
        self._rows: dict[str, int] = {}

    async def run(self) -> None:
        """Look every second, until cancelled."""
        await self._deriver.loaded.wait()
        try:
            self._days = {m: dict(days) for m, days in (await self._store.days()).items()}
            while True:
                for meter, day in self.look():
                    await self._close(meter, day)
                await asyncio.sleep(LOOK_S)
        except StorageError as error:
            msg = f"drift watch: {error}"
            raise TransientError(msg) from error

    def look(self) -> list[tuple[str, Day]]:
        """Take what is new; return the days that ended with it."""
        ended = []
        for meter in self._ledger().meters.values():
            info = meter.info
            reading = self._deriver.latest.get(info.id)
            if reading is None or info.recorded or meter.removed:
                continue
            if self._rows.get(info.id) == reading.row or reading.v is None:
                continue
            self._rows[info.id] = reading.row
            if abs(reading.received_ms - reading.at_ms) > FRESH_MS:
                continue
            ended += self._take(info, reading, reading.v)
        return ended

    def _take(self, info: MeterInfo, reading: Stored, volts_v: float) -> list[tuple[str, Day]]:
        ended = []
        number = reading.at_ms // DAY_MS
        day = self._open.get(info.id)
        if day is None or day.day < number:
            if day is not None:
                ended.append((info.id, day.close()))
            day = self._open[info.id] = Gathering(number)
        if day.day == number:  # a clock that was set back adds nothing to another day
            channel = reading.ch.get(main_channel(info))
            day.add(reading.at_ms, volts_v, None if channel is None else channel.p)
        return ended

    async def _close(self, meter: str, day: Day) -> None:
        await self._store.add_day(meter, day, day.day - KEPT_DAYS)
        self._days.setdefault(meter, {})[day.day] = day
        await self._judge(day.day)

    async def _judge(self, today: int) -> None:
        """Raise alerts of calibrations that have moved, end those that agree again."""
        calibrated = {m: ms // DAY_MS + 1 for m, ms in (await self._store.calibrated_ms()).items()}
        channels = {m.info.id: main_channel(m.info) for m in self._ledger().meters.values()}
        known = {name: days for name, days in self._days.items() if name in channels}
        found = suspects(known, channels, calibrated, today)
        at_ms = (today + 1) * DAY_MS
        await self._deriver.report(self._changes(found, at_ms))

    def _changes(self, found: list[Suspect], at_ms: int) -> list[Finding]:
        keys = {(one.meter, one.channel) for one in found}
        ours = [
            alert.key[:2]
            for alert in self._deriver.desk.book.open_alerts
            if alert.key[2] is AlertKind.SENSOR_FAULT and alert.evidence.get("check") == MARK
        ]
        over = [cleared(*key, at_ms) for key in ours if key not in keys]
        for one in found:
            log.warning("calibration_moved", meter=one.meter, channel=one.channel, by=one.by)
        return [finding(one, at_ms) for one in found] + over


def main_channel(info: MeterInfo) -> str:
    """Return the clamp whose current loads the supply: the grid's, else the first."""
    for channel in info.channels.values():
        if channel.role is Role.GRID:
            return channel.name
    return next(iter(info.channels), "grid")
