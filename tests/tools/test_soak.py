"""The fault matrix as a program: every long test has its row, and a failing row is told."""

import json
from pathlib import Path

import pytest

from tools import soak
from tools.soak_rows import ROWS, Row


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where reports go during the test."""
    monkeypatch.setattr(soak, "REPORT", soak.ROOT / "build" / tmp_path.name)
    monkeypatch.setattr(soak, "PAGE", tmp_path / "page.md")
    soak.PAGE.write_text(f"before\n{soak.BEGIN}\nold\n{soak.END}\nafter\n")
    return soak.REPORT


def rows_of(folder: Path, *sources: str) -> tuple[Row, ...]:
    rows = []
    for number, source in enumerate(sources):
        file = folder / f"test_row{number}.py"
        file.write_text(source)
        rows.append(Row(f"fault {number}", "how", "must", (str(file),)))
    return tuple(rows)


def test_every_row_names_tests_that_exist() -> None:
    for row in ROWS:
        for word in row.tests:
            file, _, name = word.partition("::")
            path = soak.ROOT / file
            assert path.exists(), word
            assert not name or f"def {name}(" in path.read_text(), word


@pytest.mark.parametrize("form", ["@{}\n", "pytestmark = [{}]\n"])
def test_every_long_test_has_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """One that the matrix does not name is run all the same, in the last row."""
    monkeypatch.setattr(soak, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "TESTS", tmp_path / "tests")
    (tmp_path / "tests" / "faults").mkdir(parents=True)
    named, other, quick = (tmp_path / "tests" / f"test_{n}.py" for n in ("named", "other", "quick"))
    for file in (named, other, tmp_path / "tests" / "faults" / "test_in_a_folder.py"):
        file.write_text(form.format(soak.LONG_MARK))
    quick.write_text("")
    rows = (Row("a", "", "", ("tests/test_named.py::test_x", "tests/faults")),)
    assert [row.tests for row in soak.other_rows(rows)] == [("tests/test_other.py",)]


def test_a_full_run_tells_each_row_and_rewrites_the_page(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = (
        "import os\ndef test_seed(): assert os.environ['WATTWARDEN_SOAK_SEED'] == '7'\n",
        "def test_bad(): assert False\n",
        "import pytest\ndef test_none(): pytest.skip('no disk')\n",
    )
    monkeypatch.setattr(soak, "other_rows", lambda _: ())
    monkeypatch.setattr(soak, "ROWS", rows_of(tmp_path, *sources))
    assert soak.main(["--seed", "7"]) == 1
    report = json.loads((kept / "report.json").read_text())
    assert [(row["passed"], row["failed"], row["skipped"]) for row in report["rows"]] == [
        (1, 0, 0), (0, 1, 0), (0, 0, 1),
    ]  # fmt: skip
    page = soak.PAGE.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "| fault 1 | how | must | 1 FAILED |" in page
    assert "assert False" in (kept / "fault-1.log").read_text()
    assert "fault 2" in capsys.readouterr().out


def test_a_budget_leaves_rows_out_and_says_so(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "other_rows", lambda _: ())
    monkeypatch.setattr(soak, "ROWS", rows_of(tmp_path, *["def test_ok(): pass\n"] * 2))
    assert soak.main(["--budget", "0.0001"]) == 0
    report = json.loads((kept / "report.json").read_text())
    assert (len(report["rows"]), len(report["not_run"])) == (1, 1)
    assert "old" in soak.PAGE.read_text()  # what is no full run is no last full run


def test_a_word_that_no_row_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["--only", "earthquake"]) == 2
    assert "there are: SIGKILL of the daemon" in capsys.readouterr().err
