"""A session's steps in the daemon: kept, gone on with, refused in words, checked, taken back."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from calibration.nominal import nominal_channel
from gateway.domain.errors import BadInputError, NotFoundError
from tests.gateway.services.calibrating_rig import INSTRUMENT, Rig


async def test_a_whole_session() -> None:
    rig = Rig()
    await rig.measured(0.3, 1.0, 5.0)
    again = await rig.op("begin", instrument=INSTRUMENT)  # interrupted: it goes on
    assert [round(one["i"], 1) for one in again["loads"]] == [0.3, 1.0, 5.0]
    made = await rig.op("finish")
    assert made["version"] == 5  # above the meter's own
    assert [one["version"] for one in rig.desired] == [5]
    assert (await rig.op("finish"))["version"] == 5  # killed and asked again: the same one
    assert (await rig.op("status"))["state"] == "announced"
    told = {"kind": "model", "bundle": "calibration", "version": 5, "ok": True}
    rig.rollout.event("kitchen", told)
    assert (await rig.op("status"))["state"] == "running"
    shown = {"v": 230.0, "i": 3.0, "p": 692.0, "q": 0.0}
    check = await rig.op("check", channel="grid", pairs=await rig.pairs(3.0), shown=shown)
    assert check["passed"]
    assert check["error_pct"] == pytest.approx(100 * 2 / 690, rel=1e-6)
    await rig.op("drop")
    with pytest.raises(NotFoundError, match="no calibration has been begun"):
        await rig.op("finish")  # it is over
    page = (await rig.op("certificate"))["html"]
    assert "agrees" in page
    assert "PM-231" in page
    assert (await rig.op("show"))["state"] == "running"
    assert rig.audit == ["ada calibration.finish kitchen version 5"] * 2


async def test_a_check_that_fails_keeps_the_session() -> None:
    rig = Rig()
    await rig.measured(1.0, 5.0)
    await rig.op("finish")
    wrong = {"v": 230.0, "i": 3.0, "p": 700.0, "q": 0.0}
    check = await rig.op("check", channel="grid", pairs=await rig.pairs(3.0), shown=wrong)
    assert not check["passed"]
    assert (await rig.op("begin", instrument=INSTRUMENT))["version"] == 5
    assert (await rig.op("begin", instrument=INSTRUMENT, fresh=True))["version"] == 0


async def test_two_loads_that_are_apart_are_the_least() -> None:
    rig = Rig()
    await rig.measured(1.0)
    with pytest.raises(BadInputError, match="grid: 2 loads are the least"):
        await rig.op("finish")
    await rig.op("load", channel="grid", pairs=await rig.pairs(1.1))
    with pytest.raises(BadInputError, match="20 % apart"):
        await rig.op("finish")
    assert not rig.desired
    await rig.op("load", channel="grid", pairs=await rig.pairs(5.0))
    assert (await rig.op("finish"))["version"] == 5


async def test_another_reference_is_refused_where_something_was_measured() -> None:
    rig = Rig()
    await rig.op("begin", instrument=INSTRUMENT)
    await rig.op("begin", instrument={**INSTRUMENT, "name": "PM-230"})  # nothing is lost by it
    await rig.measured(1.0)
    for changed, words in (
        ({"class_pct": 1.0}, "another reference: --class 0.2, now 1. Give"),
        (
            {"name": "", "digit_p": 1},
            "--reference 'PM-231', now '', --digits 0 0, now 0 1. Give",
        ),
    ):
        with pytest.raises(BadInputError, match=re.escape(words)):
            await rig.op("begin", instrument={**INSTRUMENT, **changed})
    assert len((await rig.op("begin", instrument=INSTRUMENT))["loads"]) == 1
    other = await rig.op("begin", instrument={**INSTRUMENT, "class_pct": 1.0}, fresh=True)
    assert other["loads"] == []


async def test_back_to_the_one_before_under_a_new_version() -> None:
    rig = Rig()
    await rig.measured(1.0, 5.0)
    await rig.op("finish")
    await rig.op("begin", instrument=INSTRUMENT, fresh=True)
    rig.off = 1.01
    await rig.measured(1.0, 5.0)
    assert (await rig.op("finish"))["version"] == 6
    rig.now.wall += 3_600_000
    back = await rig.op("rollback")
    assert (back["version"], back["note"]) == (7, "as version 5")
    first = await rig.op("show", version=5)
    assert back["made"] == first["made"]  # the report's date
    assert rig.store.kept["kitchen", 7].in_force_ms == rig.now.wall
    assert back["record"]["channels"] == first["record"]["channels"]
    assert [one["version"] for one in rig.desired] == [7]
    states = [(one["version"], one["state"]) for one in (await rig.op("list"))["items"]]
    assert states == [(7, "announced"), (6, "earlier"), (5, "earlier")]


async def test_the_first_one_goes_back_to_nominal_parts() -> None:
    rig = Rig()
    rig.runs, rig.obeys = 0, True
    with pytest.raises(NotFoundError, match="no calibration that was made here"):
        await rig.op("rollback")
    rig.off = 1.2
    await rig.measured(1.0, 5.0)
    await rig.op("finish")
    back = await rig.op("rollback")
    assert (back["version"], back["note"]) == (2, "nominal parts, as before version 1")
    assert back["record"]["channels"] == msgspec.to_builtins([nominal_channel("grid")])
    assert (back["reference"], back["points"], back["loads"]) == (None, [], [])
    await asyncio.sleep(0)  # the meter obeys
    await rig.stretches(1.0, 1)
    assert rig.reads("grid").p == pytest.approx(230 * 1.2, rel=0.02)
    assert (await rig.op("show"))["state"] == "running"
    with pytest.raises(NotFoundError, match="nothing was measured"):
        await rig.op("certificate")
    assert (await rig.op("certificate", version=1))["version"] == 1
    assert (await rig.op("rollback"))["note"] == "as version 1"  # and there again


async def test_what_was_taken_back_is_not_gone_on_with() -> None:
    rig = Rig()
    await rig.measured(1.0, 5.0)
    await rig.op("finish")
    await rig.op("rollback")
    assert (await rig.op("begin", instrument=INSTRUMENT))["version"] == 0
    await rig.measured(1.0)
    await rig.op("rollback")
    again = await rig.op("begin", instrument=INSTRUMENT)
    assert len(again["loads"]) == 1  # what is being measured stays


async def test_steps_in_the_wrong_order_and_wrong_measurements() -> None:
    rig = Rig()
    with pytest.raises(NotFoundError):
        await rig.op("load", channel="grid", pairs=await rig.pairs(1.0))
    await rig.op("begin", instrument=INSTRUMENT)
    with pytest.raises(BadInputError, match="measure without load first"):
        await rig.op("load", channel="grid", pairs=await rig.pairs(1.0))
    with pytest.raises(BadInputError, match="flow although nothing should"):
        await rig.op("no_load", parts=await rig.stretches(1.0))
    await rig.op("no_load", parts=await rig.stretches(0.0))
    with pytest.raises(BadInputError, match="no load was measured"):
        await rig.op("finish")
    good = await rig.pairs(5.0)
    rig.off = -1.0
    with pytest.raises(BadInputError, match="wrong way round"):
        await rig.op("load", channel="grid", pairs=await rig.pairs(1.0))
    await rig.op("load", channel="grid", pairs=await rig.pairs(1.0), reversed=True)
    with pytest.raises(BadInputError, match="both directions"):
        await rig.op("load", channel="grid", pairs=good)
    rig.refusal = "no mains voltage was seen"
    with pytest.raises(BadInputError, match="no mains voltage was seen"):
        await rig.op("collect", seconds=5)


async def test_arguments_are_checked() -> None:
    rig = Rig()
    await rig.op("begin", instrument=INSTRUMENT)
    for name, args in (
        ("begin", {"instrument": {**INSTRUMENT, "class_pct": 11}}),
        ("begin", {"instrument": 1}),
        ("collect", {"seconds": "5"}),
        ("collect", {"seconds": 31}),
        ("no_load", {"parts": []}),
        ("no_load", {"parts": [{"windows": 1}]}),
        ("load", {"channel": "grid", "pairs": []}),
        ("show", {"version": "1"}),
        ("show", {"id": 5}),
    ):
        with pytest.raises(BadInputError):
            await rig.op(name, **cast("dict[str, object]", args))
    with pytest.raises(NotFoundError, match="has no calibration"):
        await rig.op("show")


async def test_what_the_meter_shows_is_of_that_moment() -> None:
    rig = Rig()
    channel = SimpleNamespace(i=3.0, p=690.0, q=1.0)
    readings = [
        SimpleNamespace(up_ms=up, dt_ms=1000, v=230.0, ch={"grid": channel})
        for up in (900, 1005, 2005)
    ]
    calls = iter([*readings, *[readings[-1]] * 1000])
    rig.calibrating._latest = lambda _: cast("Any", next(calls))  # noqa: SLF001 - its port
    rig.amps = {"grid": 3.0}
    collecting = asyncio.create_task(rig.op("collect", seconds=5, shown=True))
    await asyncio.sleep(0.3)
    assert not collecting.done()  # two readings are few
    third = SimpleNamespace(up_ms=3005, dt_ms=1000, v=230.0, ch={"grid": channel})
    rig.calibrating._latest = lambda _: cast("Any", third)  # noqa: SLF001 - its port
    found = await collecting
    assert found["shown"]["grid"] == {"v": 230.0, "i": 3.0, "p": 690.0, "q": 1.0}
