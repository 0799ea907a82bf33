"""The two slots of one kind of bundle: what may come in, what counts, what is fallen back to."""

import hashlib
import os
from binascii import crc32, hexlify

from bootslot import LETTERS, NONE, Record, firmware_folder, version_of
from errors import FlashError
from refusals import DAMAGED, LOADER, POWER_CUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Entry = dict[str, Any]
    Lend = Callable[[int], memoryview | None]

MOST_CONTENT = 8_192  # bytes of what is read as a whole: a model or a calibration
PIECE = 256  # bytes of what is read piece by piece
MOST_TRIES = 3  # of one bundle that never lives to be confirmed


def mark(entry: "Entry") -> str:
    """Return a short name of an announcement that changes with any of its fields."""
    rest = f"{entry['size']}:{entry['sig']}"
    return f"{entry['version']}:{entry['sha256'][:32]}:{crc32(rest.encode()):08x}"


class Slots:
    """Slots `a` and `b` of one kind below `root`, and the record of which of them counts."""

    def __init__(self, root: str, kind: str) -> None:
        self.kind = kind
        self._root = root
        self._record = Record(root, kind)
        self.state = self._record.state
        if kind == "firmware" and not self._record.found:
            self._adopt()

    def _adopt(self) -> None:
        """Take the firmware that came with the meter as the confirmed one."""
        for slot in (0, 1):
            version = version_of(firmware_folder(self._root, slot))
            if version and self.state["active"] == NONE:
                self.state["active"] = slot
                self.state["versions"][slot] = self.state["floor"] = version
                self.state["confirmed"][slot] = True

    def save(self) -> None:
        """Keep the record. FlashError leaves the one before it."""
        self._record.save()

    @property
    def pending(self) -> bool:
        """True while the active slot is on trial."""
        return bool(self.state["pending"])

    @property
    def version(self) -> int:
        """Version of the active slot, 0 for the built-in."""
        active = self.state["active"]
        return int(self.state["versions"][active]) if active != NONE else 0

    def inactive(self) -> int:
        """Return the slot that may be written."""
        return 1 if self.state["active"] == 0 else 0

    def path(self, slot: int) -> str:
        """Return the file (firmware: the folder) of a slot."""
        if self.kind == "firmware":
            return firmware_folder(self._root, slot)
        return f"{self._root}/{self.kind}_{LETTERS[slot]}.bin"

    def read(self, slot: int, lend: "Lend | None" = None) -> "bytes | memoryview | None":
        """Return a slot's content, None when it is not what the record says (not firmware).

        With `lend` the content lies in what it lends, where it has that.
        """
        if slot == NONE:
            return None
        try:
            size = os.stat(self.path(slot))[6]
            if size > MOST_CONTENT:
                return None
            room = None if lend is None else lend(size)
            with open(self.path(slot), "rb") as file:
                # In one piece: without the size it grows, and moves.
                data = file.read(size) if room is None else room[: file.readinto(room)]
        except OSError:
            return None
        return data if self._fits(slot, hashlib.sha256(data)) else None

    def sound(self, slot: int) -> bool:
        """Tell whether a slot's content is what the record says (not firmware).

        Read piece by piece: at each load a heap in use would need room for it all in one piece.
        """
        if slot == NONE:
            return False
        digest = hashlib.sha256()
        try:
            with open(self.path(slot), "rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
        except OSError:
            return False
        return self._fits(slot, digest)

    def _fits(self, slot: int, digest: "hashlib._Hash") -> bool:
        return bool(hexlify(digest.digest()).decode() == self.state["hashes"][slot])

    def find(self, entry: "Entry") -> int:
        """Return the slot that holds an announced bundle, NONE when it must be fetched."""
        for slot in (0, 1):
            same = self.state["hashes"][slot] == entry["sha256"]
            if same and self.state["versions"][slot] == entry["version"]:
                return slot
        return NONE

    def runs(self, entry: "Entry") -> bool:
        """Tell whether the announced bundle is the active one."""
        active = self.state["active"]
        if active == NONE or self.state["versions"][active] != entry["version"]:
            return False
        # The firmware that came with the meter was never a bundle: its hash is not known.
        return self.state["hashes"][active] in ("", entry["sha256"])

    def admits(self, entry: "Entry") -> bool:
        """Tell whether the version may run: it rises, or was confirmed and is still here.

        The highest confirmed one itself may be fetched again after its slot was damaged.
        """
        state = self.state
        if entry["version"] > state["floor"]:
            return True
        slot = self.find(entry)
        if slot != NONE and state["confirmed"][slot]:
            return True
        return bool(entry["version"] == state["floor"] and entry["sha256"] == state["floor_hash"])

    def stage(self, slot: int, entry: "Entry") -> None:
        """Note what was written to a slot."""
        self.state["versions"][slot] = entry["version"]
        self.state["hashes"][slot] = entry["sha256"]
        self.state["confirmed"][slot] = False
        self.save()

    def drop(self, slot: int) -> None:
        """Note that a slot holds nothing usable any more."""
        self.state["versions"][slot] = 0
        self.state["hashes"][slot] = ""
        self.state["confirmed"][slot] = False
        self.save()

    def begin(self, entry: "Entry") -> bool:
        """Count a try before anything of the bundle runs; False when it had its tries."""
        name = mark(entry)
        if self.state["trying"] != name:
            self.state["trying"] = name
            self.state["tries"] = 0
        if self.state["tries"] >= MOST_TRIES:
            return False
        self.state["tries"] += 1
        self.save()
        return True

    def activate(self, slot: int) -> None:
        """Make a slot the active one, on trial. FlashError: the old one stays active."""
        before = self.state["active"]
        self.state.update({"active": slot, "back": before, "pending": True, "tried": False})
        try:
            self.save()
        except FlashError:
            self.state.update({"active": before, "pending": False})
            raise

    def confirm(self) -> None:
        """End the trial well. FlashError: it goes on."""
        state = self.state
        active = state["active"]
        before = dict(state)
        state.update({"pending": False, "tried": False, "trying": "", "tries": 0})
        if state["versions"][active] > state["floor"]:
            state["floor"] = state["versions"][active]
            state["floor_hash"] = state["hashes"][active]
        try:
            state["confirmed"][active] = True
            self.save()
        except FlashError:
            state.update(before)
            raise

    def was_refused(self, entry: "Entry") -> bool:
        """Tell whether this announcement was refused; another one makes that forgotten."""
        refused = self.state["refused"]
        if refused and refused[0] != mark(entry):
            self.state["refused"] = refused = None
        return bool(refused)

    def refuse(self, entry_mark: str, why: str) -> None:
        """Remember a refusal, so that the same announcement is not tried again."""
        self.state.update({"refused": [entry_mark, why], "trying": "", "tries": 0})
        self.save()

    def fall_back(self, why: str) -> None:
        """Make the slot before the one on trial active again. FlashError: only in RAM."""
        self._record.fall_back(why)

    def leave(self, why: str) -> None:
        """Give the active slot up for the other one, else the built-in (not firmware).

        FlashError: only in RAM.
        """
        active = self.state["active"]
        other = 1 - active
        fit = self.state["confirmed"][other] and self.sound(other)
        self.state["fell"] = [self.state["versions"][active], why]
        self.state["active"] = other if fit else NONE
        self.drop(active)

    def settle(self) -> None:
        """At boot: end a trial that was cut off, leave a damaged slot. Never raises."""
        try:
            if self.kind == "firmware":
                if self.pending and not self.state["tried"]:
                    self.state["refused"] = [self.state["trying"], LOADER]
                    self._record.fall_back(LOADER)  # no loader on this board ever starts it
                return
            if self.pending:
                self._record.fall_back(POWER_CUT)
            active = self.state["active"]
            if active != NONE and not self.sound(active):
                self.leave(DAMAGED)
        except FlashError:
            pass  # what is in RAM is right; the next boot comes to the same end


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    try:
        os.remove(path)
    except OSError:
        pass
