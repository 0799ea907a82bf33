"""A meter's newest reading and the gateway's status in the cloud: rarely, or while looked at."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Never, Protocol

import structlog

from cloud_sync.documents import (
    Document,
    GatewayState,
    latest_document,
    removed_document,
    status_document,
)
from cloud_sync.errors import CloudDownError, CredentialError, ForbiddenError, RejectedError
from cloud_sync.governor import Governor
from cloud_sync.pace import timeout_s
from cloud_sync.planner import Planner
from cloud_sync.ports import Cloud, Feed
from cloud_sync.prices import LEASES
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.readings import Stored
from gateway.services.cloud_feed import DAY_MS, MeterFacts, Usage

log = structlog.get_logger()
EVERY_MS = 6 * 3_600_000
# A status that has changed: soon, but a service that comes and goes must not cost a write each.
CHANGED_EVERY_MS = 1_800_000
LEASED_EVERY_S = 5.0
TICK_S = 1.0
LOOK_S = 30.0  # for what goes out every few hours
SAVE_S = 60.0  # the count of leased writes is kept in memory so long
STAMP_BYTES = 8
REMOVED = b"removed"  # in place of a stamp: the cloud knows that the meter is there no more


class Leases(Protocol):
    """Who is looking at which meters now."""

    def active(self) -> set[str]:
        """Return the ids of meters that somebody holds a lease on."""


@dataclass(frozen=True, slots=True)
class Home:
    """What the running gateway knows: newest readings by meter, viewers, its state, the link."""

    latest: Mapping[str, Stored]
    leases: Leases
    state: Callable[[], Awaitable[GatewayState]]
    reachable: Callable[[], bool]


class LatestSender:
    """The service. What cannot be sent now is replaced by something newer, so nothing is kept."""

    def __init__(
        self, feed: Feed, cloud: Cloud, planner: Planner, governor: Governor, home: Home
    ) -> None:
        self._feed = feed
        self._cloud = cloud
        self._planner = planner
        self._governor = governor
        self._clock = planner.clock
        self._latest = home.latest
        self._leases = home.leases
        self._state = home.state
        self._reachable = home.reachable
        self._meters: dict[str, MeterFacts] = {}
        self._told: dict[str, tuple[int, float]] = {}  # meter -> row sent last, monotonic time
        self._leased = [0, 0]  # writes and bytes not counted on disk yet
        self._status: Mapping[str, object] = {}

    async def run(self) -> Never:
        """Send until cancelled; TransientError when the disk fails."""
        looked_s = saved_s = float("-inf")
        try:
            while True:
                now_s = self._clock.mono_s()
                if self._reachable():
                    if now_s - looked_s >= LOOK_S:
                        looked_s = now_s
                        await self.look()
                    await self._serve_leases(now_s)
                if now_s - saved_s >= SAVE_S:
                    saved_s = now_s
                    await self._save_leased()
                await asyncio.sleep(TICK_S)
        except StorageError as error:
            msg = f"the newest readings cannot be sent: {error}"
            raise TransientError(msg) from error

    async def look(self) -> None:
        """Send what is due every few hours."""
        found = await self._planner.refresh()
        self._meters = {facts.id: facts for facts in found if not facts.removed}
        await self._tell_removed()
        for meter, facts in self._meters.items():
            reading = self._latest.get(meter)
            if reading is None:
                continue
            document = latest_document(self._planner.site, facts, reading)
            if await self._is_due(document.path, EVERY_MS):
                await self._send(document)
        state = await self._state()
        document = status_document(self._planner.site, state, self._clock.wall_ms())
        telling = {key: document.fields[key] for key in ("services", "meters", "version")}
        changed = bool(self._status) and telling != self._status
        if await self._is_due(document.path, CHANGED_EVERY_MS if changed else EVERY_MS):
            await self._send(document)
            self._status = telling
        elif not self._status:
            self._status = telling

    async def _tell_removed(self) -> None:
        """Say once of each meter that was removed, or undone with its import: no longer there."""
        prefix = f"sites/{self._planner.site}/latest/"
        for path, stamp in (await self._feed.digests(prefix)).items():
            meter = path.removeprefix(prefix)
            if meter not in self._meters and stamp != REMOVED:
                at_ms = self._clock.wall_ms()
                await self._send(removed_document(self._planner.site, meter, at_ms), REMOVED)

    async def _is_due(self, path: str, every_ms: int) -> bool:
        """Tell whether a document was last sent so long ago, restarts included."""
        stamp = await self._feed.digest(path)
        sent_ms = int.from_bytes(stamp, "big") if len(stamp) == STAMP_BYTES else 0
        return not 0 <= self._clock.wall_ms() - sent_ms < every_ms

    async def _serve_leases(self, now_s: float) -> None:
        for meter in sorted(self._leases.active()):
            facts, reading = self._meters.get(meter), self._latest.get(meter)
            row, sent_s = self._told.get(meter, (0, float("-inf")))
            if facts is None or reading is None or reading.row == row:
                continue
            if now_s - sent_s < LEASED_EVERY_S or not self._governor.may_lease():
                continue
            document = latest_document(self._planner.site, facts, reading, kind=LEASES)
            if await self._put(document):
                self._told[meter] = (reading.row, now_s)
                self._leased[0] += 1
                self._leased[1] += document.bytes
                self._governor.count(self._usage(LEASES, 1, document.bytes))

    async def _send(self, document: Document, stamp: bytes | None = None) -> None:
        if not self._governor.room() or not await self._put(document):
            return
        used = self._usage(document.kind, 1, document.bytes)
        self._governor.count(used)
        await self._feed.count([used])
        now = self._clock.wall_ms().to_bytes(STAMP_BYTES, "big")
        await self._feed.keep_digest(document.path, stamp or now)

    async def _put(self, document: Document) -> bool:
        try:
            await self._cloud.put([document], timeout_s([document]))
        except (CloudDownError, ForbiddenError, CredentialError, TransientError) as error:
            log.info("latest_not_sent", path=document.path, error=str(error))
            return False
        except RejectedError as error:
            log.error("document_rejected", path=document.path, reason=str(error))  # noqa: TRY400
            return False
        return True

    def _usage(self, kind: str, writes: int, size: int) -> Usage:
        return Usage(self._clock.wall_ms() // DAY_MS, kind, writes, size)

    async def _save_leased(self) -> None:
        if self._leased[0]:
            used = self._usage(LEASES, self._leased[0], self._leased[1])
            self._leased = [0, 0]
            await self._feed.count([used])
