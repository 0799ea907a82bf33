"""Have the C library keep few heaps and give memory back: many threads share one small machine."""

import contextlib
import ctypes

# The numbers that malloc.h gives to what mallopt(3) sets
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
ARENAS = 2  # glibc's eight for each core hold what every thread once needed
GIVEN_BACK_BYTES = 256 * 1024


def keep_small() -> None:
    """Bound the heaps of this process; before its first thread. Nothing on a libc without mallopt.

    Setting a threshold also ends its growth: by itself it follows the largest block that was ever
    freed, up to 32 MB, and what lies below it is kept for good.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES)
        mallopt(M_TRIM_THRESHOLD, GIVEN_BACK_BYTES)
