"""The autoencoder's runtime on a real int8 network: same as float, exact, refused when wrong."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from tests.support.networks import dense, dense_told
from tests.support.small_home import MONDAY_MS, small_home
from tinymodels.detect.autoencoder import AutoencoderFitter, AutoencoderModel
from tinymodels.detect.contract import FitRefusedError, ModelRefusedError, Options
from tinymodels.detect.events import events, merged
from tinymodels.detect.kinds import fitter, open_package
from tinymodels.detect.litert import BUILTIN, Network
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.package import pack, self_test, unpack
from tinymodels.train.packing import Whose, package_of

DAYS = 21
OPTIONS = Options(ZoneInfo("UTC"), 4.0)


@pytest.fixture(scope="module")
def model() -> AutoencoderModel:
    """Return a model of a home that the network has never seen."""
    inputs = dense_told()["inputs"]
    return AutoencoderFitter(dense(), inputs).fit(small_home(DAYS, seed=9), OPTIONS)


def later(days: float, *, seed: int = 9) -> Minutes:
    return small_home(days, seed=seed + 50, from_ms=MONDAY_MS + DAYS * DAY_MS)


def test_int8_says_what_float_says() -> None:
    told = dense_told()
    found = Network(dense()).run(np.array(told["rows"]))
    whole = np.array(told["whole"])
    assert np.corrcoef(found.ravel(), whole.ravel())[0, 1] >= 0.999
    assert told["card"]["tflite_against_float"] >= 0.999


def test_builtin_operators_only_and_small() -> None:
    network = Network(dense())
    assert network.operators == ("FULLY_CONNECTED",) * 4
    assert set(network.operators) <= BUILTIN
    assert len(dense()) <= 10_000
    assert dense_told()["card"]["network_bytes"] == len(dense())


def test_streaming_equals_batch(model: AutoencoderModel) -> None:
    minutes = later(2)
    state = model.new_state()
    found = [verdict for row in minutes.rows() if (verdict := model.step(state, row))]
    _, scores = model.score(minutes)
    np.testing.assert_allclose([one.score for one in found], scores, rtol=1e-9)
    kept = model.load_state(model.dump_state(state))
    assert model.dump_state(kept) == model.dump_state(state)
    assert model.dump_state(model.load_state(b"?")) == model.dump_state(model.new_state())


def test_a_stuck_heater_is_found_and_explained(model: AutoencoderModel) -> None:
    minutes = later(3)
    starts, scores = model.score(minutes)
    assert len(merged(events(model, starts, scores))) <= 1
    values = minutes.values.copy()
    begin = 2 * 1440
    values[begin : begin + 480, :3] += 1800.0
    values[begin : begin + 480, 3:5] -= 1.8 * 1.8
    values[begin : begin + 480, 6] += 1800.0 / 230
    faulty = Minutes(minutes.start_ms, values)
    found = events(model, *model.score(faulty))
    begin_ms = int(minutes.start_ms[begin])
    late_ms = [one.from_ms - begin_ms for one in found if one.from_ms > begin_ms]
    assert late_ms
    assert late_ms[0] <= 5 * 3_600_000
    state = model.new_state()
    for row in faulty.between(0, begin_ms + 4 * 3_600_000).rows():
        model.step(state, row)
    told = model.explain(state)
    assert told.value > told.expected or told.unit != "W"
    assert begin_ms <= told.since_ms <= begin_ms + 4 * 3_600_000
    assert abs(told.sigmas) > 3


def test_it_travels_as_a_package(model: AutoencoderModel) -> None:
    body = pack(package_of(model, Whose("kitchen", "grid", 3), {"kind": "autoencoder"}))
    package = unpack(body)
    assert package.needs == ("numpy", "litert")
    back = open_package(package)
    self_test(package, back)
    assert back.to_bytes() == model.to_bytes()
    # A package whose scores are another model's is found out.
    wrong = replace(package.vectors, scores=package.vectors.scores * 1.5)
    with pytest.raises(ModelRefusedError, match="self-test"):
        self_test(replace(package, vectors=wrong), back)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"network": b"\x1c\0\0\0TFL3" + b"\0" * 200}, "LiteRT refuses"),
        ({"network": b"no flatbuffer"}, "no TFLite network"),
        ({"spread": [1.0]}, "not what version"),
        ({"residual": [math.nan] * 72}, "no positive numbers"),
        ({"limit": -1.0}, "no positive numbers"),
        ({"version": 99}, "not what version"),
        ({"inputs": ("power",)}, "not what version"),
    ],
)
def test_what_does_not_fit_is_refused(
    model: AutoencoderModel, changed: dict[str, object], said: str
) -> None:
    body = msgspec.structs.replace(model, **changed).to_bytes()
    with pytest.raises(ModelRefusedError, match=said):
        AutoencoderModel.from_bytes(body)
    with pytest.raises(ModelRefusedError, match="no autoencoder"):
        AutoencoderModel.from_bytes(b"junk")


def test_a_network_cut_anywhere_never_takes_the_process_down() -> None:
    """LiteRT reads bytes unchecked: whatever is cut off, it refuses or runs."""
    program = """
import sys
from pathlib import Path
from tinymodels.detect.contract import ModelRefusedError
from tinymodels.detect.litert import Network
whole = Path(sys.argv[1]).read_bytes()
for length in range(0, len(whole), 211):
    try:
        Network(whole[:length])
    except ModelRefusedError:
        pass
print("alive")
"""
    path = Path(__file__).parents[2] / "support" / "networks" / "dense.tflite"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.strip() == "alive", done.stderr[-500:]


def test_without_a_network_nothing_is_fitted() -> None:
    with pytest.raises(FitRefusedError, match="wattwarden train"):
        fitter("autoencoder").fit(small_home(8), OPTIONS)


def test_a_channel_without_voltage_runs_on_the_same_network(model: AutoencoderModel) -> None:
    home = small_home(DAYS, seed=9)
    home.values[:, [3, 4, 6]] = np.nan
    plain = AutoencoderFitter(dense(), model.inputs).fit(home, OPTIONS)
    assert len(plain.charts.charts) < len(model.charts.charts)
    _, scores = plain.score(home)
    assert np.isfinite(scores).all()
