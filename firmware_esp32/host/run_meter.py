"""Run the meter on a simulated board: micropython (or python) run_meter.py SIM.json."""

import os
import sys

_HERE = __file__.rsplit("/", 1)[0]
_OURS = [_HERE + "/..", _HERE]
if sys.implementation.name == "cpython":
    _OURS.append(_HERE + "/shim")
sys.path[:0] = [place for place in _OURS if place not in sys.path]


def _in_place() -> None:
    """Run what stands for the board where it lies, like the firmware: no board has it in RAM."""
    try:
        size = os.stat(_HERE + "/host.romfs")[6]
    except OSError:
        return  # not the linked firmware
    import vfs  # noqa: PLC0415 - MicroPython's
    from envmem import memory  # noqa: PLC0415 - the VM's only

    area = memory(b"METER_HOST=", size)
    with open(_HERE + "/host.romfs", "rb") as file:
        file.readinto(area)
    vfs.mount(vfs.VfsRom(area), "/host")
    sys.path.insert(0, "/host")


if __name__ == "__main__":
    _in_place()
    __import__("simrun").run(sys.argv[1])
