"""Real households replayed through a real broker come out as they went in."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.daemon import Daemon
from tests.support.exports import Row, export_csv, parse_csv
from tests.support.household import (
    HOME_A_REGISTERS,
    Source,
    energy_wh,
    home_a,
    missing_windows,
    uci,
    unix_ms,
)

DAY_MS = 86_400_000
pytestmark = pytest.mark.shared


def replay(daemon: Daemon, source: Source) -> str:
    """Replay at full speed with times taken as UTC; return the raw export."""
    options = [part for pair in source.maps for part in ("--map", pair)]
    daemon.cli_ok(
        "replay",
        str(source.path),
        *("--meter", source.meter, "--timezone", "UTC", *options),
        within_s=900,
    )
    return export_csv(daemon, source.meter)


def assert_values(rows: list[Row], column: str, wanted: Any) -> None:  # noqa: ANN401 - a series
    """Fail unless a column equals the input; NaN there is an empty cell here."""
    for row, value in zip(rows, wanted, strict=True):
        if value is None or math.isnan(value):
            assert row[column] is None
        else:
            assert row[column] == pytest.approx(value, rel=1e-6, abs=1e-6)


def assert_every_row_once(rows: list[Row], times_ms: list[int]) -> None:
    """Fail unless times match and holes of the input are holes in `seq`."""
    assert [row["t"] for row in rows] == times_ms
    seqs = [row["seq"] for row in rows]
    assert seqs == sorted(set(seqs))
    low, high = missing_windows(times_ms)
    assert len(rows) + low <= seqs[-1] + 1 <= len(rows) + high
    assert len({row["boot"] for row in rows}) == 1


def daily_wh(times_ms: list[int], cumulative: list[float]) -> dict[int, float]:
    """Return the energy of each whole day between the first and the last midnight."""
    first = -(-times_ms[0] // DAY_MS)
    edges = [day * DAY_MS for day in range(first, times_ms[-1] // DAY_MS + 1)]
    at_edges = np.interp(edges, times_ms, cumulative)
    return {first + n: float(b - a) for n, (a, b) in enumerate(pairwise(at_edges))}


def check_uci(daemon: Daemon, shared: Path, place: Path, *, days: float) -> None:
    """Replay the UCI household and compare it with its file."""
    source, frame = uci(shared, place, days=days)
    text = replay(daemon, source)
    rows = parse_csv(text)
    assert_every_row_once(rows, unix_ms(frame.t))
    assert_values(rows, "p", frame.p_kw * 1000)
    assert_values(rows, "q", frame.q_kvar * 1000)
    assert_values(rows, "v", frame.v)
    assert_values(rows, "i", frame.i)
    assert replay(daemon, source) == text


def check_home_a(daemon: Daemon, shared: Path, place: Path, start: str, end: str) -> None:
    """Replay home A; compare rows with the file and days with the home's own meter."""
    source, frame = home_a(shared, place, start=start, end=end)
    text = replay(daemon, source)
    rows = parse_csv(text)
    times = unix_ms(frame.t)
    assert_every_row_once(rows, times)
    assert_values(rows, "v", frame.v)
    power = frame.p_import_w - frame.p_export_w
    for row, value in zip(rows, power, strict=True):
        if not math.isnan(value):  # what half a pair means is the replay's choice
            assert row["p"] == pytest.approx(value, rel=1e-6)
    assert_energy(rows, times, power, shared)
    assert replay(daemon, source) == text


def assert_energy(rows: list[Row], times: list[int], power: Any, shared: Path) -> None:  # noqa: ANN401
    """Fail unless each day's energy is the power's integral, as near to the home's meter."""
    known = [(row["t"], row["wh_in"]) for row in rows if row["wh_in"] is not None]
    ours = daily_wh([t for t, _ in known], [wh for _, wh in known])
    integral = daily_wh(times, energy_wh(times, [None if math.isnan(p) else p for p in power]))
    registers = pd.read_parquet(shared / HOME_A_REGISTERS, columns=["ts", "tiae", "zero_glitch"])
    registers = registers[~registers.zero_glitch & registers.tiae.notna()]
    meter = daily_wh(unix_ms(registers.ts), list(registers.tiae * 1000))
    assert len(ours) >= 1
    for day, wh in ours.items():
        assert wh == pytest.approx(integral[day], rel=0.005, abs=5)
        worst = abs(integral[day] - meter[day]) + 0.005 * meter[day] + 5
        assert abs(wh - meter[day]) <= worst


def test_two_days_of_the_uci_household(daemon: Daemon, shared: Path, tmp_path: Path) -> None:
    check_uci(daemon, shared, tmp_path, days=2)


def test_four_days_of_home_a(daemon: Daemon, shared: Path, tmp_path: Path) -> None:
    check_home_a(daemon, shared, tmp_path, "2020-03-01", "2020-03-05")


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_whole_uci_household(daemon: Daemon, shared: Path, tmp_path: Path) -> None:
    check_uci(daemon, shared, tmp_path, days=40)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_sixty_days_of_home_a(daemon: Daemon, shared: Path, tmp_path: Path) -> None:
    check_home_a(daemon, shared, tmp_path, "2020-03-01", "2020-04-30")
