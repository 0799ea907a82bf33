"""The metering bench judges what the design page asks, and its rig measures."""

import json

import numpy as np
import pytest

from bench.common import Result
from bench.metering import board_figures, limits, slug, table
from bench.metering_loads import CASES, Error, compare, integral
from bench.metering_recordings import IdealConverter, Recording, ideal
from bench.metering_rig import FRAMES, Measured
from simulation.sources import Load, SteadySource, Truth, Wire


def errors(off: float) -> dict[str, list[Error]]:
    return {case.name: [Error(off, off, off, off / 100, off)] * 4 for case in CASES}


def test_every_figure_with_a_limit_is_measured_and_good_ones_pass() -> None:
    good = Result("metering", board_figures(errors(0.1)), limits())
    assert good.ok()
    assert {limit.value for limit in limits()} == {5.0, 2.0, 0.5, 1.0, 0.2, 0.005}


def test_bad_figures_fail_one_by_one() -> None:
    judged = json.loads(Result("metering", board_figures(errors(6.0)), limits()).as_json())
    assert not any(verdict["ok"] for verdict in judged["limits"].values())


def test_names_of_figures_differ() -> None:
    names = [slug(case) for case in CASES]
    assert len(set(names)) == len(names)


def test_the_table_quotes_emonlib_beside_ours() -> None:
    line = next(row for row in table(errors(0.1)).splitlines() if row.startswith("| 5 W "))
    assert "+306 / -1.2 (15)" in line
    assert "P ≤ 5" in line


def test_errors_are_of_the_means() -> None:
    windows = [
        Measured(v, 50.0, [2.0], [p], [0.0], 0, 1000, 500) for v, p in ((229.0, 450), (233.0, 470))
    ]
    off = compare(windows, Truth(230.0, 50.0, 2.0, 460.0, 0.0), 50.01)
    assert off.v == pytest.approx(100 / 230)
    assert off.i == off.p == pytest.approx(0.0)
    assert off.f == pytest.approx(-10.0)


def test_the_truth_of_a_burst_depends_on_when_it_is_measured() -> None:
    source = SteadySource(Wire(), [Load(1000.0, burst=(25, 50))])
    assert integral(source, 0.0, 0.5).p == pytest.approx(1000.0, rel=1e-3)
    assert integral(source, 0.0, 2.0).p == pytest.approx(500.0, rel=1e-3)
    assert integral(source, 0.5, 1.0).i == pytest.approx(0.0, abs=0.3)


def test_a_recording_comes_back_out_of_the_firmware() -> None:
    turns = np.arange(1280) / 128
    volts = 300 * np.sin(2 * np.pi * turns)
    amps = 4 * np.sin(2 * np.pi * turns - 0.5) + 1.5 * np.sin(6 * np.pi * turns)
    v_rms, i_rms = 300 / np.sqrt(2), float(np.sqrt(np.mean(amps**2)))
    watts = float(np.mean(volts * amps))
    recording = Recording("made", 6400.0, volts, amps, v_rms, i_rms, watts, watts / (v_rms * i_rms))
    (off,) = ideal([recording], 2)
    assert abs(off.v) < 0.02
    assert abs(off.i) < 0.05
    assert abs(off.pf) < 5e-4


def test_the_ideal_converter_fills_its_range() -> None:
    recording = Recording("made", 1000.0, np.ones(100), np.ones(100), 1.0, 1.0, 1.0, 1.0)
    ticks, codes = next(iter(IdealConverter().bursts(recording, (1900.0, -1900.0), 1)))
    assert len(ticks) == FRAMES
    assert (codes[0] >> 4).tolist() == [3948, 148]
