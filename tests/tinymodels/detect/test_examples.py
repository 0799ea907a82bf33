"""Faults put into a history for a fit to learn from."""

import numpy as np
import pytest

from tests.tinymodels.detect.homes import MIDNIGHT_MS, home
from tinymodels.detect.examples import begins, examples, faulty_features, planned, span_of
from tinymodels.detect.injector import HOME_FAULTS, LAWS, Event, FaultName
from tinymodels.detect.minutes import DAY_MS, STEP_MS, VALUES, Minutes
from tinymodels.detect.signals import INDEX
from tinymodels.detect.sweep import featurise_marked

SLOPE = -2.0
WEEKS_8 = (MIDNIGHT_MS, MIDNIGHT_MS + 56 * DAY_MS)


def test_eight_weeks_hold_examples_of_every_fault() -> None:
    tried = planned(WEEKS_8)
    counts = {name: sum(event.fault is name for event in tried) for name in HOME_FAULTS}
    assert all(count >= (3 if name is FaultName.DRIFT else 7) for name, count in counts.items())
    for event in tried:
        law = LAWS[event.fault]
        assert WEEKS_8[0] <= event.start_ms < event.deadline_ms <= WEEKS_8[1]
        assert law.least <= abs(event.size) <= law.most


def test_spans_that_overlap_share_their_examples() -> None:
    later = (WEEKS_8[0] + 30 * DAY_MS, WEEKS_8[1] + 30 * DAY_MS)
    both = [one for one in planned(WEEKS_8) if one.start_ms >= later[0]]
    assert both == [one for one in planned(later) if one.deadline_ms <= WEEKS_8[1]]
    assert len(both) > 20


def test_nothing_is_tried_in_what_is_left_out() -> None:
    out = (MIDNIGHT_MS + 10 * DAY_MS, MIDNIGHT_MS + 20 * DAY_MS)
    tried = planned(WEEKS_8, [out])
    assert len(tried) < len(planned(WEEKS_8))
    assert not [one for one in tried if one.start_ms < out[1] and out[0] < one.deadline_ms]
    assert planned(span_of(Minutes(np.empty(0, np.int64), np.empty((0, len(VALUES)))))) == []


@pytest.mark.parametrize("minute", [0, 2])
def test_a_fault_of_no_size_changes_no_feature(minute: int) -> None:
    minutes = home(6)
    at_ms = MIDNIGHT_MS + 3 * DAY_MS + 10 * STEP_MS + minute * 60_000
    event = Event(FaultName.PHANTOM_LOAD, at_ms, at_ms + 2 * DAY_MS, 0.0, 1)
    starts, values, states = featurise_marked(minutes, begins([event]), ended=True)
    (state,) = states.values()
    _, after, found = faulty_features(minutes, event, state, SLOPE)
    first = int(np.searchsorted(starts, after[0]))
    assert after[0] <= at_ms
    assert 48 * 12 < len(after) <= 48 * 12 + 3
    assert after.tolist() == starts[first : first + len(after)].tolist()
    # Of the last block not all minutes are there.
    assert np.array_equal(found[:-1], values[first : first + len(after) - 1], equal_nan=True)


def test_an_example_shows_its_fault_from_its_beginning_on() -> None:
    minutes, tried = home(28), planned(span_of(home(28)))
    _, _, states = featurise_marked(minutes, begins(tried))
    found = examples(minutes, tried, states, SLOPE)
    assert [one.fault for one in found] == [event.fault for event in tried]
    for example, event in zip(found, tried, strict=True):
        assert example.starts[0] <= event.start_ms < example.starts[0] + STEP_MS
        assert example.starts[-1] < event.deadline_ms + 2 * STEP_MS
        if example.fault is FaultName.REVERSED:
            assert (example.values[6:, INDEX["kilowatts"]] < 0).all()


def test_what_is_not_measured_is_no_example() -> None:
    minutes = home(28)
    tried = planned(span_of(minutes))
    values = minutes.values.copy()
    values[:, VALUES.index("q_mean_var")] = np.nan
    blind = Minutes(minutes.start_ms, values)
    out = (MIDNIGHT_MS + 7 * DAY_MS, MIDNIGHT_MS + 21 * DAY_MS)
    gone = minutes.without([out])
    kinds = {one.fault for one in examples(blind, tried, _states(blind, tried), SLOPE)}
    assert kinds == set(HOME_FAULTS) - {FaultName.POOR_PF}
    found = examples(gone, tried, _states(gone, tried), SLOPE)
    assert found
    assert not [one for one in found if out[0] < one.starts[len(one.starts) // 2] < out[1]]


def _states(minutes: Minutes, tried: list[Event]) -> dict[int, bytes]:
    return featurise_marked(minutes, begins(tried))[2]
