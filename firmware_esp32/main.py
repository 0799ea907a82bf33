"""The loader: starts the firmware of one slot, the old one again when the new one fails.

Lies on the root with bootslot.py, checked.py, choice.py, errors.py and romslot.py; none of the six
is ever replaced over the air, so that a bad update cannot take away the way back.
"""

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from romslot import Ioctl

# Imported where they are used: they must not stay in RAM while the firmware runs.
_OWN = ("bootslot", "checked", "choice", "errors", "romslot")
RESTART = 3  # exit status where there is no chip to reset
# A firmware on trial measures its first window within half a minute, then it feeds by itself.
TRIAL_MS = 120_000


def start(root: str, rom: "Ioctl | None" = None) -> None:
    """Start the firmware: `app.main(root)` of the chosen slot; reset when that ends.

    `rom` is what gives access to the ROM partition, the interpreter's own by default.
    """
    trial = _prepare(root, rom)
    rom = None  # its memory too
    try:
        if trial:
            _watch()
        __import__("app").main(root)
    except Exception as error:  # noqa: BLE001 - whatever it is, the meter must come up again
        getattr(sys, "print_exception", print)(error)  # the console is the log
        try:
            from choice import after_failure  # noqa: PLC0415

            after_failure(root)
        except Exception as again:  # noqa: BLE001 - no memory left to look: the next boot looks
            print(again)  # noqa: T201
    _restart()


def _prepare(root: str, rom: "Ioctl | None") -> bool:
    """Put the chosen slot's modules first, and let go of our own: the firmware brings its.

    Tells whether that slot is on trial.
    """
    from bootslot import NONE, firmware_folder  # noqa: PLC0415
    from choice import choose, on_trial  # noqa: PLC0415
    from romslot import MOUNT, mounted, rom_ioctl  # noqa: PLC0415

    # MicroPython looks there by itself for whatever was copied last.
    sys.path[:] = [place for place in sys.path if not place.startswith(MOUNT)]
    slot = choose(root)
    trial = on_trial(root, slot)
    if slot != NONE:  # else whatever modules lie on the root are tried
        folder = firmware_folder(root, slot)
        sys.path.insert(0, mounted(folder, rom or rom_ioctl()) or folder)
    del choose, firmware_folder, mounted, on_trial, rom_ioctl
    for name in _OWN:
        sys.modules.pop(name, None)
    gc.collect()
    return trial


def _watch() -> None:
    """Have the chip reset itself should the firmware hang before it feeds the watchdog itself.

    Copying to the ROM partition is over by then. The firmware's own, shorter time replaces this
    one: the chip has a single watchdog, and nothing stops it.
    """
    try:
        from machine import WDT  # noqa: PLC0415 - only the chip has it
    except ImportError:
        return
    WDT(timeout=TRIAL_MS)


def _restart() -> None:
    try:
        from machine import reset  # noqa: PLC0415 - only the chip has it
    except ImportError:
        sys.exit(RESTART)
    reset()


if __name__ == "__main__":
    start("")
