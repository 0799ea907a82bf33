"""Move what the gateway holds to the cloud: alerts first, then the oldest, each document once.

Every document has an id of its own and is written whole, so that one which is sent again after a
crash or a lost answer changes nothing. What the cloud has confirmed is forgotten and counted in
one transaction; a row that changed in between is due again.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never

import structlog

from cloud_sync.documents import Document, alert_document, digest
from cloud_sync.errors import (
    CloudBusyError,
    CloudDownError,
    CredentialError,
    ForbiddenError,
    QuotaError,
    RejectedError,
)
from cloud_sync.governor import Governor
from cloud_sync.pace import LONGEST_REFUSED_S, Backoff, Pace, timeout_s
from cloud_sync.planner import Planner, Unit
from cloud_sync.ports import Cloud, Feed, Receipt
from gateway.domain.errors import GatewayError, StorageError, TransientError
from gateway.services.cloud_feed import (
    DAY_MS,
    HOUR_MS,
    AlertEntry,
    DeadDocument,
    Due,
    DueKind,
    Usage,
)

log = structlog.get_logger()
KINDS = (DueKind.QUARTER, DueKind.DAY, DueKind.GAPS)
CONCURRENT = 3
MOST_UNITS = 200
MOST_ALERTS = 50
IDLE_S = 5.0
SILENT_LOOK_S = 30.0
RENEWED_EVERY_MS = 3 * HOUR_MS  # an alert whose condition lasts: judging renews it every 5 minutes
LONGEST_REASON = 500
SKEW_MS = 300_000  # tokens of Google are refused beyond it
REFUSED = (ForbiddenError, CredentialError, QuotaError)


@dataclass(slots=True)
class State:
    """How sending is doing, for people. `who` must act where `word` is not "running"."""

    word: str = "starting"  # starting | running | waiting | down | refused | failed
    detail: str = ""
    who: str = ""
    confirmed: int = 0  # documents since the start
    idle_turns: int = 0  # how often nothing was left to send
    skew_ms: int | None = None  # the cloud's clock less ours


@dataclass(frozen=True, slots=True)
class Piece:
    """A document on its way with what it makes safe."""

    document: Document
    unit: Unit | None = None
    alert: AlertEntry | None = None

    @property
    def entries(self) -> list[Due]:
        """Return the entries that the document answers for."""
        return [] if self.unit is None else self.unit.entries

    @property
    def alerts(self) -> list[AlertEntry]:
        """Return the alerts that the document answers for."""
        return [] if self.alert is None else [self.alert]


class Uploader:
    """The service. `wake` is set when there is news that should not wait."""

    def __init__(self, feed: Feed, cloud: Cloud, planner: Planner, governor: Governor) -> None:
        self._feed = feed
        self._cloud = cloud
        self._planner = planner
        self._governor = governor
        self._clock = planner.clock
        self._pace = Pace()
        self._backoff = Backoff()
        self._looked_s = float("-inf")
        self._suspects: list[tuple[Piece, RejectedError]] = []
        self.wake = asyncio.Event()
        self.state = State()

    async def run(self) -> Never:
        """Send until cancelled; TransientError when the disk fails."""
        try:
            while True:
                self.wake.clear()
                delay_s = await self._turn()
                if delay_s:
                    await self._pause(delay_s)
        except StorageError as error:
            msg = f"what the cloud lacks cannot be read: {error}"
            raise TransientError(msg) from error

    def hurry(self) -> None:
        """Send all that is over, without waiting for anything late."""
        self._planner.hurry = True
        self._looked_s = float("-inf")
        self.wake.set()

    async def drain(self) -> int:
        """Send all that is over now, then return how many documents that were.

        For a command while no daemon runs. Raises what the cloud raises.
        """
        before = self.state.confirmed
        self.hurry()
        while await self.step():
            self._planner.hurry = True
        return self.state.confirmed - before

    async def _pause(self, delay_s: float) -> None:
        """Wait; an alert ends it early where the cloud is thought to be there."""
        if self.state.word in ("running", "waiting"):
            try:
                async with asyncio.timeout(delay_s):
                    await self.wake.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(delay_s)

    async def _turn(self) -> float:
        """Send one wave; return how long to wait before the next."""
        try:
            more = await self.step()
        except (CloudDownError, CloudBusyError) as error:
            self._pace.failed()
            self._tell("down", str(error), "nobody: it is tried again")
            return self._backoff.next_s()
        except REFUSED as error:
            self._pace.failed()
            self._tell("refused", str(error), who_acts(error))
            return self._backoff.next_s(LONGEST_REFUSED_S)
        except StorageError:
            raise
        except Exception as error:  # the house goes on without the cloud, whatever it is
            self._pace.failed()
            log.exception("cloud_failed")
            self._tell("failed", f"{type(error).__name__}: {error}", "the makers: send the log")
            return self._backoff.next_s(LONGEST_REFUSED_S)
        if more:
            self._backoff.reset()
        return 0.0 if more else IDLE_S

    def _tell(self, word: str, detail: str = "", who: str = "") -> None:
        if word != self.state.word:
            level = log.warning if word in ("down", "refused", "failed") else log.info
            level("cloud", state=word, detail=detail, who=who)
        self.state.word, self.state.detail, self.state.who = word, detail, who

    async def step(self) -> bool:
        """Send one wave; return whether there may be more. Raises what the cloud raises."""
        await self._begin_day()
        self._suspects.clear()
        if await self._send_alerts() and not self._suspects:
            return True
        more = await self._send_due()
        return await self._judge_suspects() or more

    async def _send_due(self) -> bool:
        """Send one wave of what is no alert; return whether there may be more."""
        if time.monotonic() - self._looked_s >= SILENT_LOOK_S:
            self._looked_s = time.monotonic()
            await self._planner.note_silent(KINDS)
        span = self._governor.span()
        if span is None:
            self._tell("waiting", "the day's limit is reached", "nobody: it goes on tomorrow")
            return False
        limit = min(MOST_UNITS, self._pace.documents * CONCURRENT, self._governor.room())
        units = await self._planner.units(span, limit)
        if not units:
            self._tell("running")
            self.state.idle_turns += 1
            self._planner.hurry = False
            return False
        await self._feed.take([entry for unit in units for entry in unit.entries])
        await self._send_units(units)
        return True

    async def _begin_day(self) -> None:
        day = self._clock.wall_ms() // DAY_MS
        if day != self._governor.day:
            self._governor.load(day, await self._feed.usage(day, day))

    async def _send_alerts(self) -> bool:
        if not self._governor.may_alert():
            return False
        entries = await self._feed.alerts(MOST_ALERTS) or await self._renewals()
        pieces: list[Piece] = []
        for entry in entries:
            try:
                document = alert_document(self._planner.site, entry.alert, entry.history)
            except Exception as error:  # a defect: one alert must not hold up the others
                log.exception("document_not_made", alert=entry.alert.id)
                await self._bury(f"alerts/{entry.alert.id}", error, alerts=[entry])
            else:
                pieces.append(Piece(document, alert=entry))
        for batch in self._batches(pieces):
            await self._send(batch)
        return bool(entries)

    async def _renewals(self) -> list[AlertEntry]:
        """Return alerts that only last on: every few hours, less often near the day's limit."""
        span = self._governor.span()
        if span is None:
            return []
        wait_ms = 0 if self._planner.hurry else max(RENEWED_EVERY_MS, span.ms)
        most = min(MOST_ALERTS, self._governor.room())
        return await self._feed.renewals(most, self._clock.wall_ms(), wait_ms)

    async def _send_units(self, units: Sequence[Unit]) -> None:
        """Build the documents and send them in a few batches side by side."""
        pieces: list[Piece] = []
        empty: list[tuple[Due, int]] = []
        for unit in units:
            try:
                document = await self._planner.build(unit)
            except StorageError:
                raise
            except Exception as error:  # a defect: one interval must not hold up the others
                log.exception("document_not_made", kind=unit.kind, start_ms=unit.start_ms)
                name = f"{unit.kind}/{unit.meter_no}/{unit.start_ms}"
                await self._bury(name, error, entries=unit.entries)
                continue
            if document is None:
                empty += unit.confirms if unit.unchanged else [(e, 0) for e in unit.entries]
            else:
                pieces.append(Piece(document, unit))
        if empty:  # gaps that closed again, minutes that moved away: nothing is to be written
            await self._feed.confirm(empty, (), ())
        batches = self._batches(pieces)
        for first in range(0, len(batches), CONCURRENT):
            wave = [self._send(batch) for batch in batches[first : first + CONCURRENT]]
            done = await asyncio.gather(*wave, return_exceptions=True)
            for failure in done:
                if isinstance(failure, BaseException):
                    raise failure

    def _batches(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        by_path = {piece.document.path: piece for piece in pieces}
        split = self._pace.split([piece.document for piece in by_path.values()])
        return [[by_path[document.path] for document in batch] for batch in split]

    async def _send(self, pieces: Sequence[Piece]) -> None:
        """Send one batch and confirm it; a refused document is found by halving and set aside."""
        documents = [piece.document for piece in pieces]
        began_s = time.monotonic()
        try:
            receipt = await self._cloud.put(documents, timeout_s(documents))
        except RejectedError as error:
            await self._find_rejected(pieces, error)
            return
        except CloudDownError as error:
            if error.maybe_written:
                await self._count_unknown(documents)
            raise
        self._pace.succeeded(time.monotonic() - began_s)
        self._compare_clocks(receipt)
        await self._confirm(pieces)

    async def _confirm(self, pieces: Sequence[Piece]) -> None:
        usage = self._usage([piece.document for piece in pieces])
        confirms = [c for piece in pieces if piece.unit for c in piece.unit.confirms]
        alerts = [alert for piece in pieces for alert in piece.alerts]
        await self._feed.confirm(confirms, alerts, usage)
        for used in usage:
            self._governor.count(used)
        for piece in pieces:
            if piece.unit is not None:
                self._planner.confirmed(piece.unit, piece.document)
            if piece.document.kind == "gaps":
                await self._feed.keep_digest(piece.document.path, digest(piece.document.fields))
        self.state.confirmed += len(pieces)
        self._tell("running")

    def _usage(self, documents: Sequence[Document]) -> list[Usage]:
        day = self._clock.wall_ms() // DAY_MS
        found: dict[str, list[int]] = {}
        for document in documents:
            found.setdefault(document.kind, []).append(document.bytes)
        return [Usage(day, kind, len(sizes), sum(sizes)) for kind, sizes in found.items()]

    async def _count_unknown(self, documents: Sequence[Document]) -> None:
        """Count what may have been written: the project may have to pay for it."""
        day = self._clock.wall_ms() // DAY_MS
        unknown = [Usage(day, "unknown", 0, 0, len(documents))]
        await self._feed.count(unknown)
        for used in unknown:
            self._governor.count(used)

    async def _find_rejected(self, pieces: Sequence[Piece], error: RejectedError) -> None:
        if len(pieces) > 1:
            half = len(pieces) // 2
            await self._send(pieces[:half])
            await self._send(pieces[half:])
            return
        self._suspects.append((pieces[0], error))

    async def _judge_suspects(self) -> bool:
        """Set aside what the cloud refuses though it takes others; return whether there was any.

        Where it has taken none yet, the project may be at fault and not the documents:
        ForbiddenError, and all of them wait.
        """
        for piece, error in self._suspects:
            if not self.state.confirmed:
                msg = f"the project takes no document: {error}"
                raise ForbiddenError(msg) from error
            log.error("document_rejected", path=piece.document.path, reason=str(error))
            path, size = piece.document.path, piece.document.bytes
            await self._bury(path, error, entries=piece.entries, alerts=piece.alerts, size=size)
        return bool(self._suspects)

    async def _bury(
        self, path: str, error: Exception, *, entries: Sequence[Due] = (),
        alerts: Sequence[AlertEntry] = (), size: int = 0,
    ) -> None:  # fmt: skip
        """Set aside what can never be sent as it is; it is due again when it changes."""
        said = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        dead = DeadDocument(0, self._clock.wall_ms(), path, said, size)
        await self._feed.bury(entries, alerts, dead)

    def _compare_clocks(self, receipt: Receipt) -> None:
        skew_ms = receipt.server_ms - self._clock.wall_ms()
        known = self.state.skew_ms
        self.state.skew_ms = skew_ms
        if abs(skew_ms) > SKEW_MS and (known is None or abs(known) <= SKEW_MS):
            log.warning("clock_skew", seconds=skew_ms // 1000, who="administrator: set the clock")


def who_acts(error: GatewayError) -> str:
    """Return who must act, as the error's class says."""
    if isinstance(error, QuotaError):
        return "the project's owner: wait for the next day, or change the plan"
    if isinstance(error, ForbiddenError):
        return "the project's owner: check rules, roles and the site's id"
    return "an administrator: run `wattwarden cloud login`, check credentials and clock"
