"""Sampling: 32 bits are enough, cycles are cut whole, spikes and late frames are seen."""

import json
import math
import operator
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sampler
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler import FRAMES, REACH, UNIT, Sampler

from tests.support.firmware import needs_vm, vm
from tests.support.synthetic import TICKS, FormulaBoard, Wave

INT32 = 1 << 31


class Checked(int):
    """An integer that refuses to leave 32 bits, as viper's on an ESP32 would wrap."""


def _checked(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Checked]:
    def operate(left: int, right: int) -> Checked:
        out = function(int(left), int(right))
        assert -INT32 <= out < INT32, f"{function.__name__}({left}, {right}) leaves 32 bits"
        return Checked(out)

    return operate


def _swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda right, left: function(left, right)


for _name in ("add", "sub", "mul", "lshift", "rshift", "and_", "or_"):
    _operate = _checked(getattr(operator, _name))
    setattr(Checked, f"__{_name.strip('_')}__", _operate)
    setattr(Checked, f"__r{_name.strip('_')}__", _swapped(_operate))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every integer of the viper functions a checked one."""
    monkeypatch.setattr(sampler, "int", Checked, raising=False)


EXTREMES: dict[str, Callable[[int, int], float]] = {
    "all high": lambda _place, _frame: 4095,
    "all low": lambda _place, _frame: 0,
    "square waves": lambda _place, frame: 4095 if frame // 40 % 2 else 0,
    "opposite": lambda place, frame: 4095 if (frame // 40 + place) % 2 else 0,
    "every other": lambda _place, frame: 4095 if frame % 2 else 0,
}


@pytest.mark.parametrize("shape", EXTREMES)
@pytest.mark.parametrize("bias", [0.0, 2048.0, 4095.0])
def test_no_sum_leaves_32_bits(narrow: None, shape: str, bias: float) -> None:
    board = FormulaBoard(Wave(0.0), Wave(0.0), start_us=TICKS - 5)
    board.alter = lambda _place, _frame, _code: bias  # drives the mids to their ends
    taken = Sampler(board)
    taken.burst()
    board.alter = lambda place, frame, _code: EXTREMES[shape](place, frame)
    for _ in range(2):
        taken.burst()
    assert max(taken.square) <= REACH * REACH * FRAMES * UNIT


def test_the_checks_would_see_a_longer_burst(narrow: None) -> None:
    frames = 2 * FRAMES
    codes = array("H", [0] * (frames + 2))  # -2048 after the offset
    job = array("i", [frames + 2, 1, 0, *[0] * 17])
    job[9], job[10] = 1, frames
    with pytest.raises(AssertionError, match="leaves 32 bits"):
        sampler.add_up(codes, job)


def test_ticks_wrap_and_lateness_stay_within_32_bits(narrow: None) -> None:
    board = FormulaBoard(Wave(1000.0), Wave(100.0), start_us=TICKS - 60_000)
    board.late_us = lambda frame: 120 if frame in {7, 300} else 3
    taken = Sampler(board)
    taken.burst()
    assert taken.late == 2
    assert taken.cycles == 5


@settings(max_examples=60, deadline=None)
@given(
    hz=st.floats(45.0, 65.0),
    angle=st.floats(0.0, 2 * math.pi),
    peak=st.floats(300.0, 1800.0),
    bias=st.floats(1900.0, 2200.0),
    lag=st.floats(-1.4, 1.4),
)
def test_cuts_whole_cycles(hz: float, angle: float, peak: float, bias: float, lag: float) -> None:
    board = FormulaBoard(
        Wave(peak, bias=bias), Wave(500.0, lag, bias + 30), hz=hz, angle=angle, read_us=0
    )
    taken = Sampler(board)
    taken.burst()
    assert taken.cycles * UNIT * 1e6 / taken.span == pytest.approx(hz, rel=2e-4)
    # The weights at both ends make the frames exactly whole cycles, up to 1/1024 frame
    # and the quarter of a code to which a crossing is known.
    assert taken.weight / UNIT == pytest.approx(taken.cycles / hz / 250e-6, abs=0.05)
    n = taken.weight
    volts = taken.plain[0] / n
    own = (taken.product[1] - volts * taken.plain[1]) / n
    assert own == pytest.approx(peak * 250 * math.cos(lag), abs=peak * 250 * 2e-3)
    assert taken.plain[0] / n + taken.mid[0] / 16 == pytest.approx(bias, abs=1.5)


def test_without_mains_the_whole_burst_counts() -> None:
    taken = Sampler(FormulaBoard(Wave(20.0), Wave(5.0)))
    taken.burst()
    assert (taken.cycles, taken.span) == (0, 0)
    assert taken.weight == (FRAMES - 2) * UNIT - 1
    assert taken.square[1] / taken.weight == pytest.approx(12.5, rel=0.05)


def test_clipped_samples_are_counted() -> None:
    taken = Sampler(FormulaBoard(Wave(1000.0), Wave(2500.0)))
    taken.burst()
    assert taken.clipped[0] == 0
    assert taken.clipped[1] > FRAMES // 4
    assert (taken.low[1], taken.high[1]) == (0, 4095)


def test_single_spikes_are_replaced() -> None:
    board = FormulaBoard(Wave(1000.0), Wave(10.0))
    clean = Sampler(board)
    clean.burst()
    board = FormulaBoard(Wave(1000.0), Wave(10.0))
    board.alter = lambda place, frame, code: code + 90 * (place == 1 and frame % 250 == 99)
    spiked = Sampler(board)
    spiked.burst()
    assert spiked.spikes == [0, 2]
    assert spiked.square[1] == pytest.approx(clean.square[1], rel=0.01)


def test_pulses_of_every_cycle_are_no_spikes() -> None:
    board = FormulaBoard(Wave(1000.0), Wave(0.0))
    board.alter = lambda place, frame, code: code + 90 * (place == 1 and frame % 40 == 20)
    taken = Sampler(board)
    taken.burst()
    assert taken.spikes == [0, 0]
    assert taken.square[1] / taken.weight == pytest.approx(90**2 / 40, rel=0.1)


def test_mids_follow_a_drifting_bias_within_their_span() -> None:
    board = FormulaBoard(Wave(1000.0, bias=2100.0), Wave(300.0, bias=1000.0))
    taken = Sampler(board)
    for _ in range(3):
        taken.burst()
    assert taken.mid[0] / 16 == pytest.approx(2100.0, abs=2)
    assert taken.mid[1] / 16 == 2048 - 256  # a broken divider: held where sums still fit


IN_VM = """
import json
import sys
from array import array
import sampler
job = array("i", bytes(80))
with open(sys.argv[1]) as file:
    case = json.load(file)
