"""`wattwarden evaluate` on an archive: tables, reports and pictures that say what was found."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.gateway.cli.rig import run
from tests.support.small_home import small_home
from tinymodels.detect.minutes import DAY_MS, Floats, Times
from tinymodels.train.figures import Report

DAYS = 46
OPTIONS = ("--kinds", "gaussian", "--test-days", "28", "--events", "2", "--budgets", "4,1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a home's minutes as an export of 1m intervals."""
    folder = tmp_path_factory.mktemp("archive")
    write(folder / "kitchen-grid.parquet", DAYS)
    return folder


def write(path: Path, days: int) -> None:
    home = small_home(days)
    columns: dict[str, Floats | Times] = {"t": home.start_ms}
    names = ("p_mean", "p_min", "p_max", "v_mean", "v_max", "q_mean", "i_mean")
    columns |= {name: home.values[:, number] for number, name in enumerate(names)}
    pq.write_table(pa.table(columns), path)


def test_it_writes_what_it_found(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    at_ms = int(small_home(DAYS).start_ms[0]) + 30 * DAY_MS
    label = {
        "meter": "kitchen", "channel": "grid", "kind": "anomaly", "from_ms": at_ms,
        "to_ms": at_ms + 3_600_000, "right": True, "note": "",
    }  # fmt: skip
    (tmp_path / "labels.jsonl").write_text(json.dumps(label) + "\n")
    said = run(
        "evaluate", "--archive", str(archive), "--out", str(out), *OPTIONS,
        "--labels", str(tmp_path / "labels.jsonl"),
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "kitchen-grid: judged" in said.err
    assert "gaussian" in said.out
    assert "bypass" in said.out
    report = Report.from_json((out / "gaussian.report.json").read_bytes())
    assert set(report.budgets) == {"4", "1"}
    assert report.series[0].name == "kitchen-grid"
    assert 27 < report.clean_days <= 28
    assert report.budgets["4"].labels.right == 1
    page = (out / "faults.md").read_text()
    assert "| stuck heater | 2 |" in page
    for picture in out.glob("*.svg"):
        assert f"]({picture.name})" in page
        root = ET.fromstring(picture.read_text())  # noqa: S314 - of our own making
        assert root.attrib["viewBox"]
        assert "found" in picture.read_text()
    assert len(list(out.glob("*.svg"))) == len(report.budgets["4"].faults)


def test_wrong_use_is_told_in_one_line(archive: Path, tmp_path: Path) -> None:
    def told(*options: str, folder: Path = archive) -> str:
        said = run("evaluate", "--archive", str(folder), "--out", str(tmp_path / "o"), *options)
        assert said.status == 2, said
        return said.err.strip().splitlines()[-1]

    assert "46 days are too few for 182" in told()
    assert "nonsense" in told("--kinds", "nonsense", "--test-days", "28")
    assert "--budgets" in told("--budgets", "many", "--test-days", "28")
    assert "--zone" in told("--zone", "Mars/Base", "--test-days", "28")
    assert "solar" in told("--channels", "solar", "--test-days", "28")
    assert "no folder" in told(folder=tmp_path / "none")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert "line 1" in told("--labels", str(tmp_path / "bad.jsonl"), "--test-days", "28")
    (tmp_path / "x.txt").write_text("")
    assert ".wwm" in told("--model", str(tmp_path / "x.txt"), "--test-days", "28")
