"""Intervals against a plain set of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.intervals import Intervals

TOP = 60
runs = st.tuples(st.integers(0, TOP), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))


def model(added: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in added for number in range(first, last + 1)}


@given(st.lists(runs, max_size=25))
def test_it_holds_what_was_added_in_disjoint_ordered_runs(added: list[tuple[int, int]]) -> None:
    intervals, numbers = Intervals(added), model(added)
    held = list(intervals)
    assert model(held) == numbers
    assert all(a[1] + 1 < b[0] for a, b in pairwise(held))
    assert len(intervals) == len(held)
    assert intervals.highest == max(numbers, default=-1)
    contiguous = -1
    while contiguous + 1 in numbers:
        contiguous += 1
    assert intervals.contiguous_from_zero() == contiguous
    assert all((number in intervals) == (number in numbers) for number in range(TOP + 12))


@given(st.lists(runs, max_size=25), runs)
def test_questions_about_a_span(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    intervals, numbers = Intervals(added), model(added)
    first, last = asked
    span = set(range(first, last + 1))
    assert intervals.covers(first, last) == (span <= numbers)
    assert intervals.overlaps(first, last) == bool(span & numbers)
    holes = intervals.holes(first, last)
    assert model(holes) == span - numbers
    assert all(a[1] + 1 < b[0] for a, b in pairwise(holes))


def test_memory_grows_with_holes_and_not_with_numbers() -> None:
    intervals = Intervals()
    for number in range(10_000):
        intervals.add(number, number)
    assert list(intervals) == [(0, 9_999)]
