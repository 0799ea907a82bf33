"""The stand-in for MicroPython's built-ins behaves as they do."""

import builtins
from array import array

import micropython  # noqa: F401 - installs the ticks and the pointers
from ticks import ticks_add, ticks_diff, ticks_ms


def test_ticks_wrap_and_still_subtract() -> None:
    late = (1 << 30) - 5
    assert ticks_diff(ticks_add(late, 10), late) == 10
    assert ticks_diff(late, ticks_add(late, 10)) == -10
    assert 0 <= ticks_ms() < 1 << 30


def test_pointers_share_memory() -> None:
    buffer = array("i", [0, 0])
    builtins.ptr32(buffer)[1] = -7  # type: ignore[attr-defined]
    assert buffer[1] == -7
