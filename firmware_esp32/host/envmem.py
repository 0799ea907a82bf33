"""Memory outside the VM's heap, where a board has its flash: a long string of the environment.

A chip maps its flash into its address space. Whoever starts this process gives it a string of
the needed length in its environment instead (simulation/firmware_files.py).
"""

import uctypes

_WINDOW = 4096
_ENV_START, _ENV_END = 47, 48  # in /proc/self/stat, counted behind the command's name


def memory(key: bytes, size: int) -> "bytearray":
    """Return the string that begins with `key` as memory. OSError when there is none so long."""
    with open("/proc/self/stat") as file:
        fields = file.read().split(")")[-1].split()
    at, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    while at < end:
        place = uctypes.bytes_at(at, min(_WINDOW, end - at)).find(key)
        if place >= 0:
            first = at + place + len(key)
            if first + size <= end:
                return uctypes.bytearray_at(first, size)
            break
        at += _WINDOW - len(key)
    msg = "this process was given no " + key.decode() + str(size) + " bytes"
    raise OSError(msg)
