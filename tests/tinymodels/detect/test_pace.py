"""The pace of alarms: in the long run as many as are allowed, whatever a home does."""

import math

import msgspec
import numpy as np
import pytest

from tests.tinymodels.detect.homes import MIDNIGHT_MS
from tests.tinymodels.detect.test_alarm import plain
from tinymodels.detect.alarm import Alarm, followed
from tinymodels.detect.contract import Sources
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats
from tinymodels.detect.pace import LEAST, LOUDER, MONTH_MS, MOST, SHARE, SPEND, Pace

SOURCES = Sources(("load", "swell", "rule"), (0, 1, 1), 4.0, frozenset({"rule"}))


def test_an_alarm_asks_more_of_its_source_and_a_part_of_that_of_others() -> None:
    pace = Pace().of(SOURCES).raised(SOURCES, "load")
    assert pace.heard(SOURCES, [1.0, 1.0, 1.0]) == pytest.approx(
        [math.exp(-LOUDER), math.exp(-SHARE * LOUDER), 1.0]
    )


def test_an_alarm_that_was_right_is_as_if_it_had_not_been() -> None:
    before = Pace().of(SOURCES).raised(SOURCES, "swell").aged(SOURCES, DAY_MS)
    after = before.raised(SOURCES, "load").aged(SOURCES, DAY_MS).forgiven(SOURCES, "load")
    expected = before.aged(SOURCES, DAY_MS).heard(SOURCES, [1.0, 1.0, 1.0])
    assert after.heard(SOURCES, [1.0, 1.0, 1.0]) == pytest.approx(expected)
    assert Pace().forgiven(SOURCES, "rule") == Pace().of(SOURCES)


def test_a_rule_is_as_loud_as_ever_and_asks_nothing_of_others() -> None:
    pace = Pace().of(SOURCES)
    assert pace.raised(SOURCES, "rule") is pace
    assert pace.heard(SOURCES, [1.0, 1.0, 3.0]) == [1.0, 1.0, 3.0]


def test_what_alarms_bring_up_falls_by_the_time_the_next_is_allowed() -> None:
    pace = Pace().of(SOURCES)
    months = 12
    for at in range(round(SPEND * SOURCES.alarms_per_month * months)):
        pace = pace.raised(SOURCES, ("load", "swell")[at % 2])
        pace = pace.aged(SOURCES, round(MONTH_MS / SPEND / SOURCES.alarms_per_month))
    load, swell, _ = pace.heard(SOURCES, [1.0, 1.0, 0.0])
    assert load * swell == pytest.approx(1.0, rel=1e-6)


def test_it_neither_falls_nor_rises_for_ever() -> None:
    long_ms = 600 * DAY_MS
    assert Pace().of(SOURCES).aged(SOURCES, long_ms).heard(SOURCES, [1.0, 1.0, 1.0]) == (
        pytest.approx([math.exp(-LEAST), math.exp(-LEAST), 1.0])
    )
    pace = Pace().of(SOURCES)
    for _ in range(100):
        pace = pace.raised(SOURCES, "load")
    assert pace.heard(SOURCES, [1.0, 0.0, 0.0])[0] == pytest.approx(math.exp(-MOST))


def test_it_goes_on_under_a_model_of_other_sources() -> None:
    pace = Pace().of(SOURCES).raised(SOURCES, "load").aged(SOURCES, 30 * DAY_MS)
    heard = pace.heard(SOURCES, [1.0, 1.0, 1.0])
    other = Sources(("swell", "fridge", "load"), (0, 1, 1), 4.0)
    assert pace.of(other).heard(other, [1.0, 1.0, 1.0]) == pytest.approx([heard[1], 1.0, heard[0]])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pace), type=Pace) == pace


def test_a_new_source_begins_where_other_homes_have_come_to() -> None:
    sources = SOURCES._replace(first={"swell": -0.3})
    assert Pace().of(sources).heard(sources, [1.0, 1.0, 1.0]) == pytest.approx(
        [1.0, math.exp(0.3), 1.0]
    )
    known = Pace({"load": 0.2, "swell": 0.1, "rule": 0.0})
    assert known.of(sources) is known


def test_a_model_without_an_allowance_has_no_pace() -> None:
    alone = Sources(("",), (0,))
    pace = Pace().of(alone).raised(alone, "").aged(alone, DAY_MS)
    assert pace == Pace()
    assert pace.heard(alone, [2.0]) == [2.0]
    assert pace.heard_ahead(alone, np.ones((3, 1)), STEP_MS).tolist() == [[1.0]] * 3


def scores_of(months: int, seed: int, times: float) -> Floats:
    """Return months of scores of four sources, each with peaks of hours once a week or so."""
    rng = np.random.default_rng(seed)
    blocks = int(months * MONTH_MS) // STEP_MS // 36
    peaks = np.repeat(rng.lognormal(0.0, 0.4, (blocks, 4)), 36, axis=0)
    return times * peaks * rng.uniform(0.8, 1.0, peaks.shape)


@pytest.mark.parametrize("allowed", [1.0, 4.0])
@pytest.mark.parametrize("times", [0.7, 1.0, 1.5])
def test_as_many_alarms_come_as_are_allowed_however_loud_a_home_is(
    allowed: float, times: float
) -> None:
    model = plain(2, allowed, per_family=2)
    scores = scores_of(36, 3, times)
    starts = MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64)
    found, _ = followed(model, Alarm(), starts, scores)  # type: ignore[arg-type]
    late = [one for one in found if one.from_ms > MIDNIGHT_MS + 24 * MONTH_MS]
    assert 0.6 * allowed <= len(late) / 12 <= 1.3 * allowed


def test_one_source_that_cries_does_not_deafen_the_others() -> None:
    model = plain(2, 4.0, per_family=2)
    scores = scores_of(12, 4, 1.0)
    scores[len(scores) // 2 :, 0] *= 3.0
    starts = MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64)
    alarm = Alarm()
    found, _ = followed(model, alarm, starts, scores)  # type: ignore[arg-type]
    late = [one for one in found if one.from_ms > MIDNIGHT_MS + 6 * MONTH_MS]
    assert len(late) <= 2.5 * 4 * 6
    heard = alarm.pace.heard(model.sources, [1.0] * 4)
    assert heard[0] < 0.6 * min(heard[1:])
