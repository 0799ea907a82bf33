"""A board that runs MicroPython, through mpremote: its files, put whole or not at all."""

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.domain.errors import TransientError
from provisioning.board_scripts import COMMIT, INVENTORY, PREPARE, READ, REMOVE
from provisioning.chip import Esptool
from provisioning.console import Console
from provisioning.errors import BoardError, PortError
from provisioning.tools import Done, RunTool, run_tool

STAGE: Final = "/put"  # where files wait until all of them are there
BLOCK: Final = 4096
SPARE_BLOCKS: Final = 16  # what the meter needs to go on working
LARGEST_READ: Final = 16_384
_MARK: Final = "WW1:"
_TRIES: Final = 6
_PAUSE_S: Final = 0.5  # a board that has just been reset needs so long (rig: 120 of 120 with it)
_CALL_S: Final = 120.0
_BREAK_IN_S: Final = 15.0
_DEAF: Final = 2
_NO_REPL: Final = "could not enter raw repl"
_PORT_WORDS: Final = ("failed to access", "no device found", "may be in use")
_CORRUPT: Final = "filesystem appears to be corrupted"
_DAMAGED: Final = (
    "the board's files cannot be read any more; run: flash --erase-all. The gateway keeps the"
    " meter's calibration"
)
_FULL: Final = ("OSError: 28", "ENOSPC", "No space left")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a board says of itself. `files`: SHA-256 by path, in the folders asked for."""

    mpy: int
    machine: str
    files: Mapping[str, str]
    free_bytes: int
    total_bytes: int


class Board:
    """The files of one board. PortError, BoardError: see their classes.

    The first call interrupts what the board runs; it stays stopped until it is reset.
    """

    def __init__(
        self,
        port: str,
        *,
        run: RunTool = run_tool,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._port = port
        self._run = run
        self._pause = pause
        self._stopped = False

    def inventory(self, folders: Sequence[str] = ("", "/app_a", STAGE)) -> Inventory:
        """Return what it holds."""
        found = self._ask(INVENTORY, list(folders))
        if not found["total"]:
            msg = f"{self._port}: {_DAMAGED}"
            raise BoardError(msg)
        files = {path: str(one[1]) for path, one in found["files"].items() if one}
        mpy, machine = int(found["mpy"]), str(found["machine"])
        return Inventory(mpy, machine, files, int(found["free"]), int(found["total"]))

    def read(self, path: str) -> bytes | None:
        """Return a file of at most LARGEST_READ bytes, None when it is not there."""
        content = self._ask(READ, path)["hex"]
        return None if content is None else bytes.fromhex(content)

    def put(
        self,
        files: Mapping[str, bytes],
        known: Inventory,
        hear: Callable[[float], None],
        *,
        remove: Sequence[str] = (),
    ) -> list[str]:
        """Make these files be on the board, moved in this order; return which were changed.

        They gather in STAGE first, so that whenever this is broken off the board has the old
        files or the new ones, and a repetition copies only what is missing. At the end what
        `remove` names is removed (files, folders, or `/name*`).
        """
        wanted = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        changed = [path for path in files if known.files.get(path) != wanted[path]]
        missing = [path for path in changed if known.files.get(staged(path)) != wanted[path]]
        if missing:
            self._expect_room([files[path] for path in missing], known)
            folders = {path.rpartition("/")[0] for path in changed} - {""}
            self._ask(PREPARE, [STAGE, *sorted(folders)])
            self._copy({staged(path): files[path] for path in missing}, hear)
        if changed:
            answer = self._ask(COMMIT, [[staged(path), path, wanted[path]] for path in changed])
            if answer["bad"]:
                msg = f"{self._port}: {answer['bad'][0]} did not arrive whole; start again"
                raise BoardError(msg)
        leftover = any(path.startswith(STAGE) for path in known.files)
        if changed or leftover or remove:
            self._ask(REMOVE, [STAGE, *remove])
        return changed

    # -- calls -------------------------------------------------------------------------------

    def _copy(self, files: Mapping[str, bytes], hear: Callable[[float], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="wattwarden-") as name:
            folder = Path(name)
            for path, data in files.items():
                (folder / path.rpartition("/")[2]).write_bytes(data)
            sources = [str(folder / path.rpartition("/")[2]) for path in files]
            heard = _Counted(f"cp {folder}", len(files), hear)
            self._call(["fs", "cp", "-f", *sources, f":{STAGE}/"], heard)

    def _expect_room(self, contents: Sequence[bytes], known: Inventory) -> None:
        blocks = SPARE_BLOCKS + sum(-(-len(data) // BLOCK) for data in contents)
        if blocks * BLOCK > known.free_bytes:
            msg = (
                f"the board's flash is full: {known.free_bytes // 1024} KiB are free,"
                f" {blocks * BLOCK // 1024} KiB are needed. Let the meter deliver its readings to"
                " the gateway first; a board that holds nothing worth keeping: flash --erase-all"
            )
            raise BoardError(msg)

    def _ask(self, script: str, argument: object) -> Any:  # noqa: ANN401 - JSON
        """Run a script on the board; return what it says."""
        done = self._call(["exec", f"A={argument!r}\n{script}"])
        for line in done.output.splitlines():
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        msg = f"{self._port}: the board gave no answer; press its reset button and start again"
        raise BoardError(msg)

    def _call(self, words: Sequence[str], hear: Callable[[str], None] | None = None) -> Done:
        """Call mpremote, again and again where the board may only need a moment."""
        deaf = 0
        for attempt in range(_TRIES):
            resume = ["resume"] if self._stopped else []
            try:
                done = self._run(
                    "mpremote",
                    ["connect", self._port, *resume, *words],
                    within_s=_CALL_S,
                    hear=hear,
                )
            except TransientError as error:
                msg = f"{self._port}: {error}"
                raise BoardError(msg) from error
            if done.status == 0:
                self._stopped = True
                return done
            if any(text in done.output for text in _FULL) or _CORRUPT in done.output:
                break
            if attempt < _TRIES - 1:
                self._pause(_PAUSE_S)
                if _NO_REPL in done.output:
                    deaf = 0 if self._break_in(reset=attempt % 2 == 1) else deaf + 1
            if deaf >= _DEAF:  # neither as it is nor after a reset: nobody is there
                break
        raise self._fault(done)

    def _break_in(self, *, reset: bool) -> bool:
        """Stop what did not let mpremote in, after a reset or without; return whether it did.

        What fails here fails again, and is told, at the next try.
        """
        self._stopped = False
        if reset:
            with contextlib.suppress(BoardError, PortError):
                Esptool(self._port, run=self._run).reset()
        with contextlib.suppress(PortError), Console(self._port) as console:
            return console.break_in(_BREAK_IN_S)
        return False

    def _fault(self, done: Done) -> Exception:
        said = done.output
        if any(text in said for text in _FULL):
            advice = "its flash is full; let the meter deliver its readings, or flash --erase-all"
            return BoardError(f"{self._port}: {advice}")
        if _CORRUPT in said:
            return BoardError(f"{self._port}: {_DAMAGED}")
        if any(text in said for text in _PORT_WORDS):
            advice = "the port is busy or gone; close what uses it, plug the board in again"
            return PortError(f"{self._port}: {advice}")
        if _NO_REPL in said:
            advice = (
                "MicroPython does not answer; press the board's reset button and run it again, at"
                " last: flash it with --erase-all"
            )
            return BoardError(f"{self._port}: {advice}")
        cause = f"mpremote says: {done.last_words}"
        return BoardError(f"{self._port}: {cause}; unplug the board and start again")


class _Counted:
    """Turns mpremote's line for each file into a fraction."""

    def __init__(self, sign: str, total: int, hear: Callable[[float], None]) -> None:
        self._sign = sign
        self._total = total
        self._hear = hear
        self._seen = 0

    def __call__(self, text: str) -> None:
        self._seen += text.count(self._sign)
        self._hear(min(self._seen / self._total, 1.0))


def staged(path: str) -> str:
    """Return where a file waits: /app_a/app.mpy in /put/app_a~app.mpy."""
    return f"{STAGE}/{path.lstrip('/').replace('/', '~')}"
