"""Earlier months for fitting and tuning, later ones for judging: sealed until all is decided."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.train.errors import EvaluationError

LEAST_TEST_DAYS: Final = 182


class Opened(NamedTuple):
    """The whole series, and the digest of what had been decided before it was opened."""

    series: Minutes
    test_ms: tuple[int, int]
    frozen_sha256: str


class Split:
    """One channel's series cut at `test_from_ms`.

    `training` is all that code which fits, chooses thresholds or combines detectors can get at:
    the later months live in a closure, not in an attribute. `open` gives them once, to the
    judge, against a description of everything that was decided; a second call is refused.
    """

    def __init__(
        self, name: str, series: Minutes, test_from_ms: int, *, short: bool = False
    ) -> None:
        """Raise EvaluationError for a test of less than six months, unless `short` says so."""
        if not len(series):
            msg = f"{name}: an empty series cannot be split"
            raise EvaluationError(msg)
        end_ms = int(series.start_ms[-1]) + 60_000
        days = (end_ms - test_from_ms) / DAY_MS
        self.name = name
        self.training = series.between(0, test_from_ms)
        if not len(self.training):
            msg = f"{name}: no minute lies before the test begins"
            raise EvaluationError(msg)
        if days < LEAST_TEST_DAYS and not short:
            msg = f"{name}: {days:.0f} days of test; a judgement takes {LEAST_TEST_DAYS}"
            raise EvaluationError(msg)
        self.test_ms = (test_from_ms, end_ms)
        self.open: Callable[[Mapping[str, Any]], Opened] = _seal(name, series, self.test_ms)


def _seal(
    name: str, series: Minutes, test_ms: tuple[int, int]
) -> Callable[[Mapping[str, Any]], Opened]:
    """Return a function that gives the series once."""
    held = [series]

    def open_once(frozen: Mapping[str, Any]) -> Opened:
        """Give the test months; `frozen` (JSON values) names what is decided: kinds, budgets."""
        if not frozen:
            msg = f"{name}: say what is decided before the test months are opened"
            raise EvaluationError(msg)
        text = json.dumps(frozen, sort_keys=True, allow_nan=False)
        if not held:
            msg = f"{name}: its test months have been opened; what is decided now is tuned on them"
            raise EvaluationError(msg)
        return Opened(held.pop(), test_ms, hashlib.sha256(text.encode()).hexdigest())

    return open_once
