"""Events and results that wait for the broker, bounded."""

import json

from log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_EVENTS = 32
MOST_RESULTS = 8


class Queue:
    """A short queue that drops its oldest entry when it is full, and counts that."""

    def __init__(self, most: int) -> None:
        self.dropped = 0
        self._most = most
        self._entries: list[dict[str, Any]] = []

    def put(self, entry: "dict[str, Any]") -> None:
        """Append; the oldest makes room."""
        if len(self._entries) >= self._most:
            del self._entries[0]
            self.dropped += 1
            log("link: a queue was full, its oldest entry is dropped")
        self._entries.append(entry)

    def first(self) -> "dict[str, Any] | None":
        """Return the oldest entry and leave it in the queue."""
        return self._entries[0] if self._entries else None

    def done(self, entry: "dict[str, Any]") -> None:
        """Remove an entry that has been delivered (it may have been dropped meanwhile)."""
        for k, other in enumerate(self._entries):
            if other is entry:
                del self._entries[k]
                return

    def __len__(self) -> int:
        return len(self._entries)


def event_text(event: "dict[str, Any]", offset_ms: "int | None") -> str:
    """Return an event as JSON, with `t` from its `up` unless it carries one."""
    if event.get("t") is None:
        event = dict(event)
        event["t"] = None if offset_ms is None else event["up"] + offset_ms
    return json.dumps(event)
