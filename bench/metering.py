"""The firmware's metering errors on simulated boards and on real recordings.

Boards are drawn from seeds, each with its own parts, and calibrated only by the project's
own fit from the firmware's raw sums and reference readings, at room temperature; then the
firmware, run by the MicroPython VM where there is one, measures the loads of the table
at another temperature and hours later. EmonLib's figures are quoted from the design page,
where they were measured on the same model of a chain.
"""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from bench.common import Figures, Limit, Result, finish, progress
from bench.metering_loads import CASES, BoardResult, Case, Error, run_board
from bench.metering_recordings import LIMITS as RECORDING_LIMITS
from bench.metering_recordings import run_recordings
from bench.metering_rig import command
from tests.support.shared import shared_data

BOARDS, QUICK_BOARDS = 10, 2
FREQUENCIES_HZ = (50.0, 60.0)
PF_LIMIT = 0.005


def slug(case: Case) -> str:
    """Return a case's name as it stands in figures."""
    return re.sub("[^a-z0-9]+", "_", case.name.lower().replace(".", ""))


def limits() -> list[Limit]:
    """Return every limit on the simulated boards: the 95th percentile of |error|."""
    out: list[Limit] = []
    for case in CASES:
        bounds = (("p", case.p_limit), ("i", case.i_limit), ("v", case.v_limit))
        out += [
            Limit(f"{slug(case)}_{what}_p95_pct", "max", bound)
            for what, bound in bounds
            if bound is not None
        ]
    return [*out, Limit("pf_p95", "max", PF_LIMIT)]


def column(errors: Sequence[Error], what: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return one kind of error of all averages."""
    return np.array([getattr(error, what) for error in errors])


def p95(errors: Sequence[Error], what: str) -> float:
    """Return the 95th percentile of the absolute error."""
    return float(np.percentile(np.abs(column(errors, what)), 95))


def board_figures(errors: Mapping[str, Sequence[Error]]) -> Figures:
    """Return mean and 95th percentile of each case, and the power factor's worst case."""
    out: Figures = {}
    for case in CASES:
        rows, name = errors[case.name], slug(case)
        bounds = {"p": case.p_limit, "i": case.i_limit, "v": case.v_limit}
        for what, bound in bounds.items():
            if bound is not None or (not any(bounds.values()) and what == "p"):
                out[f"{name}_{what}_mean_pct"] = float(column(rows, what).mean())
                out[f"{name}_{what}_p95_pct"] = p95(rows, what)
    judged = [case.name for case in CASES if case.pf_judged]
    out["pf_p95"] = max(p95(errors[name], "pf") for name in judged)
    out["f_p95_mhz"] = max(p95(errors[name], "f") for name in judged)
    return out


def table(errors: Mapping[str, Sequence[Error]]) -> str:
    """Return the error table: mean, 95th percentile of |error| in brackets."""
    head = (
        "| load | EmonLib I / P | phase tuned, P | EmonLibCM I / P | ours I | ours P | to reach |"
    )
    lines = [head + " V | PF |", "|---|---|---|---|---|---|---|---|---|"]
    for case in CASES:
        rows = errors[case.name]
        own = [f"{column(rows, w).mean():+.2f} ({p95(rows, w):.2f})" for w in ("i", "p", "v")]
        factor = f"{column(rows, 'pf').mean():+.4f} ({p95(rows, 'pf'):.4f})"
        quoted = " | ".join(text or "-" for text in case.emonlib)
        reach = _reach(case)
        cells = [case.name, quoted, own[0], own[1], reach, own[2], factor]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _reach(case: Case) -> str:
    bounds = (("P", case.p_limit), ("I", case.i_limit), ("V", case.v_limit))
    return ", ".join(f"{name} ≤ {bound:g}" for name, bound in bounds if bound is not None) or "-"


def run_boards(boards: int, repeats: int, share: float) -> list[BoardResult]:
    """Measure all boards at both frequencies, as many at a time as there are cores."""
    tasks = [(seed, hz, repeats, share) for seed in range(boards) for hz in FREQUENCIES_HZ]
    results = []
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        for task, result in zip(tasks, pool.map(run_board, tasks), strict=True):
            progress(f"board {task[0]} at {task[1]:g} Hz done")
            results.append(result)
    return results


def main() -> int:
    """Measure, print the table, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two boards, shorter calibration")
    parser.add_argument("--boards", type=int, help="how many boards (10; 2 with --quick)")
    args = parser.parse_args()
    boards = args.boards or (QUICK_BOARDS if args.quick else BOARDS)
    repeats, share = (1, 0.5) if args.quick else (2, 1.0)
    results = run_boards(boards, repeats, share)
    errors = {case.name: [e for r in results for e in r.errors[case.name]] for case in CASES}
    print(table(errors))
    figures = board_figures(errors)
    figures["busy_ms_per_window"] = float(np.median([r.busy_ms for r in results]))
    figures["meter_heap_bytes"] = max(r.heap_bytes for r in results)
    figures["flagged_windows"] = sum(r.flagged for r in results)
    judged = limits()
    if shared_data() is None:
        progress("NO REFERENCE DATA ($WATTWARDEN_SHARED, ../shared): recordings are left out")
    else:
        figures |= run_recordings(quick=args.quick)
        judged += RECORDING_LIMITS
    settings: dict[str, str | int | float] = {
        "boards": boards,
        "repeats": repeats,
        "average_s": 10,
        "interpreter": "MicroPython" if "heapsize" in " ".join(command()[0]) else "CPython",
    }
    return finish(Result("metering", figures, judged, settings))


if __name__ == "__main__":
    sys.exit(main())
