"""Bounds against published values and against their own definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymodels.train.confidence import lower_bound, upper_bound


def test_against_closed_forms() -> None:
    """All of n: the bound is 0.05 to the power 1/n; one of n: 1 - 0.95 to the power 1/n."""
    for events in (1, 12, 59, 160):
        assert lower_bound(events, events) == pytest.approx(0.05 ** (1 / events))
        assert lower_bound(1, events) == pytest.approx(1 - 0.95 ** (1 / events))
    assert lower_bound(0, 10) == 0.0


def test_against_a_table() -> None:
    """8 of 10, one-sided 95 %: 0.4931 (Clopper and Pearson's chart; R's binom.test)."""
    assert lower_bound(8, 10) == pytest.approx(0.4931, abs=5e-5)
    assert upper_bound(8, 10) == pytest.approx(0.9632, abs=5e-5)


@given(st.integers(1, 300), st.data())
def test_bounds_hold_the_share_and_grow_with_it(events: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, events))
    low, high = lower_bound(hits, events), upper_bound(hits, events)
    assert 0 <= low <= hits / events <= high <= 1
    if hits < events:
        assert lower_bound(hits + 1, events) > low


@pytest.mark.parametrize(("hits", "events"), [(-1, 3), (4, 3), (0, 0)])
def test_no_share(hits: int, events: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        lower_bound(hits, events)
