"""The drift watch gathers days from readings, keeps them, and raises and ends alerts."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from calibration.nominal import nominal_record
from gateway.adapters.memory_care import MemoryDrift
from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Stored
from gateway.pipeline.drift import DAY_MS, MARK, Day
from gateway.services.calibration_forms import Made
from gateway.services.drift_watch import DriftWatch, main_channel
from gateway.services.ledger import Ledger, Meter

FIRST = 20_000
GRID = MeterInfo("m0", channels={"pump": ChannelInfo("pump", Role.LOAD),
                                 "mains": ChannelInfo("mains", Role.GRID)})  # fmt: skip


class Rig:
    """A watch over memory; `say` lets the meter give a reading."""

    def __init__(self, clamp: float, since: int = 40, days: int = 60) -> None:
        random = np.random.default_rng(2)
        slopes = [0.3 * (1 + random.normal(0, 0.02)) / (clamp if d >= since else 1)
                  for d in range(days)]  # fmt: skip
        kept = {FIRST + d: Day(FIRST + d, {}, float(slope), 50) for d, slope in enumerate(slopes)}
        self.store = MemoryDrift({"m0": kept})
        self.ledger = Ledger()
        self.ledger.meters["m0"] = Meter(1, GRID)
        self.ledger.meters["tape"] = Meter(2, MeterInfo("tape", recorded=True))
        self.reported: list[Finding] = []
        self.deriver = SimpleNamespace(
            latest={}, loaded=asyncio.Event(), report=self._report,
            desk=SimpleNamespace(book=SimpleNamespace(open_alerts=[])),
        )  # fmt: skip
        self.deriver.loaded.set()
        self.watch = DriftWatch(self.store, cast("Any", self.deriver), lambda: self.ledger)
        self.row = 0

    async def _report(self, findings: list[Finding]) -> None:
        self.reported += findings

    def say(self, at_ms: int, *, late_ms: int = 0, meter: str = "m0") -> None:
        self.row += 1
        channels = {"mains": Channel(i=4.0, p=900.0, wh_in=None, wh_out=None)}
        self.deriver.latest[meter] = Stored(
            self.row, meter, 1, self.row, 1, 0, at_ms, at_ms, at_ms + late_ms, 1000, 0, 230.0, 50.0,
            channels,
        )  # fmt: skip

    async def end_of_day(self, number: int) -> None:
        """Let a day begin and the next one, while the watch runs."""
        task = asyncio.create_task(self.watch.run())
        await asyncio.sleep(0.01)
        self.say(number * DAY_MS + 5000)
        self.watch.look()
        self.say((number + 1) * DAY_MS + 5000)
        for meter, day in self.watch.look():
            await self.watch._close(meter, day)  # noqa: SLF001 - a day takes a day otherwise
        task.cancel()


async def test_a_clamp_that_moved_raises_an_alert_and_a_new_calibration_ends_it() -> None:
    rig = Rig(clamp=0.6)
    await rig.end_of_day(FIRST + 60)
    (told,) = rig.reported
    assert told.key == ("m0", "mains", AlertKind.SENSOR_FAULT)
    assert told.active
    assert FIRST + 60 in (await rig.store.days())["m0"]
    ours = SimpleNamespace(key=told.key, evidence={"check": MARK})
    others = SimpleNamespace(key=("m0", "pump", AlertKind.SENSOR_FAULT), evidence={})
    rig.deriver.desk.book.open_alerts = [ours, others]
    record = nominal_record(["mains"], 1)
    made = Made("m0", 1, FIRST * DAY_MS, "ada", record, since_ms=(FIRST + 59) * DAY_MS)
    await rig.store.calibrations.keep(made, None)  # an old one, given again yesterday
    rig.reported.clear()
    await rig.end_of_day(FIRST + 61)
    (over,) = rig.reported
    assert (over.key, over.active) == (told.key, False)


async def test_a_healthy_meter_is_left_alone() -> None:
    rig = Rig(clamp=1.0)
    await rig.end_of_day(FIRST + 60)
    assert not rig.reported


async def test_what_is_late_recorded_or_known_is_not_gathered() -> None:
    rig = Rig(clamp=1.0)
    rig.say(FIRST * DAY_MS, late_ms=60_000)
    rig.say(FIRST * DAY_MS, meter="tape")
    assert rig.watch.look() == []
    assert not rig.watch._open  # noqa: SLF001 - nothing begun is nothing seen


def test_the_clamp_whose_current_loads_the_supply() -> None:
    assert main_channel(GRID) == "mains"
    assert main_channel(MeterInfo("x")) == "grid"
