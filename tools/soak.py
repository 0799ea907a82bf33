"""Run the matrix of faults: seeded, within a time budget, with a report.

make soak                                   everything; rewrites docs/reliability.md
make soak ARGS="--budget 30 --seed 7"       half an hour of it, in the seed's order
make soak ARGS="--only power"               rows whose name holds a word
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tools.soak_rows import ROWS, Row

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "build" / "soak"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak:begin -->", "<!-- soak:end -->"
SEED_VARIABLE = "WATTWARDEN_SOAK_SEED"
LONGEST_TEST_S = 3600
TESTS = ROOT / "tests"
LONG_MARK = "pytest.mark." + "soak"
NO_TESTS = 5  # pytest's exit status where nothing was selected


class Outcome(NamedTuple):
    """What became of one row."""

    row: Row
    passed: int
    failed: int
    skipped: int
    seconds: float

    @property
    def verdict(self) -> str:
        """Return the row's result in a word or two."""
        if self.failed:
            return f"{self.failed} FAILED"
        if not self.passed:
            return "skipped"
        return "passed" + (f", {self.skipped} skipped" if self.skipped else "")


def main(words: list[str] | None = None) -> int:
    """Run what was asked for; 1 when a row failed."""
    args = arguments().parse_args(words)
    every = (*ROWS, *other_rows(ROWS))
    rows = [row for row in every if args.only is None or args.only.lower() in row.fault.lower()]
    if not rows:
        names = "; ".join(row.fault for row in every)
        print(f"soak: no row's name holds {args.only!r}; there are: {names}", file=sys.stderr)
        return 2
    if args.budget is not None:
        random.Random(args.seed).shuffle(rows)  # noqa: S311 - an order that can be repeated
    print(f"soak: seed {args.seed}, {len(rows)} rows", file=sys.stderr)
    outcomes, left = run_rows(rows, args.seed, args.budget)
    write_report(outcomes, left, args.seed)
    if args.only is None and args.budget is None:
        rewrite_page(outcomes, args.seed)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def arguments() -> argparse.ArgumentParser:
    """Return what the command understands."""
    parser = argparse.ArgumentParser(
        prog="make soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=20_261_122,
        help="moments of kills and cuts (default %(default)s)",
    )
    parser.add_argument(
        "--budget", type=float, metavar="MINUTES", help="begin no row after so long"
    )
    parser.add_argument("--only", metavar="WORD", help="only rows whose name holds this")
    return parser


def other_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return a row of the files with long tests that no other row names; none where all are."""
    named = [ROOT / word.partition("::")[0] for row in rows for word in row.tests]
    others = sorted(
        str(file.relative_to(ROOT))
        for file in TESTS.rglob("test_*.py")
        if LONG_MARK in file.read_text(encoding="utf-8")
        and not any(file == place or place in file.parents for place in named)
    )
    return (
        (Row("other long tests", "as each of them says", "all pass", tuple(others)),)
        if others
        else ()
    )


def run_rows(
    rows: list[Row], seed: int, budget_min: float | None
) -> tuple[list[Outcome], list[Row]]:
    """Run row after row; return what became of them, and the rows the budget left out."""
    began_s = time.monotonic()
    outcomes: list[Outcome] = []
    for number, row in enumerate(rows):
        if budget_min is not None and time.monotonic() - began_s > budget_min * 60:
            return outcomes, rows[number:]
        print(f"[{number + 1}/{len(rows)}] {row.fault} …", file=sys.stderr, flush=True)
        outcomes.append(run_row(row, seed))
        print(f"    {outcomes[-1].verdict}, {outcomes[-1].seconds:.0f} s", file=sys.stderr)
    return outcomes, []


def run_row(row: Row, seed: int) -> Outcome:
    """Run one row's tests in a pytest of its own: the small forms and the long ones."""
    REPORT.mkdir(parents=True, exist_ok=True)
    results = REPORT / "row.xml"
    results.unlink(missing_ok=True)
    began_s = time.monotonic()
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "soak or not soak", "--tb=short",
        f"--timeout={LONGEST_TEST_S}", f"--junitxml={results}", *row.tests,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, SEED_VARIABLE: str(seed)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began_s
    log = REPORT / f"{slug(row.fault)}.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode == NO_TESTS or not results.exists():
        return Outcome(row, 0, 1, 0, seconds)  # a row that tests nothing has failed
    return Outcome(row, *counts(results), seconds)


def counts(results: Path) -> tuple[int, int, int]:
    """Return how many passed, failed and were skipped, from pytest's JUnit file."""
    suite = ET.parse(results).getroot().find("testsuite")  # noqa: S314 - pytest has just written it
    if suite is None:
        return 0, 1, 0
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return max(0, total - skipped - failed), failed, skipped


def write_report(outcomes: list[Outcome], left: list[Row], seed: int) -> None:
    """Print the table, and keep it as JSON."""
    print("\n".join(table(outcomes)))
    for row in left:
        print(f"not run, the time was over: {row.fault}")
    report = {
        "seed": seed,
        "machine": machine(),
        "rows": [
            {
                "fault": done.row.fault, "passed": done.passed, "failed": done.failed,
                "skipped": done.skipped, "seconds": round(done.seconds, 1),
            }
            for done in outcomes
        ],
        "not_run": [row.fault for row in left],
    }  # fmt: skip
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(f"kept in {REPORT.relative_to(ROOT)}/, with a log of each row", file=sys.stderr)


def rewrite_page(outcomes: list[Outcome], seed: int) -> None:
    """Put a full run's table into docs/reliability.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    date = time.strftime("%Y-%m-%d")
    said = f"Last full run: {date}, `make soak`, seed {seed}, {machine()}."
    PAGE.write_text("\n".join([before + BEGIN, said, "", *table(outcomes), END]) + after, "utf-8")


def table(outcomes: list[Outcome]) -> list[str]:
    """Return the rows as a Markdown table."""
    lines = ["| fault | how | must | result | tests | s |", "|---|---|---|---|---|---|"]
    return lines + [
        f"| {done.row.fault} | {done.row.how} | {done.row.passes} | {done.verdict}"
        f" | {done.passed} | {done.seconds:.0f} |"
        for done in outcomes
    ]


def machine() -> str:
    """Return what it ran on, in words."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {platform.machine()}"


def slug(name: str) -> str:
    """Return a row's name as part of a file's."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


if __name__ == "__main__":
    sys.exit(main())
