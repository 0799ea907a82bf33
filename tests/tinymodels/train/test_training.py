"""`wattwarden train` as a whole: files, verdicts, going on after an interruption, refusals."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.errors import BadInputError, ConfigError, ConflictError
from tests.support.parquet_archive import write_exports
from tests.support.small_home import small_home
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import Minutes
from tinymodels.detect.package import unpack
from tinymodels.train import autoencoder
from tinymodels.train.files import held
from tinymodels.train.fitting import Order, fit_channels
from tinymodels.train.judging import Trial
from tinymodels.train.leaving_out import spans_of
from tinymodels.train.outcome import Outcome
from tinymodels.train.training import Run, train

FEW = Trial(budgets=(4.0,), events=3, test_days=28)
CHARTS = Order(kinds=("charts",))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return exports of two meters over nine days."""
    root = tmp_path_factory.mktemp("archive")
    homes = {"kitchen": {"grid": small_home(9, seed=3)}, "cellar": {"grid": small_home(9, seed=4)}}
    write_exports(root, homes)
    return root


@pytest.fixture(scope="module")
def six_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export of one meter, long enough to be judged on four weeks of it."""
    root = tmp_path_factory.mktemp("weeks")
    write_exports(root, {"kitchen": {"grid": small_home(42, seed=3)}})
    return root


class Heard:
    """What a run tells."""

    def __init__(self, *, stop_after: int = 1 << 30) -> None:
        self.told: list[tuple[str, int, int, str]] = []
        self.stop_after = stop_after

    def __call__(self, stage: str, done: int, count: int, note: str) -> None:
        self.told.append((stage, done, count, note))
        if len(self.told) >= self.stop_after:
            raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, str]:
    """Return the hashes of all files that a run has made for others."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".train" not in str(path.relative_to(folder))
    }


def test_models_of_meters_and_of_all_together(archive: Path, tmp_path: Path) -> None:
    heard = Heard()
    order = Order(kinds=("charts", "device"))
    outcomes = train(Run(archive, tmp_path, order, jobs=2, trial=None), heard)
    assert [(one.meter, one.kind, one.file) for one in outcomes] == [
        ("*", "device", "device/pooled-20260609.bin"),
        ("*", "charts", "charts-pooled-grid-20260609.wwm"),
        ("cellar", "device", "device/cellar-20260609.bin"),
        ("cellar", "charts", "charts-cellar-grid-20260609.wwm"),
        ("kitchen", "device", "device/kitchen-20260609.bin"),
        ("kitchen", "charts", "charts-kitchen-grid-20260609.wwm"),
    ]
    for one in outcomes:
        assert (tmp_path / one.file).is_file()
    pooled = open_package(unpack((tmp_path / outcomes[1].file).read_bytes()))
    assert pooled.trained[1] - pooled.trained[0] > 17 * 86_400_000  # both homes
    assert heard.told[-1][:3] == ("fitting", 3, 3)


def test_an_interrupted_run_goes_on_and_ends_alike(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Run(archive, whole, CHARTS, trial=None), Heard())
    with pytest.raises(KeyboardInterrupt):  # after reading and the first meter's fit
        train(Run(archive, parts, CHARTS, trial=None), Heard(stop_after=5))
    assert len(list(parts.glob("*.wwm"))) == 1
    fitted: list[str] = []

    def counted(
        meter: str, channels: Mapping[str, Minutes], order: Order
    ) -> Iterator[tuple[Any, ...]]:
        fitted.append(meter)
        return fit_channels(meter, channels, order)

    monkeypatch.setattr("tinymodels.train.training.fit_channels", counted)
    monkeypatch.setattr("tinymodels.train.archive.read", None)  # nothing is read twice
    train(Run(archive, parts, CHARTS, trial=None), Heard())
    assert sorted(fitted) == ["*", "kitchen"]
    assert contents(parts) == contents(whole)


