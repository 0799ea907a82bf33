"""Registers count exactly, never fall, and come back after a power cut."""

from pathlib import Path

import pytest
import wire
from bootcount import next_boot
from hypothesis import given
from hypothesis import strategies as st
from registers import Registers

from tests.support.keeping import Cuts, power


@given(st.lists(st.tuples(st.integers(-(10**8), 10**8), st.integers(100, 5000)), max_size=50))
def test_they_count_to_the_mwh(windows: list[tuple[int, int]]) -> None:
    registers = Registers("/nowhere", ["grid"])
    mw_ms_in = mw_ms_out = 0
    for milliwatts, dt_ms in windows:
        before = registers.mwh_in[0], registers.mwh_out[0]
        registers.add(0, milliwatts / 1000, dt_ms)
        mw_ms_in += max(milliwatts, 0) * dt_ms
        mw_ms_out += max(-milliwatts, 0) * dt_ms
        assert registers.mwh_in[0] >= before[0]
        assert registers.mwh_out[0] >= before[1]
    assert registers.mwh_in[0] == mw_ms_in // 3_600_000
    assert registers.mwh_out[0] == mw_ms_out // 3_600_000


@pytest.mark.parametrize("power_w", [None, float("nan"), float("inf"), -1e9])
def test_what_is_no_power_counts_nothing(power_w: float | None) -> None:
    registers = Registers("/nowhere", ["grid"])
    registers.add(0, power_w, 1000)
    assert (registers.mwh_in, registers.mwh_out) == ([0], [0])


def test_they_come_back_by_name(tmp_path: Path) -> None:
    registers = Registers(str(tmp_path), ["grid", "solar"])
    registers.mwh_in[:] = [2**50, 7]
    registers.mwh_out[:] = [1, 2]
    assert registers.save()
    again = Registers(str(tmp_path), ["load1", "solar"])
    assert (again.mwh_in, again.mwh_out) == ([0, 7], [0, 2])
    assert again.save()
    back = Registers(str(tmp_path), ["solar", "grid", "load1"])
    assert back.mwh_in == [7, 2**50, 0]
    assert back.mwh_out == [2, 1, 0]


def test_the_larger_of_flash_and_ack_counts_before_the_first_window(tmp_path: Path) -> None:
    registers = Registers(str(tmp_path), ["grid", "solar"])
    registers.mwh_in[:] = [5_000, 9_000]
    text = '{"regs":{"grid":{"wh_in":12034512.347,"wh_out":0.5},"solar":{"wh_in":3,"wh_out":null}}}'
    assert registers.raise_to(wire.read_ack(text)["regs"])
    assert registers.mwh_in == [12_034_512_347, 9_000]
    assert registers.mwh_out == [500, 0]
    registers.add(0, 1.0, 1000)
    assert not registers.raise_to({"grid": {"wh_in": "99999999.0"}})
    assert registers.mwh_in[0] == 12_034_512_347


@pytest.mark.parametrize(
    "regs", [None, 5, {"grid": 5}, {"grid": {"wh_in": "x"}}, {"grid": {"wh_in": 1e300}},
             {"grid": {"wh_in": -4}}, {"grid": {"wh_in": True}}, {"grid": {"wh_in": "9e17"}}]
)  # fmt: skip
def test_odd_registers_of_an_ack_change_nothing(regs: object) -> None:
    registers = Registers("/nowhere", ["grid"])
    registers.raise_to(regs)
    assert registers.mwh_in == [0]


def test_a_flash_that_refuses_is_counted(tmp_path: Path) -> None:
    registers = Registers(str(tmp_path), ["grid"])
    cuts = Cuts()
    cuts.fail = lambda _step: True
    with power(cuts):
        assert not registers.save()
        assert next_boot(str(tmp_path), lambda: 3) == (3, 1)
    assert registers.failed_saves == 1


def test_boots_are_counted(tmp_path: Path) -> None:
    found = [next_boot(str(tmp_path), lambda: 2**40 + 9) for _ in range(3)]
    assert found == [(9, 1), (9, 2), (9, 3)]
