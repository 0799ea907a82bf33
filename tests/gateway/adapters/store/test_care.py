"""The contracts of commands, bundles, calibrations and drift, held by SQL and by memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from calibration.fit import Reference, fit
from calibration.points import Pair, merged
from calibration.sums import ChannelSums, RawSums
from calibration.uncertainty import Instrument
from gateway.adapters.memory_care import (
    MemoryBundles,
    MemoryCalibrations,
    MemoryCommands,
    MemoryDrift,
)
from gateway.adapters.store.bundles import SqlBundles
from gateway.adapters.store.calibrations import SqlCalibrations
from gateway.adapters.store.commands import SqlCommands
from gateway.adapters.store.database import opened
from gateway.adapters.store.drift import SqlDrift
from gateway.pipeline.drift import Day
from gateway.services.bundle_forms import Announced, BundleStore, Progress, Wanted
from gateway.services.calibration_forms import CalibrationStore, Load, Made, Session, shown
from gateway.services.commands import CommandRow, CommandStore
from gateway.services.drift_watch import DriftStore


class Stores(NamedTuple):
    """Both ports over one store."""

    commands: CommandStore
    bundles: BundleStore
    calibrations: CalibrationStore
    drift: DriftStore


@pytest.fixture(params=["sql", "memory"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "sql":
        with opened(tmp_path / "t.db") as database:
            yield Stores(
                SqlCommands(database), SqlBundles(database), SqlCalibrations(database),
                SqlDrift(database),
            )  # fmt: skip
    else:
        calibrations = MemoryCalibrations()
        yield Stores(
            MemoryCommands(), MemoryBundles(), calibrations, MemoryDrift(calibrations=calibrations)
        )


def row(name: str = "a", sent_ms: int = 1000) -> CommandRow:
    return CommandRow(name, "kitchen", "report", "key", 5000, sent_ms, "ada")


async def test_a_command_is_stored_once_and_answered_once(stores: Stores) -> None:
    assert await stores.commands.begin(row(), 0) is None
    assert await stores.commands.begin(row(sent_ms=2000), 0) == row()
    await stores.commands.answered("a", "another", "{}", 1)  # not its command
    await stores.commands.answered("a", "kitchen", '{"ok":true}', 2)
    await stores.commands.answered("a", "kitchen", '{"ok":false}', 3)  # told again
    await stores.commands.answered("nobody's", "kitchen", "{}", 4)
    kept = await stores.commands.begin(row(), 0)
    assert kept is not None
    assert kept.result == '{"ok":true}'
    assert await stores.commands.begin(row("b", 9000), 5000) is None  # forgets older ones
    assert await stores.commands.begin(row("a", 9000), 5000) is None


def bundle(version: int, meter: str = "kitchen") -> Announced:
    return Announced("model", meter, version, 3, "ab", "sig", version * 10, "ada")


async def test_bundles_are_kept_as_long_as_somebody_may_want_them(stores: Stores) -> None:
    shelf = stores.bundles
    for version in (1, 2, 3, 4):
        wanted = Wanted("model", "kitchen", version, version * 10)
        await shelf.put(bundle(version), b"%03d" % version, wanted, 2)
    assert await shelf.body("model", "kitchen", 2) is None
    assert await shelf.body("model", "kitchen", 3) == b"003"
    assert await shelf.body("model", "cellar", 3) is None
    await shelf.want(Wanted("model", "kitchen", 3, 50))
    bundles, wanted_now, _ = await shelf.load()
    assert {one.version for one in bundles} == {3, 4}
    assert [one.version for one in wanted_now] == [3]
    await shelf.put(bundle(5), b"005", Wanted("model", "kitchen", 5, 60), 1)
    assert {one.version for one in (await shelf.load())[0]} == {5}


async def test_the_newest_progress_counts(stores: Stores) -> None:
    shelf = stores.bundles
    await shelf.note(Progress("kitchen", "model", 2, "refused", "hash", "x", 20))
    await shelf.note(Progress("kitchen", "model", 1, "running", "", "", 30))
    await shelf.note(Progress("kitchen", "firmware", 1, "running", "", "", 5, offset=0))
    found = {(one.kind, one.version, one.state) for one in (await shelf.load())[2]}
    assert found == {("model", 1, "running"), ("firmware", 1, "running")}


def calibration(version: int) -> Made:
    def stretch(amps: float) -> RawSums:
        v, i = 991.0, amps / 0.0227
        rows = {"grid": ChannelSums(i + 3.3, 2048.0, v * i, 0.01 * v * i, 0)}
        return RawSums(5, 50.0, v, 2048.0, rows)

    pairs = [Pair(stretch(5.0), Reference(230.0, 5.0, 1150.0 + k)) for k in range(4)]
    record = fit(stretch(0.0), [merged("grid", pairs)], version=version, made="2026-01-01")
    loads = [Load("grid", pairs)]
    return Made(
        "kitchen", version, version * 100, "ada", record, Instrument("PM-231", 1.0, 0.1, 0.1),
        stretch(0.0), loads,
    )  # fmt: skip


async def test_a_calibration_and_its_session_come_back_as_they_were(stores: Stores) -> None:
    store = stores.calibrations
    made = calibration(1)
    instrument = Instrument("PM-231", 1.0, 0.1, 0.1)
    session = Session("kitchen", 5, "ada", instrument, made.no_load, list(made.loads))
    await store.save_session(session, 6)
    assert await store.session("kitchen") == session
    session.version = 1
    await store.keep(made, session)
    await store.keep(calibration(2), None)
    kept = await store.made("kitchen")
    assert [one.version for one in kept] == [2, 1]
    assert shown(kept[1]) == shown(made)
    again = await store.session("kitchen")
    assert again is not None
    assert again.version == 1
    await store.drop_session("kitchen")
    assert await store.session("kitchen") is None
    assert await store.made("cellar") == []


async def test_days_come_back_and_old_ones_go(stores: Stores) -> None:
    for number in (1, 2, 3):
        await stores.drift.add_day("kitchen", Day(number, {number * 24: 230.5}, 0.3, 40), 2)
    days = await stores.drift.days()
    assert set(days["kitchen"]) == {2, 3}
    assert days["kitchen"][3] == Day(3, {72: 230.5}, 0.3, 40)
    assert await stores.drift.calibrated_ms() == {}


async def test_drift_counts_from_when_a_calibration_was_given_to_the_meter(stores: Stores) -> None:
    for version in (9, 10):
        await stores.calibrations.keep(calibration(version), None)
    assert await stores.drift.calibrated_ms() == {"kitchen": 1000}
    again = msgspec.structs.replace(calibration(9), version=11, since_ms=5000)
    await stores.calibrations.keep(again, None)
    assert (await stores.calibrations.made("kitchen"))[0].made_ms == 900
    assert await stores.drift.calibrated_ms() == {"kitchen": 5000}
