"""One meter's models from a frame, in the shape in which Spark's applyInPandas calls it."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.firmware import needs_vm, vm
from tests.support.small_home import MONDAY_MS, small_home
from tinymodels.detect.charts import ChartsModel
from tinymodels.detect.events import events, merged
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.package import self_test, unpack
from tinymodels.train.fitting import (
    COLUMNS,
    SCHEMA,
    Order,
    fit_meter,
    lay_end_to_end,
    supply_channel,
    usual_minutes,
)

ORDER = Order(kinds=("charts", "device"), alarms_per_month=4.0)


def archived(minutes: Minutes, meter: str, channel: str) -> pd.DataFrame:
    """Return minutes as Spark reads them from the archive: its columns, partitions as columns."""
    frame = minutes.to_frame()
    names = {
        "start_ms": "t", "p_mean_w": "p_mean", "p_min_w": "p_min", "p_max_w": "p_max",
        "v_mean_v": "v_mean", "v_max_v": "v_max", "q_mean_var": "q_mean", "i_mean_a": "i_mean",
    }  # fmt: skip
    frame = frame.rename(columns=names).assign(n=60, wh_in=None, wh_out=None, channel=channel)
    return frame.assign(site="home", date="2026-06-01", meter=meter)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return two meters, one with two channels, rows in no order."""
    parts = [
        archived(small_home(14, seed=3), "kitchen", "grid"),
        archived(small_home(14, seed=5), "kitchen", "load1"),
        archived(small_home(14, seed=4), "cellar", "grid"),
    ]
    return pd.concat(parts).sample(frac=1.0, random_state=1)


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.groupby("meter", group_keys=False)[frame.columns.tolist()]
    done: pd.DataFrame = groups.apply(partial(fit_meter, order=ORDER))
    return done


def test_every_meter_gets_its_models(fitted: pd.DataFrame) -> None:
    assert list(fitted.columns) == list(COLUMNS)
    assert len(COLUMNS) == len(SCHEMA.split(","))
    found = set(zip(fitted.meter, fitted.channel, fitted.kind, strict=True))
    assert found == {
        ("kitchen", "grid", "charts"), ("kitchen", "load1", "charts"), ("kitchen", "*", "device"),
        ("cellar", "grid", "charts"), ("cellar", "*", "device"),
    }  # fmt: skip
    assert (fitted.refused == "").all()
    assert set(fitted.version) == {20260614}
    for row in fitted[fitted.kind == "charts"].itertuples():
        package = unpack(row.body)
        model = open_package(package)
        self_test(package, model)
        assert (package.meter, package.channel) == (row.meter, row.channel)
        assert model.trained[0] >= MONDAY_MS
        starts, scores = model.score(small_home(14, seed=3 if row.meter == "kitchen" else 4))
        assert np.isfinite(scores).all()
        assert isinstance(model, ChartsModel)
        if row.channel == "grid":
            assert len(merged(events(model, starts, scores))) <= 4
        else:  # one channel answers for the supply
            assert not [one for one in model.charts if one.startswith("voltage_max")]


def test_the_same_frame_and_order_give_the_same_bytes(
    frame: pd.DataFrame, fitted: pd.DataFrame
) -> None:
    again = fit_meter(frame[frame.meter == "cellar"].sample(frac=1.0, random_state=9), ORDER)
    assert again.body.tolist() == fitted[fitted.meter == "cellar"].body.tolist()


def test_a_bundle_has_all_channels_and_voltage_once(fitted: pd.DataFrame) -> None:
    chosen = fitted[(fitted.meter == "kitchen") & (fitted.kind == "device")]
    body = json.loads(chosen.body.iloc[0])
    assert body["version"] == 20260614
    assert list(body["ch"]) == ["grid", "load1"]
    assert "voltage" in body["ch"]["grid"]["features"]
    assert "voltage" not in body["ch"]["load1"]["features"]
    assert {one["ch"] for one in body["vectors"]} == {"grid", "load1"}
    assert len(chosen.body.iloc[0]) <= 8192


TAKE = """
import sys
from errors import BadBundleError
import model
with open(sys.argv[1], "rb") as file:
    body = file.read()
try:
    taken = model.load(body)
    print("takes", taken.version, sorted(taken.channels))
except BadBundleError as error:
    print("refuses", error)
"""


@needs_vm
def test_the_real_firmware_takes_the_bundle_and_tests_itself(
    fitted: pd.DataFrame, tmp_path: Path
) -> None:
    chosen = fitted[(fitted.meter == "kitchen") & (fitted.kind == "device")]
    body = bytes(chosen.body.iloc[0])
    path = tmp_path / "model.bin"
    path.write_bytes(body)
    assert vm(TAKE, str(path)).split() == ["takes", "20260614", "['grid',", "'load1']"]
    # The same numbers with one vector's distance changed: the meter computes, and says no.
    told = json.loads(body)
    told["vectors"][1]["d2"] += 1.0
    path.write_text(json.dumps(told, sort_keys=True, separators=(",", ":")))
    assert vm(TAKE, str(path)).startswith("refuses self-test")


def test_too_little_is_refused_with_a_reason() -> None:
    done = fit_meter(archived(small_home(2), "kitchen", "grid"), ORDER)
    assert (done.body == b"").all()
    assert done.refused.str.contains("at least").all()


def test_alerts_are_left_out_and_eight_weeks_taken() -> None:
    home = small_home(70)
    last_ms = MONDAY_MS + 70 * DAY_MS
    spans = [(last_ms - 3 * DAY_MS, last_ms - 2 * DAY_MS)]
    kept = usual_minutes("kitchen", home, Order(leave_out={"kitchen": spans}))
    assert int(kept.start_ms[0]) == last_ms - 56 * DAY_MS
    assert len(kept) == 55 * 1440
    other = usual_minutes("cellar", home, Order(leave_out={"kitchen": spans}))
    assert len(other) == 56 * 1440


def test_homes_laid_end_to_end_keep_their_hours_and_weekdays() -> None:
    first, second = small_home(10, seed=1), small_home(10, seed=2)
    laid = lay_end_to_end([first, second])
    assert len(laid) == len(first) + len(second)
    moved_ms = int(laid.start_ms[len(first)]) - int(second.start_ms[0])
    assert moved_ms % (7 * DAY_MS) == 0
    assert int(laid.start_ms[len(first)]) - int(first.start_ms[-1]) >= DAY_MS


def test_one_channel_answers_for_the_supply() -> None:
    assert supply_channel(["load1", "grid"]) == "grid"
    assert supply_channel(["solar", "load1"]) == "load1"


@pytest.mark.soak
def test_spark_calls_it_unchanged(frame: pd.DataFrame, fitted: pd.DataFrame) -> None:
    pyspark = pytest.importorskip("pyspark.sql", reason="needs pyspark and Java")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    spark = pyspark.SparkSession.builder.master("local[1]").appName("fit").getOrCreate()
    try:
        table = spark.createDataFrame(frame.drop(columns=["wh_in", "wh_out"]))
        done = table.groupBy("meter").applyInPandas(partial(fit_meter, order=ORDER), SCHEMA)
        rows = {(r.meter, r.channel, r.kind): bytes(r.body) for r in done.collect()}
    finally:
        spark.stop()
    expected = zip(fitted.meter, fitted.channel, fitted.kind, fitted.body, strict=True)
    assert rows == {(m, c, k): body for m, c, k, body in expected}
