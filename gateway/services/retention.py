"""Rule L, first version: retire the oldest raw readings; rollups, runs, gaps and alerts stay."""

import asyncio
from typing import Protocol

import structlog

from gateway.domain.errors import StorageError, TransientError
from gateway.services.placer import Now

log = structlog.get_logger()
FIRST_AFTER_S = 600.0  # a gateway that has just started has better things to do
EVERY_S = 600.0
DAY_MS = 86_400_000
# Nothing is retired on the word of a clock that ran away: readings must be coming in now.
FRESH_MS = 3_600_000
SEGMENTS_A_TURN = 8


class RetentionStore(Protocol):
    """What retention needs from storage."""

    async def newest_received_ms(self) -> int | None:
        """Return when the newest reading was received."""

    async def used_bytes(self) -> int:
        """Return what the database takes, free pages not counted."""

    async def retire(self, received_before_ms: int | None, most_segments: int) -> int:
        """Delete the oldest judged segments, all of whose readings were received before a time.

        None = whatever their age. Return how many segments went.
        """


class Retention:
    """The service; a little at a time, so that intake never waits."""

    def __init__(self, store: RetentionStore, now: Now, raw_days: int, max_bytes: int) -> None:
        self._store = store
        self._now = now
        self._raw_days = raw_days
        self._max_bytes = max_bytes

    async def run(self) -> None:
        """Look every ten minutes, until cancelled; TransientError when the disk fails."""
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self.look()
            except StorageError as error:
                msg = f"old readings could not be retired: {error}"
                raise TransientError(msg) from error
            await asyncio.sleep(EVERY_S)

    async def look(self) -> int:
        """Retire what is too old or too much; return how many segments went."""
        gone = await self._retire_old()
        while await self._store.used_bytes() > self._max_bytes:
            went = await self._store.retire(None, SEGMENTS_A_TURN)
            if went == 0:
                break
            gone += went
            await asyncio.sleep(0.1)
        if gone:
            log.info("readings_retired", segments=gone)
        return gone

    async def _retire_old(self) -> int:
        newest_ms = await self._store.newest_received_ms()
        now_ms = self._now.wall_ms()
        if newest_ms is None or not self._now.trusted() or abs(now_ms - newest_ms) > FRESH_MS:
            return 0
        gone = 0
        cutoff_ms = now_ms - self._raw_days * DAY_MS
        while went := await self._store.retire(cutoff_ms, SEGMENTS_A_TURN):
            gone += went
            await asyncio.sleep(0.1)
        return gone
