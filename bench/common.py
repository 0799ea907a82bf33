"""What every benchmark shares: machine facts, limits, the JSON line, processes."""

import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

MEGABYTE = 1024 * 1024
Figures = dict[str, float]


def progress(text: str) -> None:
    """Tell a person what is going on; stdout is kept for the result."""
    print(text, file=sys.stderr, flush=True)


def scratch_base() -> str:
    """Return where scratch directories are made."""
    return os.environ.get("BENCH_DIR", "/var/tmp")  # noqa: S108 - mkdtemp makes it private


@contextmanager
def work_directory() -> Iterator[Path]:
    """Give a scratch directory on a disk (`$BENCH_DIR`, else /var/tmp), then remove it.

    A tmpfs would make every commit free; it is used only when named on purpose.
    """
    base = scratch_base()
    if filesystem(Path(base)) in {"tmpfs", "ramfs"}:
        progress(f"warning: {base} is not a disk; commits cost nothing there")
    with tempfile.TemporaryDirectory(prefix="ww-bench-", dir=base) as path:
        yield Path(path)


def filesystem(path: Path) -> str:
    """Return the type of the file system that holds a path, or 'unknown'."""
    best = ("", "unknown")
    for part in psutil.disk_partitions(all=True):
        inside = path.resolve().is_relative_to(part.mountpoint)
        if inside and len(part.mountpoint) > len(best[0]):
            best = (part.mountpoint, part.fstype)
    return best[1]


def machine() -> dict[str, str | int | float]:
    """Describe what the figures were measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_mb": psutil.virtual_memory().total // MEGABYTE,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "filesystem": filesystem(Path(scratch_base())),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def peak_rss_mb(pid: int) -> float:
    """Return the most memory a living process ever had resident, MB (Linux VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    msg = f"no VmHWM for process {pid}"
    raise RuntimeError(msg)


def cpu_seconds(process: psutil.Process) -> float:
    """Return user and system time a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over runs that all have it."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must reach: at least (`min`) or at most (`max`) a value."""

    figure: str
    bound: Literal["min", "max"]
    value: float

    def met(self, measured: float) -> bool:
        """Tell whether a measured value is good enough."""
        # A numpy figure compares to a numpy bool, which is no JSON.
        return bool(measured >= self.value if self.bound == "min" else measured <= self.value)


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's outcome, as its last line of stdout tells it."""

    name: str
    figures: Figures
    limits: Sequence[Limit]
    settings: dict[str, str | int | float] = field(default_factory=dict)

    def ok(self) -> bool:
        """Tell whether every limit is met; a figure that is missing fails."""
        return all(limit.figure in self.figures and self._met(limit) for limit in self.limits)

    def _met(self, limit: Limit) -> bool:
        return limit.met(self.figures[limit.figure])

    def as_json(self) -> str:
        """Return the one-line JSON object of the contract."""
        judged: dict[str, dict[str, float | str | bool | None]] = {}
        for limit in self.limits:
            # A figure with a bound on both sides has two lines.
            name = limit.figure if limit.figure not in judged else f"{limit.figure}_{limit.bound}"
            judged[name] = {
                "value": _rounded(self.figures.get(limit.figure)),
                "limit": limit.value,
                "bound": limit.bound,
                "ok": limit.figure in self.figures and self._met(limit),
            }
        whole = {
            "name": self.name,
            "machine": machine(),
            "settings": self.settings,
            "figures": {key: _rounded(value) for key, value in self.figures.items()},
            "limits": judged,
        }
        return json.dumps(whole)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def finish(result: Result) -> int:
    """Print the result as the last line; return the exit status."""
    for limit in result.limits:
        measured = result.figures.get(limit.figure)
        sign = "≥" if limit.bound == "min" else "≤"
        verdict = "ok" if measured is not None and limit.met(measured) else "FAILED"
        progress(f"{limit.figure}: {_rounded(measured)} (must be {sign} {limit.value:g}) {verdict}")
    print(result.as_json(), flush=True)
    return 0 if result.ok() else 1
