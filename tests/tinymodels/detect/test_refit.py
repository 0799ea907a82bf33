"""A refit has to prove itself before it is taken; limits keep their budget."""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.tinymodels.detect.homes import home
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import FitRefusedError, Options
from tinymodels.detect.minutes import Minutes
from tinymodels.detect.refit import SLACK, refit

OPTIONS = Options(ZoneInfo("UTC"), 4.0)


@pytest.fixture(scope="module")
def champion() -> CombinedModel:
    return FITTER.fit(home(21), OPTIONS)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 2878, 2880, 2883])
def test_a_model_warms_up_as_if_it_had_judged(champion: CombinedModel, count: int) -> None:
    minutes = home(5, 7)
    minutes = Minutes(
        np.delete(minutes.start_ms, [700, 701]), np.delete(minutes.values, [700, 701], 0)
    )
    part = Minutes(minutes.start_ms[:count], minutes.values[:count])
    stepped = champion.new_state()
    for row in part.rows():
        champion.step(stepped, row)
    warmed = champion.load_state(champion.dump_state(champion.warmed(part)))
    later = Minutes(minutes.start_ms[count : count + 30], minutes.values[count : count + 30])
    expected = [champion.step(stepped, row) for row in later.rows()]
    told = [champion.step(warmed, row) for row in later.rows()]
    assert [one is None for one in told] == [one is None for one in expected]
    scores = [[one.score for one in all_ if one is not None] for all_ in (told, expected)]
    assert scores[0] == pytest.approx(scores[1])
    assert champion.explain(warmed).since_ms == champion.explain(stepped).since_ms


def test_the_first_fit_is_taken() -> None:
    made = refit(home(10), OPTIONS, None)
    assert made.model is not None
    assert made.why == "first fit"


def test_too_little_history_is_refused() -> None:
    with pytest.raises(FitRefusedError):
        refit(home(5), OPTIONS, None)


def test_a_refit_as_good_as_the_old_one_is_taken(champion: CombinedModel) -> None:
    made = refit(home(28), OPTIONS, champion)
    assert made.model is not None, made.why
    assert made.model.trained[1] > champion.trained[1]


def test_a_refit_that_finds_less_is_not_taken(
    champion: CombinedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FITTER.fit_examples
    monkeypatch.setattr(FITTER, "fit_examples", lambda *args: fit(*args).with_limit(1000.0))
    made = refit(home(28), OPTIONS, champion)
    assert made.model is None
    said = re.search(r"and (\d+) faults found of 15; the old one \d+ and (\d+)", made.why)
    assert said is not None, made.why
    assert int(said[1]) < int(said[2]) - SLACK


def test_a_refit_that_cries_is_not_taken(
    champion: CombinedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = FITTER.fit_examples
    monkeypatch.setattr(FITTER, "fit_examples", lambda *args: fit(*args).with_limit(0.3))
    assert refit(home(28), OPTIONS, champion).model is None
