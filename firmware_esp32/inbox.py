"""Messages for the meter's parts: one task and one short queue each, so none stops the link."""

import asyncio

from log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ports import Handlers

MOST = {"cmd": 8, "desired": 1, "chunk": 4}  # a newer `desired` replaces the older


class Inbox:
    """Hands messages to handlers; a defect in one is logged, counted and told to `defect`."""

    def __init__(self, handlers: "Handlers", defect: "Callable[[str, str], None]") -> None:
        self.defects = 0
        self.dropped = 0
        self._handlers = handlers
        self._defect = defect
        self._queues: dict[str, list[tuple[dict[str, Any], int]]] = {k: [] for k in handlers}
        self._filled = {kind: asyncio.Event() for kind in handlers}

    def kinds(self) -> "list[str]":
        """Return the kinds that have a handler."""
        return list(self._queues)

    def put(self, kind: str, message: "dict[str, Any]", receipt_ms: int) -> None:
        """Queue a message for its handler; the oldest is dropped when it is too slow."""
        queue = self._queues.get(kind)
        if queue is None:
            return
        if len(queue) >= MOST[kind]:
            del queue[0]
            self.dropped += 1
        queue.append((message, receipt_ms))
        self._filled[kind].set()

    async def run(self, kind: str) -> None:
        """Hand out the messages of one kind for ever, one at a time."""
        queue = self._queues[kind]
        while True:
            while queue:
                await self._next(kind)
            self._filled[kind].clear()
            await self._filled[kind].wait()

    async def _next(self, kind: str) -> None:
        # The message's only place: what waits for ever (`run`) would hold it all that time.
        message, receipt_ms = self._queues[kind].pop(0)
        handler = self._handlers[kind]
        try:
            if kind == "cmd":
                await handler(message, receipt_ms)
            else:
                await handler(message)
        except Exception as error:  # noqa: BLE001 - a handler's defect must not end the link
            self.defects += 1
            log(f"link: the handler of {kind} failed: {error!r}")
            self._defect(kind, repr(error))