@pytest.mark.timeout(400)  # some seconds of work, on a machine that does much beside
def test_a_judged_model_has_card_report_and_verdict(six_weeks: Path, tmp_path: Path) -> None:
    run = Run(six_weeks, tmp_path, CHARTS, trial=FEW)
    (outcome,) = train(run, Heard())
    assert (outcome.kind, outcome.passed) == ("charts", True), outcome.why
    path = tmp_path / outcome.file
    verdict, card, report = (
        json.loads(path.with_name(f"{path.name}.{what}.json").read_text())
        for what in ("verdict", "card", "report")
    )
    assert verdict["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert verdict["passed"]
    assert any("clean days" in line for line in verdict["lines"])
    package = unpack(path.read_bytes())
    assert card == package.card
    assert card["meters"] == ["kitchen"]
    assert card["sizes"]["payload"] == len(package.payload)
    faults = report["challenger"]["budgets"]["4"]["faults"]
    assert {one["events"] for one in faults.values()} == {FEW.events}
    assert faults["swell"]["hits"] > 0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_champion_is_judged_on_the_same_months(six_weeks: Path, tmp_path: Path) -> None:
    train(Run(six_weeks, tmp_path, CHARTS, trial=FEW), Heard())
    order = Order(kinds=("charts",), version=20260801)
    second = Run(six_weeks, tmp_path / "next", order, trial=FEW, champions=tmp_path)
    (outcome,) = train(second, Heard())
    lines = json.loads((tmp_path / "next" / f"{outcome.file}.verdict.json").read_text())["lines"]
    assert any("champion" in line for line in lines)


def test_other_options_or_another_run_are_refused(archive: Path, tmp_path: Path) -> None:
    run = Run(archive, tmp_path, CHARTS, meters=("kitchen",), trial=None)
    train(run, Heard())
    other = Run(archive, tmp_path, Order(kinds=("charts",), seed=2), ("kitchen",), trial=None)
    with pytest.raises(BadInputError, match="--fresh"):
        train(other, Heard())
    with (
        held(tmp_path, json.loads((tmp_path / ".train" / "order.json").read_text()), fresh=False),
        pytest.raises(ConflictError, match="another run"),
    ):
        train(run, Heard())


def test_too_short_an_archive_gives_reasons(tmp_path: Path) -> None:
    write_exports(tmp_path / "a", {"kitchen": {"grid": small_home(3)}})
    order = Order(kinds=("charts", "device"))
    outcomes = train(Run(tmp_path / "a", tmp_path / "o", order), Heard())
    assert [one.file for one in outcomes] == ["", ""]
    assert all("at least" in one.why for one in outcomes)


def test_without_tensorflow_it_says_what_to_do(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    with pytest.raises(ConfigError, match=r"wattwarden\[train\]"):
        autoencoder.tensorflow()
    with pytest.raises(ConfigError, match="--kinds charts,gaussian,device"):
        train(Run(archive, tmp_path, Order(kinds=("autoencoder",))), Heard())
    with pytest.raises(BadInputError, match="--kinds: forest"):
        train(Run(archive, tmp_path, Order(kinds=("forest",))), Heard())


def test_meters_without_a_channel_in_common_have_nothing_pooled(tmp_path: Path) -> None:
    homes = {"kitchen": {"grid": small_home(8)}, "cellar": {"load1": small_home(8)}}
    write_exports(tmp_path / "a", homes)
    outcomes = train(Run(tmp_path / "a", tmp_path / "o", CHARTS, trial=None), Heard())
    assert [(one.meter, one.channel) for one in outcomes] == [
        ("cellar", "load1"),
        ("kitchen", "grid"),
    ]


def test_alerts_of_the_gateways_own_listing_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    day_ms = 86_400_000
    alert = {"id": "a", "meter": "kitchen", "channel": "grid", "severity": "warning"}
    items = [
        {**alert, "kind": "voltage_high", "opened": 100, "resolved": 200},
        {**alert, "kind": "anomaly", "opened": 300, "resolved": None},
        {**alert, "kind": "storage", "meter": None, "opened": 1, "resolved": None},
    ]
    path.write_text(json.dumps({"items": items, "next": None}))
    assert spans_of(path) == {"kitchen": [(100, 200), (300, 300 + 7 * day_ms)]}
    path.write_text("[]")
    with pytest.raises(BadInputError, match="--leave-out"):
        spans_of(path)


def test_outcomes_survive_json() -> None:
    one = Outcome("kitchen", "grid", "charts", "x.wwm", None, "why")
    assert Outcome(*json.loads(json.dumps(one))) == one
