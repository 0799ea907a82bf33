"""Training the autoencoder's network in TensorFlow itself; needs the extra `train`."""

import importlib.util
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.parquet_archive import write_exports
from tests.support.small_home import small_home
from tinymodels.detect.autoencoder import AutoencoderFitter, AutoencoderModel
from tinymodels.detect.contract import Options
from tinymodels.detect.kinds import open_package
from tinymodels.detect.litert import BUILTIN, Network
from tinymodels.detect.package import self_test, unpack
from tinymodels.train import autoencoder
from tinymodels.train.autoencoder import (
    ConversionError,
    Recipe,
    Trained,
    inputs_of,
    pool,
    train_network,
)
from tinymodels.train.fitting import Order
from tinymodels.train.judging import Trial
from tinymodels.train.training import Run, train

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None,
        reason="no TensorFlow here: pip install 'wattwarden[train]'",
    ),
]

OPTIONS = Options(ZoneInfo("UTC"), 4.0)
RECIPE = Recipe(hidden=16, code=8, epochs=40)


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    """Return what two homes' channels look like to a network."""
    return pool([inputs_of(small_home(28, seed=seed), OPTIONS) for seed in (3, 4)])


@pytest.fixture(scope="module")
def trained(inputs: np.ndarray) -> Trained:
    return train_network(inputs, RECIPE)


def test_int8_agrees_with_float_and_needs_builtins_only(trained: Trained) -> None:
    assert trained.correlation >= 0.999
    assert set(trained.operators) <= BUILTIN
    small = Network(trained.network).run(trained.rows)
    assert np.corrcoef(small.ravel(), trained.whole.ravel())[0, 1] >= 0.999
    assert trained.card()["network_bytes"] == len(trained.network) < 10_000


def test_the_same_seed_gives_the_same_bytes(inputs: np.ndarray, trained: Trained) -> None:
    told: list[tuple[int, int]] = []
    again = train_network(inputs, RECIPE, lambda done, count: told.append((done, count)))
    assert again.network == trained.network
    assert told[-1] == (40, 40)


def test_a_network_that_lost_its_way_is_not_given_out(
    inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "LEAST_CORRELATION", 1.0)
    with pytest.raises(ConversionError, match="int8 and float agree to"):
        train_network(inputs, RECIPE)
    broken = np.full_like(inputs, np.nan)
    with pytest.raises(ConversionError, match="no finite loss"):
        train_network(broken, RECIPE)


def test_a_home_it_has_not_seen_runs_on_it(trained: Trained) -> None:
    model = AutoencoderFitter(trained.network).fit(small_home(14, seed=7), OPTIONS)
    _, scores = model.score(small_home(3, seed=7))
    assert np.isfinite(scores).all()
    assert np.median(scores) < model.limit


def test_the_whole_run_with_judgement(tmp_path: Path) -> None:
    homes = {
        "kitchen": {"grid": small_home(56, seed=3)},
        "cellar": {"grid": small_home(56, seed=4)},
    }
    write_exports(tmp_path / "a", homes)
    order = Order(kinds=("autoencoder",))
    trial = Trial(budgets=(4.0,), events=3, test_days=28)
    run = Run(tmp_path / "a", tmp_path / "o", order, trial=trial, recipe=RECIPE)
    outcomes = train(run, lambda *_: None)
    (outcome,) = [one for one in outcomes if one.meter == "kitchen"]
    assert outcome.file, outcome.why
    path = tmp_path / "o" / outcome.file
    package = unpack(path.read_bytes())
    model = open_package(package)
    assert isinstance(model, AutoencoderModel)
    self_test(package, model)
    card = json.loads(path.with_name(f"{path.name}.card.json").read_text(encoding="utf-8"))
    assert card["operators"] == ["FULLY_CONNECTED"] * 4
    assert card["tflite_against_float"] >= 0.999
    assert card["network_bytes"] == len(model.network)
    verdict = json.loads(path.with_name(f"{path.name}.verdict.json").read_text(encoding="utf-8"))
    assert any("correlate" in line for line in verdict["lines"])
    assert any("builtin operators only" in line for line in verdict["lines"])
    # Four false alarms in these 28 days are more than four a month already: chance decides that.
    failed = [line for line in verdict["lines"] if line.startswith("FAILED")]
    assert all("false alarms" in line for line in failed), outcome.why
    assert outcome.passed is (not failed)
