"""The loader: starts the firmware of one slot, the old one again when the new one fails.

Lies on the root with bootslot.py, checked.py and errors.py; none of the four is ever replaced
over the air, so that a bad update cannot take away the way back.
"""

import sys

from bootslot import NONE, Record, firmware_folder, whole
from errors import FlashError

_OWN = ("bootslot", "checked", "errors")
RESTART = 3  # exit status where there is no chip to reset


def choose(root: str) -> int:
    """Return the slot to start, NONE when both are damaged; settle what is on trial first.

    A slot on trial is marked as tried before it is started. Found marked at the next boot it
    was not confirmed in time, and the slot before it is taken again.
    """
    record = Record(root, "firmware")
    state = record.state
    try:
        if state["pending"]:
            if state["tried"] or not whole(root, state["active"]):
                record.fall_back("power_cut" if state["tried"] else "damaged")
            else:
                state["tried"] = True
                record.save()
    except FlashError:
        # What cannot be marked must not be started: it might never come back.
        state["active"] = state["back"]
    active = int(state["active"])
    if whole(root, active):
        return active
    return _other(root, record, full=False)


def _other(root: str, record: Record, full: bool) -> int:
    """Return the slot to start in place of the damaged active one, NONE when there is none.

    Also one that was never confirmed: its signature was checked before it was unpacked, and it
    is better than nothing.
    """
    state = record.state
    active = int(state["active"])
    for slot in (0, 1):
        if slot != active and whole(root, slot, full):
            if active != NONE:  # else the meter is new, and its first firmware sets the record up
                _give_up(record, active, slot)
            return slot
    return NONE


def _give_up(record: Record, damaged: int, slot: int) -> None:
    state = record.state
    state["fell"] = [state["versions"][damaged], "damaged"]
    state["versions"][damaged] = 0
    state["hashes"][damaged] = ""
    state["confirmed"][damaged] = False
    state["active"] = slot
    state["pending"] = False
    try:
        record.save()
    except FlashError:
        pass  # then the next boot finds it out again


def after_failure(root: str) -> None:
    """Give up the active slot when it fails to start because a byte of it is wrong.

    Size and name were right or it would not have been started. On trial it needs no look:
    the next boot falls back anyway.
    """
    record = Record(root, "firmware")
    if not record.state["pending"] and not whole(root, record.state["active"], full=True):
        _other(root, record, full=True)


def start(root: str) -> None:
    """Start the firmware: `app.main(root)` of the chosen slot; reset when that ends."""
    slot = choose(root)
    if slot != NONE:  # else whatever modules lie on the root are tried
        sys.path.insert(0, firmware_folder(root, slot))
        for name in _OWN:  # the firmware brings its own
            sys.modules.pop(name, None)
    try:
        __import__("app").main(root)
    except Exception as error:  # noqa: BLE001 - whatever it is, the meter must come up again
        getattr(sys, "print_exception", print)(error)  # the console is the log
        after_failure(root)
    _restart()


def _restart() -> None:
    try:
        from machine import reset  # noqa: PLC0415 - only the chip has it
    except ImportError:
        sys.exit(RESTART)
    reset()


if __name__ == "__main__":
    start("")
