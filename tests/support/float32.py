"""A float of 32 bits, as an ESP32 computes with: every result is rounded."""

import math
import operator
import struct
from collections.abc import Callable
from typing import Any, Self


def rounded(value: float) -> float:
    """Return the nearest float of 32 bits; OverflowError beyond 3.4e38."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


class Single(float):
    """A number that stays within 32 bits through all arithmetic."""

    def __new__(cls, value: float) -> Self:
        """Round a number, however exact."""
        return super().__new__(cls, rounded(float(value)))

    def __neg__(self) -> "Single":
        """Return the number with the other sign."""
        return Single(-float(self))

    def __abs__(self) -> "Single":
        """Return the number without its sign."""
        return Single(abs(float(self)))


def _operation(function: Callable[[float, float], float], *, swapped: bool) -> Any:  # noqa: ANN401
    def operate(left: Single, right: float) -> Single:
        pair = (rounded(float(left)), rounded(float(right)))
        return Single(function(*(pair[::-1] if swapped else pair)))

    return operate


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Single, f"__{_name}__", _operation(getattr(operator, _name), swapped=False))
    setattr(Single, f"__r{_name}__", _operation(getattr(operator, _name), swapped=True))


def single(function: Callable[[float], float]) -> Callable[[float], Single]:
    """Return a function of `math` as a machine with 32-bit floats has it."""
    return lambda value: Single(function(rounded(float(value))))


sin, cos, sqrt, log = single(math.sin), single(math.cos), single(math.sqrt), single(math.log)
pi = Single(math.pi)
