"""Run every benchmark, or those named, and rewrite their tables in `docs/performance.md`."""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.common import progress

NAMES = (
    *("ingest", "peers", "metering", "calibration", "firmware"),
    *("month", "push", "web", "storage", "cloud", "judging", "detection"),
)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
HEAD = "### "
MOST_ROWS = 100  # of more figures the page has those with a limit


def run(name: str, *, quick: bool) -> tuple[dict[str, Any] | None, int]:
    """Run one benchmark; return its result (None when it printed none) and exit status."""
    progress(f"== {name}")
    command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return (json.loads(lines[-1]) if lines else None), done.returncode


def table(result: dict[str, Any]) -> str:
    """Lay a result out as a Markdown section."""
    facts = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    rows = [
        f"{HEAD}{result['name']}",
        "",
        f"Measured {datetime.now(UTC):%Y-%m-%d} by `python -m bench.{result['name']}`: {facts}",
        "",
        "| figure | value | limit |",
        "|---|---|---|",
    ]
    limits, figures = result["limits"], result["figures"]
    left_out = 0
    for figure, value in figures.items():
        named = (figure, f"{figure}_min", f"{figure}_max")  # the latter two: a second bound
        told = ", ".join(_limit(limits[name]) for name in named if name in limits)
        if told or len(figures) <= MOST_ROWS:
            rows.append(f"| {figure} | {value:g} | {told} |")
        else:
            left_out += 1
    if left_out:
        rows += ["", f"{left_out} further figures, without a limit, stand in what it prints."]
    return "\n".join(rows)


def _limit(limit: dict[str, Any]) -> str:
    sign = "≥" if limit["bound"] == "min" else "≤"
    return f"{sign} {limit['limit']:g} {'ok' if limit['ok'] else '**failed**'}"


def rewrite(page: str, results: list[dict[str, Any]]) -> str:
    """Return the page with the sections of these results new; those of others stay."""
    if BEGIN not in page or END not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    between, _, after = rest.partition(END)
    found = {part.split("\n", 1)[0]: HEAD + part.strip() for part in between.split(HEAD)[1:]}
    found |= {result["name"]: table(result) for result in results}
    order = sorted(found, key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES))
    body = "\n\n".join(found[name] for name in order)
    return f"{before}{BEGIN}\n{body}\n{END}{after}"


def main() -> int:
    """Run them; exit status 1 when any limit fails or any benchmark breaks."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="shorter, and leaves the page alone")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    outcomes = [run(name, quick=args.quick) for name in args.names or NAMES]
    results = [result for result, _ in outcomes if result is not None]
    if not args.quick:
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Performance\n"
        PAGE.write_text(rewrite(page, results), encoding="utf-8")
        progress(f"rewrote {PAGE}")
    return max(status for _, status in outcomes)


if __name__ == "__main__":
    sys.exit(main())
