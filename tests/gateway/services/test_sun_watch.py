"""The sun watch judges each day once, in the morning after, by what the disk holds."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gateway.adapters.memory_care import MemorySun
from gateway.domain.alerts import Alert, AlertKind, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.pipeline.alert_book import AlertBook
from gateway.services.ledger import Ledger, Meter
from gateway.services.sun_watch import MORNING_MS, SunWatch
from tests.support.roofs import FAULT_DAY, FROM_MS, roof
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS, Minutes

FIRST = FROM_MS // DAY_MS


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.at_ms, self.trust = 2**60, True

    def wall_ms(self) -> int:
        return self.at_ms

    def mono_s(self) -> float:
        return 0.0

    def trusted(self) -> bool:
        return self.trust


class Rig:
    """A watch over memory: roofs by name of the meter, number n of the meter being its channel."""

    def __init__(
        self, roofs: dict[str, Minutes], zone: str = "UTC", *, recorded: bool = False
    ) -> None:
        self.store, self.clock, self.ledger = MemorySun(), Clock(), Ledger()
        self.told: list[tuple[Finding, bool]] = []
        self.book = AlertBook(())
        self.options = Options(ZoneInfo(zone), 4.0)
        self.deriver = SimpleNamespace(
            loaded=asyncio.Event(), report=self._report, desk=SimpleNamespace(book=self.book)
        )
        self.deriver.loaded.set()
        for number, (name, minutes) in enumerate(roofs.items(), 1):
            info = MeterInfo(
                name, recorded=recorded, channels={"solar": ChannelInfo("solar", Role.SOLAR)}
            )
            self.ledger.meters[name] = Meter(number, info, channel_nos={"solar": number})
            self.store.series[number] = minutes
        self.whole = dict(self.store.series)
        self.restart()

    def restart(self) -> None:
        """Begin anew, with what the disk holds."""
        self.watch = SunWatch(
            self.store, cast("Any", self.deriver), lambda: self.ledger, self.clock, self.options
        )

    async def _report(self, findings: list[Finding], *, historic: bool = False) -> None:
        for finding in findings:
            change = self.book.apply(finding, now_ms=finding.at_ms, historic=historic)
            self.told.append((finding, historic))
            if change is not None:
                self._keep(change.alert)

    def _keep(self, alert: Alert) -> None:
        spans = self.store.told.setdefault(alert.key[:2], [])
        spans[:] = [one for one in spans if one[0] != alert.opened_ms]
        spans.append((alert.opened_ms, alert.resolved_ms))

    async def morning(self, day: int) -> None:
        """Let all meters reach the morning after a day."""
        self.clock.at_ms = FROM_MS + (day + 1) * DAY_MS + MORNING_MS + 60_000
        self.store.series = {
            number: minutes.between(0, self.clock.at_ms) for number, minutes in self.whole.items()
        }
        await self.reach(self.clock.at_ms)

    async def reach(self, at_ms: int) -> None:
        """Let all meters reach a time."""
        self.store.reached = {meter.no: at_ms for meter in self.ledger.meters.values()}
        await self.watch.look()

    def opened_days(self) -> list[float]:
        """Return on which days, counted from the fault, something was raised."""
        return [(f.at_ms - FROM_MS) / DAY_MS - FAULT_DAY for f, _ in self.told if f.active]


async def test_a_lost_string_is_told_once_a_morning_and_then_that_it_is_mended() -> None:
    rig = Rig({"attic": roof(lost=0.4, until=112)})
    for day in range(98, 139):
        await rig.morning(day)
        await rig.watch.look()  # nothing new
    days = rig.opened_days()
    assert 0 < days[0] <= 8
    assert days == sorted(set(days))
    last, historic = rig.told[-1]
    assert not last.active
    assert not historic
    assert "again" in last.detail
    assert not rig.book.open_alerts


@pytest.mark.parametrize("restarts", [False, True])
async def test_days_that_were_missed_are_judged_and_restarts_repeat_none(*, restarts: bool) -> None:
    steady, late = (Rig({"attic": roof(lost=0.4, until=112)}) for _ in range(2))
    for day in range(98, 125):
        await steady.morning(day)
    await late.morning(98)
    for day in (107, 124) if not restarts else (107, 107, 124, 124):
        if restarts:
            late.restart()
        await late.morning(day)
    assert [f for f, _ in late.told] == [f for f, _ in steady.told]
    assert any(historic for _, historic in late.told)  # what is days old is no news
    assert not any(historic for _, historic in steady.told)


async def test_a_recording_is_judged_from_its_first_day_for_the_history() -> None:
    rig = Rig({"tape": roof(lost=0.4)}, recorded=True)
    rig.clock.at_ms = 0  # a recording has times of its own
    await rig.reach(FROM_MS + 141 * DAY_MS)
    assert 0 < rig.opened_days()[0] <= 8
    assert all(historic for _, historic in rig.told)


async def test_a_clock_that_was_ahead_stops_nothing() -> None:
    rig = Rig({"attic": roof(lost=0.4)})
    await rig.morning(90)
    rig.clock.at_ms += 4000 * DAY_MS
    await rig.reach(rig.clock.at_ms)
    assert not rig.told
    for day in range(91, 110):
        await rig.morning(day)
    assert 0 < rig.opened_days()[0] <= 8
    rig.clock.trust = False
    before = len(rig.told)
    await rig.morning(111)
    assert len(rig.told) == before
    rig.clock.trust = True
    await rig.morning(111)
    assert len(rig.told) > before


@pytest.mark.parametrize("zone", ["Australia/Sydney", "America/Los_Angeles", "Europe/Lisbon"])
async def test_a_day_is_the_sites_own_and_ends_in_its_morning(zone: str) -> None:
    plain = roof(lost=0.4)
    rig = Rig({"attic": plain}, zone)
    offset_ms = {"Australia/Sydney": 10, "America/Los_Angeles": -8}.get(zone, 0) * 3_600_000
    rig.store.series[1] = Minutes(plain.start_ms - offset_ms, plain.values)
    first = None
    for day in range(98, 112):
        end_ms = FROM_MS + (day + 1) * DAY_MS - offset_ms
        rig.clock.at_ms = 2**60
        await rig.reach(end_ms + MORNING_MS - 60_000)
        before = len(rig.told)
        await rig.reach(end_ms + MORNING_MS)
        if first is None and len(rig.told) > before:
            first = day
            assert rig.told[0][0].at_ms == end_ms
    reference = Rig({"attic": plain})
    for day in range(98, 112):
        await reference.morning(day)
    assert first is not None
    assert first + 1 - FAULT_DAY == reference.opened_days()[0]


async def test_neighbours_of_other_meters_are_asked_and_ones_own_are_not() -> None:
    shared = {name: roof(seed=seed, sky=5) for name, seed in (("b", 7), ("c", 8))}
    rig = Rig({"attic": roof(sky=5, lost=0.3), **shared})
    for day in range(98, 106):
        await rig.morning(day)
    assert {f.key[0] for f, _ in rig.told} == {"attic"}
    assert "neighbours_pct" in rig.told[0][0].evidence
    alone = Rig({"attic": roof(sky=5, lost=0.3), "b": roof(seed=7, sky=5)})
    await alone.morning(120)
    assert all("neighbours_pct" not in f.evidence for f, _ in alone.told)


async def test_a_silent_or_dark_meter_raises_nothing_and_ends_nothing() -> None:
    minutes = roof(lost=0.4)
    rig = Rig({"attic": minutes})
    for day in range(98, 112):
        await rig.morning(day)
    assert rig.book.open_alerts
    count = len(rig.told)
    blank = minutes.values.copy()
    blank[112 * 48 :] = np.nan
    rig.whole[1] = Minutes(minutes.start_ms, blank)
    for day in range(117, 130):
        await rig.morning(day)
    assert len(rig.told) == count


async def test_a_channel_that_is_no_roof_any_more_loses_its_alert() -> None:
    rig = Rig({"attic": roof(lost=0.4)})
    await rig.morning(110)
    assert [alert.key[2] for alert in rig.book.open_alerts] == [AlertKind.PV_UNDERPERFORMANCE]
    load = MeterInfo("attic", channels={"solar": ChannelInfo("solar", Role.LOAD)})
    rig.ledger.meters["attic"].info = load
    await rig.watch.look()
    assert not rig.book.open_alerts


async def test_a_disk_that_fails_is_tried_again() -> None:
    rig = Rig({"attic": roof()})

    async def fail() -> dict[int, int]:
        msg = "no disk"
        raise StorageError(msg)

    rig.store.judged_days = fail  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="solar"):
        await rig.watch.run()
