"""An alarm that goes through a month and through its faults is the one that hears all of it."""

import numpy as np
import pytest

from tests.tinymodels.detect.homes import MIDNIGHT_MS
from tests.tinymodels.detect.test_alarm import plain
from tinymodels.detect.alarm import Alarm, followed
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Times
from tinymodels.train.listener import Listener

FROM_MS = MIDNIGHT_MS + 10 * DAY_MS
TO_MS = FROM_MS + 30 * DAY_MS


def scores_of(seed: int) -> tuple[Times, Floats]:
    """Return scores of fifty days, ten of them before the month; three sources."""
    rng = np.random.default_rng(seed)
    scores = np.repeat(rng.lognormal(0.0, 0.5, (50 * 24, 3)), 12, axis=0)
    return MIDNIGHT_MS + STEP_MS * np.arange(len(scores), dtype=np.int64), scores


@pytest.mark.parametrize("seed", range(4))
def test_a_fault_is_heard_as_if_the_whole_month_had_been_heard_again(seed: int) -> None:
    model = plain(3, 4.0)
    starts, clean = scores_of(seed)
    begins_ms = [FROM_MS + day * DAY_MS + 7 * 60_000 for day in (0, 3, 17, 29)]
    listener = Listener()
    listener.month(model, (starts, clean), (FROM_MS, TO_MS), begins_ms)  # type: ignore[arg-type]
    for begin_ms in begins_ms:
        faulty = clean.copy()
        during = (starts + STEP_MS > begin_ms) & (starts < begin_ms + DAY_MS)
        faulty[during, 1] *= 3.0
        alarm = Alarm()
        before = starts < FROM_MS
        followed(model, alarm, starts[before], clean[before])  # type: ignore[arg-type]
        alarm.pace = Alarm().pace
        whole, _ = followed(model, alarm, starts[~before], faulty[~before])  # type: ignore[arg-type]
        stretch = starts > begin_ms - 6 * DAY_MS
        found = listener.fault(model, (starts[stretch], faulty[stretch]), begin_ms)  # type: ignore[arg-type]
        assert [one.from_ms for one in found] == [
            one.from_ms for one in whole if one.from_ms > begin_ms
        ]
        assert found


def test_what_a_month_raised_is_asked_for_in_the_next() -> None:
    model = plain(3, 4.0)
    starts, scores = scores_of(9)
    listener, fresh = Listener(), Listener()
    first = listener.month(model, (starts, scores), (FROM_MS, TO_MS), ())  # type: ignore[arg-type]
    assert sum(one.from_ms <= TO_MS for one in first) > 8
    after, month_ms = starts + 40 * DAY_MS, (TO_MS, TO_MS + 30 * DAY_MS)
    later = listener.month(model, (after, scores), month_ms, ())  # type: ignore[arg-type]
    anew = fresh.month(model, (after, scores), month_ms, ())  # type: ignore[arg-type]
    assert later[0].peak > min(one.peak for one in anew)
    assert len(later) <= len(anew)


def test_days_are_heard_from_the_one_in_which_a_fault_begins() -> None:
    model = plain(1)._replace(step_ms=DAY_MS)
    starts = MIDNIGHT_MS // DAY_MS * DAY_MS + DAY_MS * np.arange(50, dtype=np.int64)
    quiet = np.zeros((50, 1))
    begin_ms = int(starts[20]) + DAY_MS // 2
    listener = Listener()
    assert listener.month(model, (starts, quiet), (FROM_MS, TO_MS), [begin_ms]) == []  # type: ignore[arg-type]
    faulty = quiet.copy()
    faulty[20] = 3.0
    (found,) = listener.fault(model, (starts, faulty), begin_ms)  # type: ignore[arg-type]
    assert found.from_ms == starts[21]
