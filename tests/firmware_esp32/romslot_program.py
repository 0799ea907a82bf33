"""Runs in the VM: romslot_program.py ROM SIZE FOLDER CUT: boots once, tells what it then runs from.

After CUT operations on the partition (0: never) the power is gone, in the middle of a write.
"""

import json
import os
import sys

import romslot
from simrom import Rom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ERASE, _WRITE = 3, 4


class Cut(Exception):  # noqa: N818 - no error
    """The power is gone."""


class Partition:
    """The ROM partition; counts what changes it."""

    def __init__(self, rom: Rom, cut_after: int) -> None:
        self._rom = rom
        self._cut_after = cut_after
        self.changes = 0

    def ioctl(self, what: int, *given: "Any") -> object:  # noqa: ANN401 - as on a chip
        """Do an operation, the last one by half."""
        if what not in (_ERASE, _WRITE):
            return self._rom.ioctl(what, *given)
        self.changes += 1
        if self.changes == self._cut_after:
            if what == _WRITE:
                half = bytearray(given[2])
                for k in range(len(half) // 2, len(half)):
                    half[k] = 0xFF
                self._rom.ioctl(what, given[0], given[1], half)
            raise Cut
        return self._rom.ioctl(what, *given)


def _content(place: str) -> "dict[str, str]":
    found = {}
    for name in os.listdir(place):
        with open(place + "/" + name) as file:
            found[name] = file.read()
    return found


rom, size, folder, cut = sys.argv[1:]
partition = Partition(Rom(rom, int(size)), int(cut))
try:
    place = romslot.mounted(folder, partition.ioctl)
except Cut:
    sys.exit(9)
told: "dict[str, Any]" = {"place": place, "changes": partition.changes}
if place is not None:
    told["files"] = _content(place)
print(json.dumps(told))
