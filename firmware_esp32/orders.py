"""What stays of commands while there are none: results that answer a repeat, the relay's state."""

import asyncio

from ondemand import drop, make_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from collector import Collector
    from commands import Commands
    from power import Window

IDLE_S = 10  # after the last command its code is let go
POLL_S = 0.5
MODULES = ("commands", "actions", "collector", "config")


class Kept:
    """What commands left behind since the boot."""

    def __init__(self) -> None:
        # Id and result, oldest first: JSON, or the number of the file that it lies in.
        self.done: list[tuple[str, str | int]] = []
        self.files = 0  # results that went into one
        self.refused = 0
        self.relay: bool | None = None  # what it was last told, None = nothing

    def settle(self) -> None:
        """Make what stays anew: at the heap's beginning, not above where the code was."""
        for k in range(len(self.done)):
            name, kept = self.done[k]
            again = kept if isinstance(kept, int) else kept[:1] + kept[1:]
            self.done[k] = (name[:1] + name[1:], again)


class Orders:
    """Loads what does commands when one comes, and lets it go when nothing is left to do.

    `make(kept)` imports what does commands and what collects for a calibration.
    """

    def __init__(self, make: "Callable[[Kept], tuple[Commands, Collector]]") -> None:
        self.kept = Kept()
        self._make = make
        self._commands: Commands | None = None
        self._collector: Collector | None = None
        self._idle_s = 0.0
        self._come = asyncio.Event()

    @property
    def loaded(self) -> bool:
        """Tell whether the code is there."""
        return self._commands is not None

    async def handle(self, message: "dict[str, Any]", receipt_ms: int) -> None:
        """Take one command, see `commands.Commands.handle`."""
        if self._commands is None:
            make_room()
            try:
                self._commands, self._collector = self._make(self.kept)
            except MemoryError:
                drop(*MODULES)  # what there is of it
                raise
        self._idle_s = 0.0
        self._come.set()
        await self._commands.handle(message, receipt_ms)

    def window(self, window: "Window") -> None:
        """Take a window that was just measured: a calibration may want it."""
        if self._collector is not None:
            self._collector.window(window)

    async def run(self) -> None:
        """Do commands for ever."""
        while True:
            self._come.clear()
            if self._commands is None:
                await self._come.wait()
            await self._do()

    async def _do(self) -> None:
        """Do what waits; let go of the code when all has been done for a while."""
        # Not an argument: on the stack of what waits for ever it would stay, and all its code.
        commands = self._commands
        if commands is None:
            return
        doing = asyncio.create_task(commands.run())
        try:
            while self._idle_s < IDLE_S and not doing.done():
                await asyncio.sleep(POLL_S)
                self._idle_s = 0.0 if commands.busy() else self._idle_s + POLL_S
            if doing.done():
                await doing  # raises what ended it
        finally:
            doing.cancel()
            self._commands = self._collector = None
            del commands, doing
            drop(*MODULES)
            self.kept.settle()
