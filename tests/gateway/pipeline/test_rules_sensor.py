"""Sensor faults: clipping, readings against physics, values that stand still."""

import random

from gateway.domain.alerts import AlertKind
from gateway.domain.readings import Mark, Stored
from tests.support.judging import NOON_MS, channel, findings, judge_for, reading, stream


def test_a_minute_of_clipping_is_a_fault_and_one_second_is_not() -> None:
    judge = judge_for()
    assert findings(judge, stream(NOON_MS, 1, flags=("clip",))) == []
    assert findings(judge, stream(NOON_MS + 1000, 59)) == []
    (clip,) = findings(judge, stream(NOON_MS + 60_000, 60, flags=("clip", "other")))
    assert clip.key == ("home", "", AlertKind.SENSOR_FAULT)
    assert "clipped" in clip.detail
    (over,) = findings(judge, stream(NOON_MS + 120_000, 700))
    assert not over.active


def test_power_above_volt_amperes_for_ten_minutes_names_the_channel() -> None:
    ch = {"grid": channel(500.0), "load1": channel(900.0, 2.0)}
    judge = judge_for()
    assert findings(judge, stream(NOON_MS, 599, ch=ch, marks=Mark.PHYSICS)) == []
    (wrong,) = findings(judge, stream(NOON_MS + 599_000, 1, ch=ch, marks=Mark.PHYSICS))
    assert wrong.evidence["channel"] == "load1"
    assert wrong.evidence["power_w"] == 900.0
    assert wrong.evidence["limit_va"] == 460.0


def wandering(hours: float, power_w: float | None, current_a: float = 4.0) -> list[Stored]:
    wild = random.Random(3)
    return [
        reading(
            NOON_MS + k * 10_000,
            10_000,
            v=wild.uniform(225, 235),
            ch={"load1": channel(power_w or wild.uniform(880, 920), current_a)},
        )
        for k in range(1, round(hours * 360))
    ]


def test_power_that_stands_still_while_the_voltage_moves_is_frozen() -> None:
    judge = judge_for()
    (frozen, *updates) = findings(judge, wandering(1.2, 900.0))
    assert frozen.key == ("home", "load1", AlertKind.SENSOR_FAULT)
    assert frozen.detail.startswith("Circuit load1 has shown exactly 900 W for 60 min")
    assert all(finding.active for finding in updates)
    later = reading(NOON_MS + 5 * 3_600_000, 10_000, ch={"load1": channel(880.0)})
    assert [finding.active for finding in judge.judge(later)] == [False]


def test_power_that_moves_an_idle_channel_and_a_constant_test_signal_are_no_fault() -> None:
    assert findings(judge_for(), wandering(3, None)) == []
    assert findings(judge_for(), wandering(3, 0.5, 0.01)) == []
    assert findings(judge_for(), stream(NOON_MS, 3 * 3600, 10_000)) == []