codes = array("H", case["codes"])
linear = array("H", case["linear"])
out = []
for place in range(2):
    job[0], job[1], job[2], job[3] = case["frames"], 2, place, case["mid"]
    out.append(sampler.centre(codes, linear, job))
    out.append(sampler.despike(codes, job))
out.append(sampler.find_crossings(codes, job))
for place in range(2):
    job[2], job[9], job[10] = place, 1, case["frames"] - 1
    out.append(sampler.add_up(codes, job))
    out.extend(list(job)[4:16])
print(json.dumps(out))
"""


@needs_vm
def test_viper_and_python_agree_to_the_last_bit(tmp_path: Path) -> None:
    board = FormulaBoard(Wave(1700.0, bias=2070.0), Wave(2300.0, 0.8))
    board.alter = lambda _place, frame, code: code + (frame * 7919) % 13 + 200 * (frame % 170 == 3)
    knots = [min(code * 15 + 1000 + code % 48, 65535) for code in range(0, 4097, 16)]
    board.linear = array("H", knots)
    board.open(FRAMES)
    _, volts, amps = board.readers()
    codes = [read() for _ in range(FRAMES) for read in (volts, amps)]
    case = {"codes": codes, "linear": list(board.linear), "frames": FRAMES, "mid": 31900}
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case))
    in_vm = json.loads(vm(IN_VM, str(path), heap="1M"))

    job = array("i", bytes(80))
    own: list[int] = []
    buffer = array("H", codes)
    for place in range(2):
        job[0], job[1], job[2], job[3] = FRAMES, 2, place, 31900
        own += [sampler.centre(buffer, board.linear, job), sampler.despike(buffer, job)]
    own.append(sampler.find_crossings(buffer, job))
    for place in range(2):
        job[2], job[9], job[10] = place, 1, FRAMES - 1
        own += [sampler.add_up(buffer, job), *job[4:16]]
    assert in_vm == own
