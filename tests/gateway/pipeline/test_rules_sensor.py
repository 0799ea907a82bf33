"""Sensor faults: clipping, readings against physics, values that stand still."""

import random

import pytest

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.readings import Channel, Mark, Stored
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


def quarters(count: int, ch: Channel, *, v: float | None = None, first: int = 0) -> list[Stored]:
    """Return quarter hours, as a table has them."""
    return [
        reading(NOON_MS + k * 900_000, 900_000, v=v and v + k % 9, f=None, ch={"load1": ch})
        for k in range(first, first + count)
    ]


@pytest.mark.parametrize(
    ("ch", "voltage_v", "said"),
    [
        (Channel(None, 11_080.0, 1.0, 0.0), None, "exactly 11080 W for 24.0 h: the sensor"),
        (Channel(134.7, None, 1.0, 0.0), 231.0, "exactly 134.7 A for 24.0 h while the voltage"),
    ],
    ids=["power", "current"],
)
def test_a_table_s_value_that_stands_still_for_a_day_is_frozen(
    ch: Channel, voltage_v: float | None, said: str
) -> None:
    judge = judge_for()
    assert of(findings(judge, quarters(96, ch, v=voltage_v))) == []
    (frozen,) = of(findings(judge, quarters(1, ch, v=voltage_v, first=96)))
    assert said in frozen.detail
    again = Channel(ch.i and 130.0, ch.p and 9000.0, 1.0, 0.0)
    (over,) = of(findings(judge, quarters(1, again, v=voltage_v, first=97)))
    assert not over.active


@pytest.mark.parametrize(
    "ch",
    [
        Channel(None, 2100.0, 1.0, 0.0),  # a meter that rounds to 100 W
        Channel(None, 55.0, 1.0, 0.0),  # what stands by
        Channel(4.8, None, 1.0, 0.0),
        Channel(None, 0.0, 1.0, 0.0),
    ],
    ids=["coarse", "small", "few amperes", "nothing"],
)
def test_a_day_of_a_coarse_or_small_value_is_no_fault(ch: Channel) -> None:
    assert of(findings(judge_for(), quarters(200, ch, v=231.0))) == []


def of(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.key[2] is AlertKind.SENSOR_FAULT]


def test_a_temperature_that_cannot_be_is_a_stuck_sensor() -> None:
    judge = judge_for()

    def oil(minute: int, degrees_c: float, name: str = "oil_temp") -> list[Finding]:
        at_ms = NOON_MS + minute * 60_000
        return of(judge.judge(reading(at_ms, 60_000, aux={name: degrees_c})))

    assert [oil(minute, 61.5) for minute in range(20)] == [[]] * 20
    assert [oil(minute, 244.0, "oil_level") for minute in range(20, 40)] == [[]] * 20
    assert [oil(minute, 244.0) for minute in range(40, 49)] == [[]] * 9
    (stuck,) = oil(49, 246.0)
    assert stuck.key == ("home", "", AlertKind.SENSOR_FAULT)
    assert stuck.detail.startswith("oil_temp has been at 246 °C for 10 min, above the 180 °C")
    assert stuck.evidence["limit_c"] == 180.0
    assert [oil(minute, 62.0) for minute in range(50, 59)] == [[]] * 9
    (over,) = oil(59, 62.0)
    assert not over.active
    (cold,) = [one for minute in range(60, 70) for one in oil(minute, -242.0)]
    assert "below the -60 °C" in cold.detail
