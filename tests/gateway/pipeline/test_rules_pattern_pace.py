"""The pattern rule's alerts set their own pace, which outlives restarts and models."""

from typing import cast

import pytest

from tests.gateway.pipeline.test_rules_pattern import HOUR_MS, Silent, Two, home, judge_by
from tests.support.judging import alerts, findings
from tinymodels.detect.contract import Model, Sources, Verdict
from tinymodels.detect.minutes import Row
from tinymodels.detect.pace import Pace


class Paced(Two):
    """One whose alarms set a pace; a second loud spell comes a day after the first."""

    sources = Sources(("power", "voltage"), (0, 1), 4.0)

    def step(self, _: object, _row: Row) -> Verdict | None:
        hours = (_row.start_ms - self.trained[1]) / HOUR_MS
        loud = 0 < hours < 2 or 24 < hours < 26
        parts = (1.02 * self.limit * loud, 0.0)
        return Verdict(max(parts), max(parts) > self.limit, parts)


def test_what_raised_an_alert_must_be_louder_for_the_next() -> None:
    stream = home(13, 15.3)
    (only,) = alerts(judge_by(Paced()), stream)
    assert (only.opened_ms - Silent.trained[1]) / HOUR_MS < 1
    assert len(alerts(judge_by(Unpaced()), stream)) == 2


class Unpaced(Paced):
    """The same where nobody counts alarms."""

    sources = Sources(("power", "voltage"), (0, 1))


def test_the_pace_outlives_restarts_and_models() -> None:
    stream = home(13, 15.3)
    whole = judge_by(Paced())
    told = findings(whole, stream)
    half = judge_by(Paced())
    before = findings(half, stream[:500])
    again = judge_by(Paced())
    again.load(half.dump())
    again.set_model("grid", cast("Model", Paced()))
    assert before + findings(again, stream[500:]) == told
    assert again.pace("grid") == whole.pace("grid") != Pace()
    assert set(again.pace("grid").louder) == {"power", "voltage"}
    assert again.pace("nowhere") == Pace()


def test_an_alert_that_was_right_does_not_make_the_next_one_rarer() -> None:
    stream = home(13, 15.3)
    day = next(k for k, one in enumerate(stream) if one.at_ms > Silent.trained[1] + 20 * HOUR_MS)
    judge = judge_by(Paced())
    (first,) = alerts(judge, stream[:day])
    before = judge.pace("grid")
    assert judge.heed("grid", first.opened_ms, right=True)
    assert not judge.heed("grid", first.opened_ms, right=True)  # said twice, heeded once
    assert judge.pace("grid").louder["power"] < before.louder["power"]
    again = judge_by(Paced())
    again.load(judge.dump())
    again.set_model("grid", cast("Model", Paced()))
    assert len(alerts(again, stream[day:])) == 1


def test_a_verdict_that_is_taken_back_counts_no_more() -> None:
    judge = judge_by(Paced())
    (alert,) = alerts(judge, home(13, 14.5))
    before = judge.pace("grid").heard(Paced.sources, [1.0, 1.0])
    assert not judge.heed("grid", alert.opened_ms, right=False)  # which is what it counted as
    assert judge.heed("grid", alert.opened_ms, right=True)
    assert judge.heed("grid", alert.opened_ms, right=False)
    assert judge.pace("grid").heard(Paced.sources, [1.0, 1.0]) == pytest.approx(before)


def test_a_verdict_on_what_is_not_known_changes_nothing() -> None:
    judge = judge_by(Paced())
    (alert,) = alerts(judge, home(13, 14.5))
    assert not judge.heed("grid", alert.opened_ms + 1, right=True)
    assert not judge.heed("roof", alert.opened_ms, right=True)
