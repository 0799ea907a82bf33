"""The judge of one meter: order, holes, late and old data, state, adoption."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Mark, Stored
from gateway.pipeline.judge import MeterJudge
from tests.support.judging import (
    METER,
    NOON_MS,
    alerts,
    channel,
    findings,
    judge_for,
    of_kind,
    reading,
    stream,
)

HOUR_MS = 3_600_000


def test_an_ordinary_day_is_no_news() -> None:
    wild = random.Random(2)
    readings = []
    for k in range(8640):
        power_w = wild.uniform(100, 3000)
        ch = {"grid": channel(power_w, power_w / 225), "load1": channel(power_w / 2)}
        v, f = wild.gauss(231, 3), wild.gauss(50, 0.03)
        readings.append(reading(NOON_MS + k * 10_000, 10_000, v=v, f=f, ch=ch))
    judge = judge_for(daily_limit_kwh=100, contracted_power_w=6900)
    assert findings(judge, readings) == []
    assert len(judge.dump()) < 4096


def test_a_lasting_condition_is_renewed_every_five_minutes_at_most() -> None:
    found = findings(judge_for(), stream(NOON_MS, 3600, v=0.0))
    times = [finding.at_ms for finding in found]
    assert len(times) == 12
    assert min(b - a for a, b in pairwise(times)) >= 300_000
    assert [finding.fresh for finding in found] == [True] + [False] * 11


def test_late_readings_get_the_stateless_rules_only() -> None:
    judge = judge_for()
    findings(judge, stream(NOON_MS, 600))
    for marks, at_ms in ((Mark.LATE, NOON_MS + 601_000), (0, NOON_MS - HOUR_MS)):
        late = reading(at_ms, 5000, v=0.0, marks=marks, received_ms=NOON_MS + HOUR_MS)
        before = judge.dump()
        raised, over = judge.judge(late)
        assert (raised.active, over.active) == (True, False)
        assert raised.key == ("home", "", AlertKind.OUTAGE)
        assert raised.at_ms == at_ms
        assert raised.evidence["came_late_s"] == (NOON_MS + HOUR_MS - at_ms) / 1000
        assert judge.dump() != before  # it remembers having told this event
        assert judge.judge(late) == []
    assert findings(judge, stream(NOON_MS + 610_000, 60)) == []


def test_late_readings_of_each_kind_and_of_a_running_alert() -> None:
    judge = judge_for()
    findings(judge, stream(NOON_MS, 60))
    wild = {"load1": channel(7000.0, 30.0)}
    late = reading(NOON_MS - HOUR_MS, 60_000, v=270.0, f=46.0, ch=wild, marks=Mark.LATE)
    kinds = {finding.key[2] for finding in judge.judge(late)}
    assert kinds == {AlertKind.OVER_VOLTAGE, AlertKind.FREQUENCY, AlertKind.OVER_CURRENT}
    findings(judge, stream(NOON_MS + 60_000, 60, v=0.0))  # an outage is on
    dark = reading(NOON_MS - 2 * HOUR_MS, 60_000, v=0.0, marks=Mark.LATE)
    assert judge.judge(dark) == []


def test_a_thousand_late_readings_of_one_outage_are_one_event() -> None:
    judge = judge_for()
    findings(judge, stream(NOON_MS, 60))
    backlog = stream(NOON_MS - HOUR_MS, 800, v=0.0, marks=Mark.LATE)
    (alert,) = alerts(judge, backlog)
    assert alert.state is AlertState.RESOLVED


def test_old_data_and_recorded_meters_are_history() -> None:
    judge = judge_for()
    assert not judge.historic(reading(NOON_MS, received_ms=NOON_MS + 900_000))
    assert judge.historic(reading(NOON_MS, received_ms=NOON_MS + 900_001))
    recorded = judge_for(MeterInfo("home", recorded=True))
    assert recorded.historic(reading(NOON_MS))


def test_a_hole_is_no_proof_but_does_not_end_an_alert() -> None:
    judge = judge_for()
    hot = {"load1": channel(3700.0, 17.0)}
    assert findings(judge, stream(NOON_MS, 50, ch=hot)) == []
    assert findings(judge, stream(NOON_MS + 3_650_000, 50, ch=hot)) == []
    (over,) = findings(judge, stream(NOON_MS + 3_700_000, 20, ch=hot))
    assert over.active
    later = NOON_MS + 10 * HOUR_MS
    assert findings(judge, stream(later, 59, ch={"load1": channel(100.0)})) == []
    (end,) = findings(judge, stream(later + 59_000, 1, ch={"load1": channel(100.0)}))
    assert not end.active


def test_time_counts_once_however_readings_overlap() -> None:
    judge = judge_for()
    hot = {"load1": channel(3700.0, 17.0)}
    overlapping = [reading(NOON_MS + k * 100, 10_000, ch=hot) for k in range(1, 400)]
    assert findings(judge, overlapping) == []  # 50 s in all
    same = [reading(NOON_MS + 39_900, 10_000, ch=hot)] * 20
    assert findings(judge, same) == []


def test_a_new_rating_and_role_apply_from_the_next_reading() -> None:
    judge = judge_for()
    load = {"load1": channel(3700.0, 17.0)}
    judge.update_meter(MeterInfo("home", channels={"load1": ChannelInfo("load1", Role.LOAD, 25.0)}))
    assert findings(judge, stream(NOON_MS, 300, ch=load)) == []
    judge.update_meter(METER)
    (over,) = findings(judge, stream(NOON_MS + 300_000, 60, ch=load))
    judge.update_meter(MeterInfo("home", channels={"load1": ChannelInfo("load1", Role.LOAD, 25.0)}))
    (end,) = findings(judge, stream(NOON_MS + 360_000, 60, ch=load))
    assert (over.active, end.active) == (True, False)


@pytest.mark.parametrize("state", [b"", b"junk", b"\x90", b"\x91\x63", b"\x92\x00\x01"])
def test_a_state_of_another_version_starts_fresh(state: bytes) -> None:
    judge = judge_for()
    findings(judge, stream(NOON_MS, 60, v=0.0))
    judge.load(state)
    assert judge.dump() == judge_for().dump()


def test_open_alerts_adopted_by_a_fresh_judge_clear() -> None:
    kinds = [
        ("", AlertKind.OUTAGE),
        ("", AlertKind.OVER_VOLTAGE),
        ("", AlertKind.UNDER_VOLTAGE),
        ("", AlertKind.FREQUENCY),
        ("", AlertKind.SENSOR_FAULT),
        ("grid", AlertKind.OVER_CURRENT),
        ("load1", AlertKind.REVERSE_CT),
        ("load1", AlertKind.LOW_POWER_FACTOR),
        ("load1", AlertKind.SENSOR_FAULT),
    ]
    left = [
        Alert(
            id=f"{k}", key=("home", name, kind), severity=Severity.WARNING, state=AlertState.OPEN,
            opened_ms=NOON_MS - 1, updated_ms=NOON_MS, resolved_ms=None, count=1, title="",
            detail="", evidence={},
        )
        for k, (name, kind) in enumerate(kinds)
    ]  # fmt: skip
    strange = ("home", "", AlertKind.METER_SILENT)
    judge = judge_for()
    other = Alert(**{**{f: getattr(left[0], f) for f in Alert.__slots__}, "key": strange})
    assert judge.adopt([*left, other]) == [strange]
    ch = {"grid": channel(500.0), "load1": channel(1000.0)}
    moving = [
        reading(at_ms, v=230 + at_ms // 1000 % 3, ch={**ch, "load1": channel(1000.0 + k)})
        for k, at_ms in enumerate(range(NOON_MS + 1000, NOON_MS + 900_000, 1000))
    ]
    found = findings(judge, moving)
    assert not any(finding.active for finding in found)
    assert {finding.key for finding in found} == {alert.key for alert in left}


def noisy(seed: int, count: int) -> list[Stored]:
    """Return a wild stream: holes, nulls, jumps back, channels that come and go, faults."""
    wild = random.Random(seed)
    at_ms, readings, mood = NOON_MS, [], {"v": 230.0, "f": 50.0, "p": 500.0}
    for row in range(count):
        dt_ms = wild.choice([1000, 1000, 1000, 10_000, 60_000, 900_000])
        at_ms += dt_ms + wild.choice([0, 0, 0, 0, 3, 5000, 4 * HOUR_MS])
        if wild.random() < 0.1:
            mood["v"] = wild.choice([230.0, 230.0, 0.0, 200.0, 258.0, 268.0])
            mood["f"] = wild.choice([50.0, 50.0, 49.3, 53.0, 0.0])
            mood["p"] = wild.choice([500.0, 5000.0, -900.0, 0.0])
        v = None if wild.random() < 0.05 else mood["v"]
        power_w = mood["p"] + wild.gauss(0, 5)
        factor = wild.choice([1.0, 0.6])
        some = Channel(
            i=abs(power_w) / 230 / factor, p=power_w, wh_in=1000.0 + row, wh_out=None,
            v=wild.choice([None, None, 231.0]),
        )  # fmt: skip
        ch = {name: some for name in ("grid", "load1", "solar") if wild.random() < 0.8}
        flags = ("clip",) if wild.random() < 0.2 else ()
        marks = wild.choice([0, 0, 0, 0, Mark.PHYSICS, Mark.LATE])
        back_ms = wild.choice([0, 0, 0, 0, 0, 0, 0, 7_200_000])
        readings.append(
            reading(
                at_ms - back_ms,
                dt_ms,
                v=v,
                f=mood["f"],
                ch=ch or {"grid": some},
                flags=flags,
                marks=marks,
                row=row,
            )
        )
    return readings


def strict_judge() -> MeterJudge:
    return judge_for(daily_limit_kwh=5.0, contracted_power_w=3000.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 400), min_size=1, max_size=5))
def test_a_crash_and_reload_at_any_cut_changes_nothing(seed: int, cuts: list[int]) -> None:
    readings = noisy(seed, 400)
    whole = strict_judge()
    expected = findings(whole, readings)
    judge, found = strict_judge(), []
    for k, one in enumerate(readings):
        if k in cuts:
            state = judge.dump()
            judge = strict_judge()
            judge.load(state)
        found += judge.judge(one)
    assert found == expected
    assert judge.dump() == whole.dump()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_each_key_is_raised_and_cleared_in_turn(seed: int) -> None:
    on: set[object] = set()
    for finding in findings(judge_for(daily_limit_kwh=5.0), noisy(seed, 400)):
        assert finding.fresh is (finding.active and finding.key not in on)
        assert finding.active or finding.key in on
        (on.add if finding.active else on.discard)(finding.key)
        assert finding.title
        assert finding.detail.endswith((".", "now.", "failing)."))
        assert finding.evidence["since_ms"] is not None


def test_a_fault_that_nobody_watches_is_not_said_of_missing_values() -> None:
    nothing = Channel(i=None, p=None, wh_in=None, wh_out=None)
    judge = judge_for(daily_limit_kwh=1.0)
    found = findings(judge, stream(NOON_MS, 7200, 60_000, v=None, f=None, ch={"grid": nothing}))
    assert found == []
    assert of_kind(AlertKind.OUTAGE, found) == []
