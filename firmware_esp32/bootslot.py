"""What a boot must know of bundles: which slot counts, and whether a firmware slot is whole.

Lies on the root beside main.py, checked.py and errors.py, where no update ever replaces it;
every firmware carries a copy of its own. The record is therefore a contract between versions
(docs/firmware/bundles.md): keys may be added, none may change its meaning.
"""

import hashlib
import json
import os
from binascii import hexlify

from checked import Checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LETTERS = "ab"  # of the two slots, 0 and 1
NONE = -1  # no slot: the built-in default
MANIFEST = "manifest.json"
_PIECE = 1024  # bytes hashed at a time: well under 20 ms on a board


def firmware_folder(root: str, slot: int) -> str:
    """Return the folder of a firmware slot."""
    return root + "/app_" + LETTERS[slot]


class Record:
    """The slots of one kind of bundle, kept so that a power cut leaves the old or the new state.

    Attributes of `state`: active, back (slot, NONE = built-in; back counts while pending),
    pending (active is on trial), tried (the loader has started it), versions, hashes (sha256
    of the bundle in each slot), confirmed, floor and floor_hash (the highest version ever
    confirmed), trying and tries (hash on trial and how often it was begun), refused (hash of
    the announcement and why), fell (version and why of a fall back nobody was told of yet).
    """

    def __init__(self, root: str, kind: str) -> None:
        self._file = Checked(root, "slots_" + kind)
        self.state: dict[str, Any] = {
            "active": NONE,
            "back": NONE,
            "pending": False,
            "tried": False,
            "versions": [0, 0],
            "hashes": ["", ""],
            "confirmed": [False, False],
            "floor": 0,
            "floor_hash": "",
            "trying": "",
            "tries": 0,
            "refused": None,
            "fell": None,
        }
        raw = self._file.load()
        self.found = raw is not None  # False: no bundle was ever announced to this meter
        if raw is not None:
            self._take(raw)

    def _take(self, raw: bytes) -> None:
        """Take what was saved, as far as it is usable: a boot must never fail on it."""
        try:
            saved = json.loads(raw)
        except ValueError:
            return
        state = self.state
        for key, value in saved.items() if isinstance(saved, dict) else ():
            known = state.get(key)  # None: a newer firmware's key, or one of free form
            if known is None or isinstance(value, type(known)):
                state[key] = value
        for key in ("active", "back"):
            if state[key] not in (NONE, 0, 1):
                state[key] = NONE
        for key, nothing in (("versions", 0), ("hashes", ""), ("confirmed", False)):
            if len(state[key]) != len(LETTERS):
                state[key] = [nothing, nothing]

    def save(self) -> None:
        """Keep the state. FlashError leaves the one before it."""
        self._file.save(json.dumps(self.state).encode())
        self.found = True

    def fall_back(self, why: str) -> None:
        """Go back to the slot before the one on trial, and save that."""
        state = self.state
        state["fell"] = [state["versions"][state["active"]], why]
        state["active"] = state["back"]
        state["pending"] = False
        state["tried"] = False
        self.save()


def faults(folder: str, full: bool) -> "Iterator[str]":
    """Look through a firmware slot: yields "" after a piece of work, a name for each fault.

    Without `full` only names and sizes are compared with the manifest, else every SHA-256.
    """
    try:
        with open(folder + "/" + MANIFEST) as file:
            files = json.load(file)["files"]
        for name, size, sha256 in files:
            path = folder + "/" + name
            if os.stat(path)[6] != size:
                yield name
            elif full:
                yield from _hashed(path, name, sha256)
            else:
                yield ""
    except (OSError, ValueError, KeyError, TypeError):
        yield MANIFEST
        return
    if not files:
        yield MANIFEST


def _hashed(path: str, name: str, sha256: str) -> "Iterator[str]":
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                break
            digest.update(piece)
            yield ""
    if hexlify(digest.digest()).decode() != sha256:
        yield name


def whole(root: str, slot: int, full: bool = False) -> bool:
    """Tell whether a firmware slot is whole (`full`: byte by byte; blocks for a second)."""
    return slot != NONE and not any(faults(firmware_folder(root, slot), full))


def version_of(folder: str) -> int:
    """Return the version an unpacked slot says it is, 0 when there is none."""
    try:
        with open(folder + "/" + MANIFEST) as file:
            return int(json.load(file)["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
