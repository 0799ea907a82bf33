"""Keep the archive up to date: a short-lived process writes what is due.

So the daemon carries no pyarrow, and memory that a large file took is given back.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Never, Protocol

import structlog

from cloud_sync.pace import LONGEST_REFUSED_S, Backoff
from cloud_sync.ports import Clock
from gateway.domain.errors import GatewayError, StorageError, TransientError
from gateway.services.archiving import Hour, Written
from gateway.services.cloud_feed import Due, DueKind, DueQuery

log = structlog.get_logger()
MOST_HOURS = 240  # a process: its start takes a second, and it may be cut off at any time
LATE_WAIT_S = 300.0  # late readings come in crowds: wait until they have passed
LONGEST_IDLE_S = 60.0
LONGEST_S = 1800.0  # a process that takes longer hangs
LINE_BYTES = 65_536


class ArchiveError(GatewayError):
    """Files cannot be written: an administrator must look at the disk, bucket or credentials."""


class ArchiveFeed(Protocol):
    """What the archive lacks; all methods raise StorageError."""

    async def due(self, query: DueQuery) -> list[Due]:
        """Return hours that are due, oldest first."""

    async def take(self, entries: Sequence[Due]) -> None:
        """Mark hours as being written."""

    async def confirm(self, written: Sequence[Written]) -> None:
        """Forget hours whose files are safe."""


class Writer(Protocol):
    """Writes hours; ends early with ArchiveError, what was yielded before is safe."""

    def write(self, hours: Sequence[Hour]) -> AsyncIterator[Written]:
        """Yield each hour as its file is safe."""


class ChildWriter:
    """Satisfies `Writer` by a process of its own. `job` is what it is told besides the hours."""

    def __init__(self, module: str, job: dict[str, object]) -> None:
        self._module = module
        self._job = job

    async def write(self, hours: Sequence[Hour]) -> AsyncIterator[Written]:
        """Yield each hour as the process tells that its file is safe."""
        order = json.dumps({**self._job, "hours": hours}).encode()
        async with _process(self._module) as process, asyncio.timeout(LONGEST_S):
            if process.stdin is None or process.stdout is None:
                msg = "the archive's process has no pipes"
                raise ArchiveError(msg)
            process.stdin.write(order)
            process.stdin.close()
            async for line in process.stdout:
                told = json.loads(line)
                if "error" in told:
                    raise ArchiveError(str(told["error"]))
                yield Written(Hour(*told["hour"]), *told["file"])
            if status := await process.wait():
                msg = f"the archive's process ended with status {status}"
                raise ArchiveError(msg)


@asynccontextmanager
async def _process(module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of ours with the lowest priority; it does not outlive the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=pipe, stdout=pipe, limit=LINE_BYTES
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Archiver:
    """The service."""

    def __init__(
        self, feed: ArchiveFeed, writer: Writer, clock: Clock, late_wait_s: float = LATE_WAIT_S
    ) -> None:
        self._feed = feed
        self._late_ms = round(late_wait_s * 1000)
        self._writer = writer
        self._clock = clock
        self._backoff = Backoff()
        self.trouble = ""
        self.files = 0

    async def run(self) -> Never:
        """Archive until cancelled; TransientError when the database fails."""
        try:
            while True:
                try:
                    more = await self.step()
                except (ArchiveError, TimeoutError, ValueError) as error:
                    self.trouble = str(error) or "the archive's process hung"
                    delay_s = self._backoff.next_s(LONGEST_REFUSED_S)
                    log.warning("archive", error=self.trouble, who="an administrator")
                else:
                    self.trouble = ""
                    self._backoff.reset()
                    delay_s = 0.0 if more else min(LONGEST_IDLE_S, 1.0 + self._late_ms / 1000)
                await asyncio.sleep(delay_s)
        except StorageError as error:
            msg = f"the archive cannot read what it lacks: {error}"
            raise TransientError(msg) from error

    async def step(self) -> bool:
        """Write the files of the oldest hours that are due; return whether there may be more."""
        wall_ms = self._clock.wall_ms()
        now_ms = wall_ms if self._clock.trusted() else None
        query = DueQuery(DueKind.HOUR, MOST_HOURS, now_ms, wall_ms, self._late_ms)
        entries = await self._feed.due(query)
        if not entries:
            return False
        await self._feed.take(entries)
        hours = [Hour(entry.meter_no, entry.start_ms) for entry in entries]
        async for written in self._writer.write(hours):
            await self._feed.confirm([written])
            self.files += bool(written.name)
        return True
