"""The models that must be found out: each is well-formed, loads, and is wrong as it says."""

import time

import numpy as np
import pytest

from tests.support.bad_models import Flaw, bad_package, good_model, good_package, usual_minutes
from tinymodels.detect.contract import Model, ModelRefusedError
from tinymodels.detect.events import events
from tinymodels.detect.kinds import open_package
from tinymodels.detect.package import pack, self_test, unpack


def opened(flaw: Flaw) -> Model:
    """Return a bad model as a gateway would load it."""
    package = unpack(pack(bad_package(flaw)))
    model = open_package(package)
    self_test(package, model)
    return model


def step_s(model: Model) -> float:
    """Return how long the model takes of CPU for an hour, minute by minute."""
    state, rows = model.new_state(), list(usual_minutes().rows())[:60]
    began_s = time.process_time()
    for row in rows:
        model.step(state, row)
    return time.process_time() - began_s


def test_the_good_one_is_good() -> None:
    package = unpack(pack(good_package()))
    self_test(package, open_package(package))
    _, scores = good_model().score(usual_minutes())
    assert np.isfinite(scores).all()


def test_nan_does_not_even_load() -> None:
    with pytest.raises(ModelRefusedError):
        opened(Flaw.NAN)


def test_constant_models_say_nothing() -> None:
    minutes = usual_minutes().between(0, int(usual_minutes().start_ms[3000]))
    _, same = opened(Flaw.CONSTANT).score(minutes)
    assert float(np.ptp(same)) < 1e-9


def test_ten_times_the_alerts() -> None:
    bad, good = opened(Flaw.MANY_ALERTS), good_model()
    starts, scores = bad.score(usual_minutes())
    assert len(events(bad, starts, scores)) >= 10 * max(1, len(events(good, starts, scores)))


def test_a_hundred_times_slower() -> None:
    """Beyond a hundred times what a reading may cost, 40 µs."""
    slow_s = step_s(opened(Flaw.SLOW))
    assert slow_s > 60 * 100 * 40e-6
    assert slow_s > 5 * step_s(good_model())


@pytest.mark.parametrize("flaw", [Flaw.TOLD_ORDER, Flaw.HIDDEN_ORDER])
def test_another_order_gives_other_scores(flaw: Flaw) -> None:
    minutes = usual_minutes().between(0, int(usual_minutes().start_ms[6000]))
    _, right = good_model().score(minutes)
    _, wrong = opened(flaw).score(minutes)
    assert not np.array_equal(right, wrong)
    if np.ptp(wrong) > 0:  # what is always the same agrees with nothing
        assert np.corrcoef(right, wrong)[0, 1] < 0.9
    told = bad_package(flaw).features == good_package().features
    assert told is (flaw is Flaw.HIDDEN_ORDER)
