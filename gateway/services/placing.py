"""Place in time what came while the gateway's clock was untrusted (rule T)."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from gateway.domain.errors import StorageError, TransientError
from gateway.domain.readings import Mark
from gateway.pipeline import placement
from gateway.services.ledger import Boot, Ledger, Meter
from gateway.services.placer import Now

log = structlog.get_logger()
LOOK_S = 2.0
ANCHOR_WAIT_S = 120.0  # a meter tells its `up` every 60 s


class Unplaced(NamedTuple):
    """A stored reading without a place."""

    row: int
    seq: int
    up_ms: int
    t_ms: int | None
    flags: tuple[str, ...]


class Placed(NamedTuple):
    """Where it belongs."""

    row: int
    at_ms: int
    marks: int


class PlacingStore(Protocol):
    """What placing needs from storage."""

    async def unplaced_boots(self) -> list[int]:
        """Return the numbers of boots with unplaced readings."""

    async def unplaced(self, boot_no: int) -> list[Unplaced]:
        """Return a boot's unplaced readings in the order of their rows."""

    async def place(
        self, boot_no: int, placed: list[Placed], runs: list[tuple[int, int, int]]
    ) -> None:
        """Store places, and (first, first_at_ms, last_at_ms) of the boot's runs."""


class Placing:
    """The service: waits for trust, then for the boots' anchors, and places."""

    def __init__(
        self,
        store: PlacingStore,
        ledger: Callable[[], Ledger],
        now: Now,
        placed: Callable[[], None],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._now = now
        self._placed = placed
        self._trusted_since_s: float | None = None

    async def run(self) -> None:
        """Look every two seconds, until cancelled; TransientError when the disk fails."""
        while True:
            try:
                await self.look()
            except StorageError as error:
                msg = f"readings could not be placed in time: {error}"
                raise TransientError(msg) from error
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Place whatever can be placed by now."""
        if not self._now.trusted():
            self._trusted_since_s = None
            return
        if self._trusted_since_s is None:
            self._trusted_since_s = self._now.mono_s()
        waited = self._now.mono_s() - self._trusted_since_s >= ANCHOR_WAIT_S
        count = 0
        boots = await self._store.unplaced_boots()
        known = {boot.no: (meter, boot) for meter in self._ledger().meters.values()
                 for boot in meter.boots.values()}  # fmt: skip
        for boot_no in boots:
            if boot_no not in known:
                continue  # the ledger is being read
            meter, boot = known[boot_no]
            if boot.clock.anchor_ms is not None or waited or boot is not meter.newest:
                count += await self._place_boot(meter, boot)
        if count:
            log.info("readings_placed", readings=count)
            self._placed()

    async def _place_boot(self, meter: Meter, boot: Boot) -> int:
        rows = await self._store.unplaced(boot.no)
        now_ms = self._now.wall_ms()
        anchor = _neighbour_anchor(meter, boot, now_ms)
        placed = []
        for row in rows:
            # The receive time was untrusted too; it was certainly not after now.
            where = placement.place(boot.clock, row.t_ms, row.up_ms, row.flags, now_ms)
            at_ms, marks = where
            if at_ms is None:
                at_ms, marks = anchor + row.up_ms, Mark.NEIGHBOURED
            placed.append(Placed(row.row, at_ms, marks))
        by_seq = {row.seq: at.at_ms for row, at in zip(rows, placed, strict=True)}
        runs = []
        for run in boot.runs:
            run.first_at_ms = by_seq.get(run.first, run.first_at_ms)
            run.last_at_ms = by_seq.get(run.last, run.last_at_ms)
            if run.first_at_ms is not None and run.last_at_ms is not None:
                runs.append((run.first, run.first_at_ms, run.last_at_ms))
        await self._store.place(boot.no, placed, runs)
        return len(placed)


def _neighbour_anchor(meter: Meter, boot: Boot, now_ms: int) -> int:
    earlier, later = meter.before(boot), meter.after(boot)
    previous_end = earlier.runs[-1].last_at_ms if earlier is not None and earlier.runs else None
    next_start = None if later is None else later.clock.anchor_ms
    return placement.between_neighbours(boot.last_up_ms, previous_end, next_start, now_ms)
