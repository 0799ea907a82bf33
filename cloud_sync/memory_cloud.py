"""A cloud in memory that fails on command: for tests and for trying things out."""

from collections import deque
from collections.abc import Sequence

from cloud_sync.documents import Document
from cloud_sync.errors import CloudDownError, RejectedError
from cloud_sync.ports import Receipt
from cloud_sync.sizes import document_bytes

LARGEST_DOCUMENT = 1_048_576  # https://firebase.google.com/docs/firestore/quotas


class MemoryCloud:
    """Satisfies `Cloud`. `failures` are raised one by one, each instead of a write.

    `poison` are paths that it refuses for ever; `lost_answers` counts writes that it makes and
    does not confirm.
    """

    def __init__(self, server_ms: int = 0) -> None:
        self.documents: dict[str, dict[str, object]] = {}
        self.order: list[str] = []  # every path in the order of its writes
        self.failures: deque[Exception] = deque()
        self.poison: set[str] = set()
        self.lost_answers = 0
        self.server_ms = server_ms
        self.closed = False

    async def put(self, documents: Sequence[Document], timeout_s: float) -> Receipt:
        """Write documents whole: all of them, or none."""
        if self.closed or timeout_s <= 0:
            msg = "disconnected"
            raise CloudDownError(msg)
        if self.failures:
            raise self.failures.popleft()
        for document in documents:
            size = document_bytes(document.path, document.fields)
            if document.path in self.poison or size > LARGEST_DOCUMENT:
                msg = f"{document.path} is refused ({size} bytes)"
                raise RejectedError(msg)
        for document in documents:
            self.documents[document.path] = dict(document.fields)
            self.order.append(document.path)
        if self.lost_answers:
            self.lost_answers -= 1
            msg = "the answer was lost"
            raise CloudDownError(msg, maybe_written=True)
        return Receipt(self.server_ms)

    async def close(self) -> None:
        """Take nothing any more."""
        self.closed = True
