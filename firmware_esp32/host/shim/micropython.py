"""MicroPython's `micropython` module for CPython: compiler hints that do nothing."""

import array
import asyncio
import builtins
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
TICKS_PERIOD = 1 << 30  # as on the ESP32: ticks wrap, only their differences count


def const(value: T) -> T:
    """Return the value; on the board the compiler inlines it."""
    return value


def native(function: T) -> T:
    """Leave the function as it is; on the board it becomes machine code."""
    return function


viper = native


def mem_info(*_: object) -> None:
    """Print nothing: CPython has no fixed heap."""


def _pointer(code: str) -> Callable[[Any], Any]:
    def cast(buffer: Any) -> Any:  # noqa: ANN401 - whatever has the buffer protocol
        return memoryview(buffer).cast("B").cast(code)  # type: ignore[call-overload]

    return cast


def _ticks_diff(later: int, earlier: int) -> int:
    half = TICKS_PERIOD // 2
    return (later - earlier + half) % TICKS_PERIOD - half


def _install() -> None:
    """Give CPython the names that MicroPython has built in."""
    names: dict[str, Any] = {
        "ptr8": _pointer("B"),
        "ptr16": _pointer("H"),
        "ptr32": _pointer("i"),
        "uint": int,
    }
    for name, value in names.items():
        setattr(builtins, name, value)
    # Own origin, so that a test sees the wrap as rarely as a board does.
    origin = time.monotonic_ns()
    ticks: dict[str, Any] = {
        "ticks_ms": lambda: (time.monotonic_ns() - origin) // 1_000_000 % TICKS_PERIOD,
        "ticks_us": lambda: (time.monotonic_ns() - origin) // 1_000 % TICKS_PERIOD,
        "ticks_diff": _ticks_diff,
        "ticks_add": lambda ticks, delta: (ticks + delta) % TICKS_PERIOD,
        "sleep_ms": lambda ms: time.sleep(ms / 1000),
    }
    for name, value in ticks.items():
        setattr(time, name, value)
    setattr(asyncio, "sleep_ms", lambda ms: asyncio.sleep(ms / 1000))  # noqa: B010


_install()
array.array("i", [0])  # the 32-bit int that ptr32 relies on
