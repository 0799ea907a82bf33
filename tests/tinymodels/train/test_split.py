"""Test months are sealed: training code cannot reach them, and they open once."""

import numpy as np
import pytest

from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes
from tinymodels.train.errors import EvaluationError
from tinymodels.train.split import Split

FROM_MS = 1_767_571_200_000


def series(days: int) -> Minutes:
    starts = FROM_MS + 60 * MINUTE_MS * np.arange(days * 24)
    return Minutes(starts, np.full((len(starts), 7), 100.0))


def test_training_ends_where_the_test_begins() -> None:
    cut_ms = FROM_MS + 60 * DAY_MS
    split = Split("home", series(260), cut_ms)
    assert split.training.start_ms[-1] < cut_ms
    held = [value for value in vars(split).values() if isinstance(value, Minutes)]
    assert all((minutes.start_ms < cut_ms).all() for minutes in held)


def test_the_months_open_once_against_what_was_decided() -> None:
    split = Split("home", series(260), FROM_MS + 60 * DAY_MS)
    with pytest.raises(EvaluationError, match="decided"):
        split.open({})
    opened = split.open({"budgets": [4]})
    assert len(opened.series) == 260 * 24
    assert len(opened.frozen_sha256) == 64
    with pytest.raises(EvaluationError, match="opened"):
        split.open({"budgets": [4]})


def test_what_was_decided_is_in_the_digest() -> None:
    digests = set()
    for budgets in ([4], [4, 1]):
        split = Split("home", series(260), FROM_MS + 60 * DAY_MS)
        digests.add(split.open({"budgets": budgets}).frozen_sha256)
    assert len(digests) == 2


@pytest.mark.parametrize("test_day", [-1, 90, 300])
def test_a_short_test_is_refused(test_day: int) -> None:
    with pytest.raises(EvaluationError):
        Split("home", series(260), FROM_MS + test_day * DAY_MS)
    if test_day == 90:
        short = Split("home", series(260), FROM_MS + test_day * DAY_MS, short=True)
        assert len(short.training) == 90 * 24
