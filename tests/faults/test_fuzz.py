"""Coverage-guided fuzzing of every parser that reads what strangers send."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="pip install atheris")

SECONDS = 30
PARSERS = ("readings", "state", "events", "time", "cursor", "map", "settings", "model")


@pytest.mark.soak
@pytest.mark.parametrize("parser", PARSERS)
def test_no_parser_lets_an_error_escape(parser: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.faults.fuzz", parser, str(SECONDS), str(tmp_path)]
    done = subprocess.run(
        words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        timeout=SECONDS + 90,
    )  # fmt: skip
    found = [file.read_bytes()[:300] for file in tmp_path.glob("found-*")]
    assert done.returncode == 0, (found, done.stderr[-3000:])
