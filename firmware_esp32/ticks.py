"""Monotonic ticks in ms and µs that wrap at 2**30; only differences have a meaning."""

import micropython  # on CPython this import provides the ticks
import time

TYPE_CHECKING = False
if TYPE_CHECKING:

    def ticks_ms() -> int: ...
    def ticks_us() -> int: ...
    def ticks_diff(later: int, earlier: int) -> int: ...
    def ticks_add(ticks: int, delta: int) -> int: ...
else:
    from time import ticks_add, ticks_diff, ticks_ms, ticks_us
