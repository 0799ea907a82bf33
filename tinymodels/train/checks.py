"""What the gate must know of a model itself: how it behaves on strange data, how fast, how big.

The cases are made of real minutes: all unknown, no load for a day, a reversed clamp.
"""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from tinymodels.detect.contract import Model, ModelRefusedError
from tinymodels.detect.minutes import DAY_MS, VALUES, Floats, Minutes
from tinymodels.detect.package import Package, self_test
from tinymodels.detect.signals import NAMES, VERSION
from tinymodels.train.gate import MOST_STEP_US, Checks
from tinymodels.train.scoring import JudgesFeatures

SAMPLE_MS: Final = 3 * DAY_MS
TIMED_RUNS: Final = 3
TIMED_MS: Final = DAY_MS // 12
TOLERANCE: Final = 1e-6  # of streaming against batch scores, relative
LEAST_SPREAD: Final = 1e-9


def check_model(
    package: Package, model: Model, sample: Minutes, *, float_scores: Floats | None = None
) -> Checks:
    """Try a model on some days of real minutes (at least three).

    `float_scores` are those of the unconverted model on the sample, where there is one.
    """
    sample = sample.between(int(sample.start_ms[0]), int(sample.start_ms[0]) + SAMPLE_MS)
    took_us = step_us(model, sample)
    problems = [*_order(package, model)]
    if took_us > MOST_STEP_US:  # nobody waits for the rest
        problems.append("too slow to be tried on strange minutes")
        return _found(package, took_us, problems, None)
    problems += [*_self_test(package, model), *_strange(model, sample)]
    _, scores = model.score(sample)
    if len(scores) == 0 or not np.isfinite(scores).all():
        problems.append("usual minutes give scores that are no numbers")
    elif float(np.std(scores)) < LEAST_SPREAD:
        problems.append(f"the score is {scores[0]:.3g} whatever the minutes are")
    else:
        problems += _streams(model, sample, scores)
    correlation = None if float_scores is None else correlate(scores, float_scores)
    return _found(package, took_us, problems, correlation)


def _found(
    package: Package, took_us: float, problems: Sequence[str], correlation: float | None
) -> Checks:
    return Checks(
        size_bytes=len(package.payload),
        step_us=took_us,
        correlation=correlation,
        problems=tuple(problems),
        card=dict(package.card),
    )


def correlate(scores: Floats, others: Floats) -> float:
    """Return the correlation of two rows of scores, 0 where one is constant or not finite."""
    if len(scores) != len(others) or len(scores) < 3:  # noqa: PLR2004 - two points always agree
        return 0.0
    if not (np.isfinite(scores).all() and np.isfinite(others).all()):
        return 0.0
    spread = float(np.std(scores)) * float(np.std(others))
    if not spread:
        return 0.0
    both = (scores - scores.mean()) @ (others - others.mean()) / len(scores)
    return float(both) / spread


def step_us(model: Model, sample: Minutes) -> float:
    """Return the CPU time of one minute's step in us: the least mean of some runs of hours."""
    rows = list(sample.between(int(sample.start_ms[0]), int(sample.start_ms[0]) + TIMED_MS).rows())
    took = []
    for _ in range(TIMED_RUNS):
        state = model.new_state()
        began_s = time.process_time()
        for row in rows:
            model.step(state, row)
        took.append((time.process_time() - began_s) / max(len(rows), 1))
        if took[-1] > 1e-6 * MOST_STEP_US:
            break
    return 1e6 * min(took)


def _self_test(package: Package, model: Model) -> Sequence[str]:
    try:
        self_test(package, model)
    except ModelRefusedError as error:
        return [str(error)]
    return [] if len(package.vectors.scores) else ["the package has no self-test"]


def _order(package: Package, model: Model) -> Sequence[str]:
    """Tell where a package names its features otherwise than the model reads them."""
    if isinstance(model, JudgesFeatures) and package.features_version != VERSION:
        return [f"features of version {package.features_version}, not {VERSION}"]
    if isinstance(model, JudgesFeatures) and package.features != NAMES:
        return [f"the features are {', '.join(package.features)}, not {', '.join(NAMES)}"]
    return []


def _strange(model: Model, sample: Minutes) -> list[str]:
    """Return a sentence for each strange input that breaks the model or turns scores into NaN."""
    values = sample.values
    zero = np.where(np.isin(VALUES, ("v_mean_v", "v_max_v")), values, 0.0)
    turned = values.copy()
    turned[:, [0, 5]] *= -1
    turned[:, [1, 2]] = -values[:, [2, 1]]
    cases = {
        "minutes with nothing known": np.full_like(values, np.nan),
        "power alone": np.where(np.arange(len(VALUES)) < 1, values, np.nan),
        "no load": zero,
        "a reversed clamp": turned,
    }
    problems = []
    for name, changed in cases.items():
        try:
            _, scores = model.score(Minutes(sample.start_ms, changed))
        except (ArithmeticError, ValueError, IndexError, KeyError, TypeError) as error:
            problems.append(f"{name}: the model breaks ({error!r})")
            continue
        if not np.isfinite(scores).all() or (scores < 0).any():
            problems.append(f"{name}: scores that are no numbers of 0 or more")
    return problems


def _streams(model: Model, sample: Minutes, scores: Floats) -> Sequence[str]:
    """Tell where scores one by one differ from those of the whole."""
    state = model.new_state()
    sample = sample.between(int(sample.start_ms[0]), int(sample.start_ms[0]) + DAY_MS)
    found = [verdict.score for row in sample.rows() if (verdict := model.step(state, row))]
    count = min(len(found), len(scores))
    if not count:
        return ["no score comes live"]
    off = np.abs(np.array(found[:count]) - scores[:count])
    worst = float((off / np.maximum(np.abs(scores[:count]), 1.0)).max())
    return [] if worst <= TOLERANCE else [f"live scores differ from the whole's by {worst:.3g}"]
