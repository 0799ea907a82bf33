"""Models that are well-formed and signed like any other, and must never judge a home.

Each is a bank of charts fitted on a small home and then spoilt in one way. All but NaN load, and
pass their own self-test: only the gate, the shadow or the health check can find them out.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tests.support.small_home import small_home
from tinymodels.detect.charts import FITTER, ChartsModel
from tinymodels.detect.conditioning import Usual
from tinymodels.detect.contract import Options
from tinymodels.detect.events import events, merged
from tinymodels.detect.minutes import Minutes
from tinymodels.detect.package import Package, Vectors
from tinymodels.train.packing import Whose, package_of

METER: Final = "kitchen"
CHANNEL: Final = "grid"
TIMES_MORE: Final = 10
SLOW_CHARTS: Final = 25_000  # a good bank has 18 of them
FEW_SCORES: Final = Minutes(np.empty(0, dtype=np.int64), np.empty((0, 7)))


class Flaw(StrEnum):
    """What is wrong with a model."""

    NAN = "nan"
    CONSTANT = "constant"
    MANY_ALERTS = "ten times the alerts"
    SLOW = "a hundred times slower"
    TOLD_ORDER = "features in another order, and it says so"
    HIDDEN_ORDER = "features in another order, and it does not say so"


@functools.cache
def usual_minutes() -> Minutes:
    """Return two weeks of the home that all of these are fitted on."""
    return small_home(14, seed=3)


@functools.cache
def good_model() -> ChartsModel:
    """Return the model before it is spoilt."""
    return FITTER.fit(usual_minutes(), Options(ZoneInfo("UTC"), 4.0))


def good_package(version: int = 1, *, meter: str = METER, channel: str = CHANNEL) -> Package:
    """Return the model as it would be published."""
    return package_of(good_model(), Whose(meter, channel, version), {"made": str(UTC)})


def bad_package(
    flaw: Flaw, version: int = 2, *, meter: str = METER, channel: str = CHANNEL
) -> Package:
    """Return a package that unpacks, loads and passes its own self-test, with this flaw."""
    good = good_package(version, meter=meter, channel=channel)
    model = SPOILT[flaw](good_model())
    package = replace(good, payload=model.to_bytes())
    if flaw is Flaw.TOLD_ORDER:
        package = replace(package, features=tuple(reversed(good.features)))
    if flaw in (Flaw.NAN, Flaw.SLOW):  # NaN is no score to write down; nobody waits for the slow
        return replace(package, vectors=Vectors(FEW_SCORES, np.empty(0)))
    _, scores = model.score(good.vectors.minutes)
    return replace(package, vectors=Vectors(good.vectors.minutes, scores))


def _nan(model: ChartsModel) -> ChartsModel:
    up = [[math.nan for _ in row] for row in model.up]
    return msgspec.structs.replace(model, up=up, down=up)


def _constant(model: ChartsModel) -> ChartsModel:
    """Return a model that says the same of every home: nothing."""
    far = [[1e12 for _ in row] for row in model.up]
    return msgspec.structs.replace(model, up=far, down=far)


def _many_alerts(model: ChartsModel) -> ChartsModel:
    """Return the model with a limit that raises ten times the alerts it may in these weeks."""
    starts, scores = model.score(usual_minutes())
    wanted = TIMES_MORE * max(1, len(merged(events(model, starts, scores))))
    for quantile in np.linspace(0.999, 0.5, 200):
        lower = model.with_limit(float(np.quantile(scores, quantile)))
        if len(events(lower, starts, scores)) >= wanted:
            return lower
    msg = f"no limit gives {wanted} events"
    raise AssertionError(msg)


def _slow(model: ChartsModel) -> ChartsModel:
    """Return a bank with so many copies of its charts that a step takes a hundred times as long.

    On a fast machine too; what is usual is in whole numbers, or it would be too large to pack.
    """
    picks = [number % len(model.charts) for number in range(SLOW_CHARTS)]
    whole = [Usual([round(n) for n in one.mean], [0] * len(one.scale)) for one in model.usual]
    return msgspec.structs.replace(
        model,
        charts=tuple(model.charts[pick] for pick in picks),
        usual=[whole[pick] for pick in picks],
        up=[[math.ceil(row[pick]) for pick in picks] for row in model.up],
        down=[[math.ceil(row[pick]) for pick in picks] for row in model.down],
    )


def _other_order(model: ChartsModel) -> ChartsModel:
    """Return the charts' names turned round, and what is usual of them not."""
    plain = [
        number
        for number, usual in enumerate(model.usual)
        if len(usual.mean) == len(model.usual[0].mean)
    ]
    names = list(model.charts)
    for place, other in zip(plain, reversed(plain), strict=True):
        names[place] = model.charts[other]
    return msgspec.structs.replace(model, charts=tuple(names))


SPOILT: Final[dict[Flaw, Callable[[ChartsModel], ChartsModel]]] = {
    Flaw.NAN: _nan,
    Flaw.CONSTANT: _constant,
    Flaw.MANY_ALERTS: _many_alerts,
    Flaw.SLOW: _slow,
    Flaw.TOLD_ORDER: _other_order,
    Flaw.HIDDEN_ORDER: _other_order,
}
