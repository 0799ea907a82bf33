"""Run every benchmark and rewrite the table in `docs/performance.md`."""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.common import progress

NAMES = ("ingest", "peers", "metering", "web", "storage")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"


def run(name: str, *, quick: bool) -> tuple[dict[str, Any] | None, int]:
    """Run one benchmark; return its result (None when it printed none) and exit status."""
    progress(f"== {name}")
    command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return (json.loads(lines[-1]) if lines else None), done.returncode


def table(results: list[dict[str, Any]]) -> str:
    """Lay the results out as one Markdown table per benchmark."""
    parts = [f"Measured {datetime.now(UTC):%Y-%m-%d} by `make bench`."]
    for result in results:
        facts = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        rows = [
            f"### {result['name']}",
            "",
            facts,
            "",
            "| figure | value | limit |",
            "|---|---|---|",
        ]
        for figure, value in result["figures"].items():
            limit = result["limits"].get(figure)
            rows.append(f"| {figure} | {value:g} | {_limit(limit)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _limit(limit: dict[str, Any] | None) -> str:
    if limit is None:
        return ""
    sign = "≥" if limit["bound"] == "min" else "≤"
    return f"{sign} {limit['limit']:g} {'ok' if limit['ok'] else '**failed**'}"


def rewrite(page: str, body: str) -> str:
    """Return the page with what stands between its two marks replaced."""
    if BEGIN not in page or END not in page:
        return f"{page.rstrip()}\n\n{BEGIN}\n{body}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{body}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Run all; exit status 1 when any limit fails or any benchmark breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, and leaves the page alone")
    args = parser.parse_args()
    outcomes = [run(name, quick=args.quick) for name in NAMES]
    results = [result for result, _ in outcomes if result is not None]
    if not args.quick:
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Performance\n"
        PAGE.write_text(rewrite(page, table(results)), encoding="utf-8")
        progress(f"rewrote {PAGE}")
    return max(status for _, status in outcomes)


if __name__ == "__main__":
    sys.exit(main())
