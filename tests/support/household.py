"""Slices of real households, written for `replay` into a test's own directory."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

UCI = "02_household/uci_household_1min.parquet"
HOME_A = "02_household/pt_han_home_a_1min.parquet"
HOME_A_REGISTERS = "02_household/pt_han_home_a_registers.parquet"
HOLE_FACTOR = 1.5  # of the usual step, contract section 6


@dataclass(frozen=True)
class Source:
    """A file to replay, as which meter, with which `--map` options."""

    meter: str
    path: Path
    maps: tuple[str, ...] = ()


def uci(shared: Path, place: Path, *, days: float) -> tuple[Source, Any]:
    """Write the first days of the UCI household as Parquet; return it and its frame."""
    frame = pd.read_parquet(shared / UCI, columns=["ts", "p_kw", "q_kvar", "v", "i"])
    frame = frame[frame.ts < frame.ts.iloc[0] + pd.Timedelta(days=days)]
    frame = frame.rename(columns={"ts": "t"}).reset_index(drop=True)
    path = place / "uci.parquet"
    frame.to_parquet(path)
    return Source("uci", path, ("p=p_kw:1000", "q=q_kvar:1000")), frame


def home_a(shared: Path, place: Path, *, start: str, end: str) -> tuple[Source, Any]:
    """Write [start, end) of Portuguese home A as CSV (times in ISO 8601)."""
    columns = ["ts", "p_import_w", "p_export_w", "v_l1"]
    frame = pd.read_parquet(shared / HOME_A, columns=columns)
    frame = frame[(frame.ts >= start) & (frame.ts < end)]
    frame = frame.rename(columns={"ts": "t", "v_l1": "v"}).reset_index(drop=True)
    path = place / "home_a.csv"
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S")
    return Source("home-a", path, ("p=p_import_w-p_export_w",)), frame


def as_published(shared: Path) -> bytes:
    """Return the UCI household's month in the form in which UCI publishes it."""
    lines = ["Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity"]
    for row in pd.read_parquet(shared / UCI).itertuples():
        values = [f"{x:.3f}" for x in (row.p_kw, row.q_kvar, row.v, row.i)]
        told = ";".join(values).replace("nan", "?")
        lines.append(f"{row.ts.day}/{row.ts.month}/{row.ts.year};{row.ts:%H:%M:%S};{told}")
    return "\n".join(lines).encode()


def unix_ms(times: Any) -> list[int]:  # noqa: ANN401 - a pandas series
    """Return naive times, taken as UTC, in Unix ms."""
    return [int(t) for t in times.astype("datetime64[ms]").astype("int64")]


def missing_windows(times_ms: list[int]) -> tuple[int, int]:
    """Return how many windows the holes lack, as (rounded down, rounded up)."""
    steps = [b - a for a, b in pairwise(times_ms)]
    usual = sorted(steps)[len(steps) // 2]
    holes = [step for step in steps if step > HOLE_FACTOR * usual]
    low = sum(step // usual - 1 for step in holes)
    return low, sum(-(-step // usual) - 1 for step in holes)


def energy_wh(times_ms: list[int], powers: list[float | None]) -> list[float]:
    """Return the cumulative import by backward rectangles; holes add nothing."""
    steps = sorted(b - a for a, b in pairwise(times_ms))
    longest = HOLE_FACTOR * steps[len(steps) // 2]
    total = 0.0
    sums: list[float] = []
    before: int | None = None
    previous: int | None = None
    for at, power in zip(times_ms, powers, strict=True):
        if previous is not None and at - previous > longest:
            before = at  # the hole adds nothing, the windows after it do
        if power is not None:
            if before is not None:
                total += max(power, 0.0) * (at - before) / 3_600_000
            before = at
        previous = at
        sums.append(total)
    return sums
