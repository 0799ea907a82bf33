"""What stays of bundles while none is on its way: versions in force, what was settled last."""

import asyncio
import json
from binascii import crc32

from errors import BadBundleError
from log import log
from ondemand import drop, make_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bundles import Apply, Bundles

RETRY_S = 60
# At most so long for room in the heap; then it is tried without, on a board that never has it.
ROOM_S = 600
# Loads in a row that found no room; the code was loaded at boot, so a new heap has it.
MOST_FAILURES = 10
MODULES = (
    "bundles",
    "announce",
    "bootslot",
    "canon",
    "container",
    "ed25519",
    "fetch",
    "install",
    "refusals",
    "sha512",
    "slots",
)


class Depot:
    """Loads what brings bundles in (`bundles.Bundles`) at boot and when one is announced.

    It stays loaded while a bundle is fetched or on trial. `make()` imports it and returns the
    meter's, `room()` tells whether the heap has room for that, and makes some. `boot` comes
    before all else.
    """

    def __init__(self, make: "Callable[[], Bundles]", room: "Callable[[], bool]") -> None:
        self._make = make
        self._room = room
        self._told_form = False
        self._failures = 0  # loads in a row
        self._settled: int | None = None  # the `desired` of which nothing is left to do
        self._last: int | None = None
        self._wanted: dict[str, Any] | None = None
        self._message: dict[str, Any] | None = None  # waits for the code
        self._come = asyncio.Event()
        self._bundles: Bundles | None = None
        self._versions: dict[str, int] = {}

    def boot(self, apply: "dict[str, Apply]") -> None:
        """Hand what is active to `apply`, and end what the last boot left half done.

        What cannot be used any more is left out, and the built-in default goes on.
        """
        bundles = self._load()
        for kind, use in apply.items():
            content = bundles.active(kind)
            while content is not None:
                try:
                    use(content)
                    break
                except BadBundleError as error:
                    # It passed its self-test once: this firmware reads less than the last.
                    log(f"app: the active {kind} cannot be used ({error})")
                    content = bundles.unusable(kind)
        self._versions = bundles.versions()
        if bundles.idle():
            self._let_go(bundles)
            del bundles
            drop(*MODULES)

    @property
    def loaded(self) -> bool:
        """Tell whether the code is there."""
        return self._bundles is not None

    def _load(self) -> "Bundles":
        bundles = self._bundles
        if bundles is None:
            make_room()
            self._bundles = bundles = self._make()
            bundles.told_form = self._told_form
        return bundles

    def _let_go(self, bundles: "Bundles", idle: bool = True) -> None:
        self._versions = bundles.versions()
        self._told_form = bundles.told_form
        # What may heal is tried again when the same announcement comes with the next connection.
        self._settled = self._last if idle and not bundles.may_heal else None
        self._bundles = None

    def versions(self) -> "dict[str, int]":
        """Return the version in force of each kind; 0 = built-in."""
        return self._versions if self._bundles is None else self._bundles.versions()

    async def desired(self, message: "dict[str, Any]") -> None:
        """Take a `desired` message: it replaces the one before."""
        self._last = _digest(message)
        self._wanted = message
        if self._bundles is not None:
            await self._bundles.desired(message)
        elif message.get("bundles") and self._last != self._settled:
            self._message = message
            self._come.set()

    async def chunk(self, message: "dict[str, Any]") -> None:
        """Take a `bundle/chunk` message."""
        if self._bundles is not None:
            await self._bundles.chunk(message)

    def good_window(self) -> None:
        """Count a window that was measured and judged well, for what is on trial."""
        if self._bundles is not None:
            self._bundles.good_window()

    def bad(self) -> None:
        """Roll back what is on trial: the meter is not well with it."""
        if self._bundles is not None:
            self._bundles.bad()

    def _again(self) -> None:
        """Take up what was not finished, unless a newer message waits."""
        if self._message is None:
            self._message = self._wanted

    def wants_reboot(self) -> bool:
        """Tell whether a bundle waits for room that a heap in too many pieces will not give."""
        return self._failures >= MOST_FAILURES

    async def run(self) -> None:
        """Bring in what is desired; for ever."""
        while True:
            while self._bundles is None and self._message is None:
                self._come.clear()
                await self._come.wait()
            for _ in range(ROOM_S):
                if self._room():
                    break
                await asyncio.sleep(1)
            if await self._bring():
                self._wanted = None
            else:
                # The link needs the memory to come back; what was fetched lies on the flash.
                await asyncio.sleep(RETRY_S)
                self._again()

    async def _bring(self) -> bool:
        """Bring in what waits; False when it was not finished.

        What waits for ever (`run`) has nothing of it on its stack, or the code could not go.
        """
        try:
            bundles = self._load()
        except MemoryError:
            log("depot: no room for a bundle now; later again")
            drop(*MODULES)
            self._failures += 1
            return False
        self._failures = 0
        message, self._message = self._message, None
        if message is not None:
            await bundles.desired(message)
        await bundles.run(for_ever=False)
        idle = bundles.idle()
        self._let_go(bundles, idle)
        del bundles, message
        drop(*MODULES)
        return idle


def _digest(message: "dict[str, Any]") -> int:
    """Return a number that tells one `desired` from another; takes little memory at once."""
    entries, found = message.get("bundles"), 0
    for entry in entries if isinstance(entries, list) else [entries]:
        found = crc32(json.dumps(entry).encode(), found)
    return found
