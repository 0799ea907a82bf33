"""Which firmware slot is started: the active one, or what is left when it is damaged.

Lies on the root beside main.py, where no update ever replaces it; let go once that is settled.
"""

import os
import sys

from bootslot import NONE, Record, whole
from errors import FlashError


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


def on_trial(root: str, slot: int) -> bool:
    """Tell whether the slot that is about to be started has still to be confirmed."""
    state = Record(root, "firmware").state
    return bool(state["pending"]) and state["active"] == slot


def _other(root: str, record: Record, full: bool) -> int:
    """Return the slot to start in place of the damaged active one, NONE when there is none.

    Also one that was never confirmed: its signature was checked before it was unpacked, and it
    is better than nothing. But not in place of an app beside the slots that ran until then: such
    a slot is what it fell back from, or not on trial yet.
    """
    active = int(record.state["active"])
    beside = active == NONE and record.found and _app_beside()
    for slot in (0, 1):
        if beside and not record.state["confirmed"][slot]:
            continue
        if slot != active and whole(root, slot, full):
            if active != NONE:  # else the meter is new, and its first firmware sets the record up
                _give_up(record, active, slot)
            return slot
    return NONE


def _app_beside() -> bool:
    """Tell whether there is an app that is in no slot: on the root, or a host's."""
    for folder in sys.path:
        for name in ("app.py", "app.mpy"):
            try:
                os.stat(folder + "/" + name if folder else name)
            except OSError:
                continue
            return True
    return False


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
