"""Which documents to write next, oldest first, and what each of them makes safe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from zoneinfo import ZoneInfo

from cloud_sync.documents import (
    EPOCH,
    Document,
    day_document,
    digest,
    gaps_document,
    minutes_document,
)
from cloud_sync.governor import Span
from cloud_sync.ports import Clock, Feed
from gateway.pipeline.rollups import Calendar
from gateway.services.cloud_feed import (
    DAY_MS,
    QUARTER_MS,
    SETTLED_MS,
    SILENT_MS,
    Due,
    DueKind,
    DueQuery,
    MeterFacts,
)

LATE_WAIT_S = 60.0  # late readings come in crowds: wait until they have passed
GAPS_WAIT = 60  # times as long: most gaps close again within minutes
MOST_GAPS = 100
MINUTE_MS = 60_000
WAITING = 0  # the store's word for a quarter that is in no document


@dataclass(slots=True)
class Unit:
    """One document to write, and the entries that are safe once it is confirmed."""

    kind: DueKind
    meter_no: int
    start_ms: int
    span: Span | None = None
    entries: list[Due] = field(default_factory=list)
    unchanged: bool = False  # the cloud holds the very same document already

    @property
    def confirms(self) -> list[tuple[Due, int]]:
        """Return the entries with the kind of document they are in from then on."""
        return [(entry, WAITING if self.span is None else int(self.span)) for entry in self.entries]


class Planner:
    """Chooses units and builds their documents."""

    def __init__(
        self, feed: Feed, site: str, zone: ZoneInfo, clock: Clock, late_wait_s: float = LATE_WAIT_S
    ) -> None:
        self._feed = feed
        self._late_ms = round(late_wait_s * 1000)
        self.hurry = False  # wait for nothing late: somebody wants all of it now
        self.site = site
        self._zone = zone
        self._calendar = Calendar(zone)
        self.clock = clock
        self._meters: dict[int, MeterFacts] = {}
        self._silent: dict[int, int] = {}  # meter -> the newest reading it was noted for
        self._newest: dict[int, tuple[str, bytes]] = {}  # meter -> its last document and digest

    async def units(self, span: Span, limit: int) -> list[Unit]:
        """Return at most `limit` documents to write, oldest first within each kind."""
        units = [
            Unit(due.kind, due.meter_no, due.start_ms, None, [due])
            for kind, quiet_ms in (
                (DueKind.DAY, self._late_ms),
                (DueKind.GAPS, self._late_ms * GAPS_WAIT),
            )
            for due in await self._feed.due(self._query(kind, limit, quiet_ms))
        ][:limit]
        if len(units) < limit:
            units += await self._quarters(span, limit - len(units))
        return units

    def _query(self, kind: DueKind, limit: int, quiet_ms: int) -> DueQuery:
        wall_ms = self.clock.wall_ms()
        now_ms = wall_ms if self.clock.trusted() else None
        return DueQuery(kind, limit, now_ms, wall_ms, 0 if self.hurry else quiet_ms)

    async def _quarters(self, span: Span, limit: int) -> list[Unit]:
        """Group quarters that are due into documents; coarse ones hold all that is due in them."""
        most = limit * (span.ms // QUARTER_MS)
        found: dict[tuple[int, int, Span], Unit] = {}
        known: dict[tuple[int, int], bytes] = {}
        for due in await self._feed.due(self._query(DueKind.QUARTER, most, self._late_ms)):
            day = (due.meter_no, due.start_ms // DAY_MS)
            if day not in known:
                known[day] = await self._feed.spans(*day)
            code = known[day][due.start_ms % DAY_MS // QUARTER_MS]
            own = span if code == WAITING else Span(code)
            if await self._is_doubtful(due):
                own = beside(
                    known[day], due.start_ms, max(own, Span.HOUR, Span(min(code + 1, Span.DAY)))
                )
            start_ms = due.start_ms - due.start_ms % own.ms
            if own is not Span.QUARTER and code == WAITING and not await self._is_over(
                due.meter_no, start_ms + own.ms
            ):  # fmt: skip
                continue
            key = (due.meter_no, start_ms, own)
            if key not in found:
                if len(found) >= limit:
                    break
                found[key] = Unit(DueKind.QUARTER, due.meter_no, start_ms, own)
            found[key].entries.append(due)
        return list(found.values())

    async def _is_doubtful(self, due: Due) -> bool:
        """Tell whether the cloud may hold rows of a quarter that the store has lost."""
        facts = await self._facts(due.meter_no)
        return facts is not None and due.start_ms < facts.doubtful_until_ms

    async def _is_over(self, meter_no: int, end_ms: int) -> bool:
        """Tell whether a coarse document's span is over, by the clock or the meter's own data."""
        if self.clock.trusted() and self.clock.wall_ms() >= end_ms + SILENT_MS:
            return True
        facts = await self._facts(meter_no)
        return facts is not None and facts.newest_ms >= end_ms + SETTLED_MS

    async def _facts(self, meter_no: int) -> MeterFacts | None:
        if meter_no not in self._meters:
            await self.refresh()
        return self._meters.get(meter_no)

    async def refresh(self) -> list[MeterFacts]:
        """Read the meters anew."""
        meters = await self._feed.meters()
        self._meters = {facts.no: facts for facts in meters}
        return meters

    async def build(self, unit: Unit) -> Document | None:
        """Return a unit's document; None where there is nothing (any more) to write."""
        facts = await self._facts(unit.meter_no)
        if facts is None:
            return None
        if unit.kind is DueKind.QUARTER:
            return await self._minutes(unit, facts)
        if unit.kind is DueKind.DAY:
            day = await self._feed.day(unit.meter_no, unit.start_ms)
            if not day.channels:
                return None
            # The middle of the day: its date is the same however the clocks change.
            middle = EPOCH + timedelta(milliseconds=(day.start_ms + day.end_ms) // 2)
            date = middle.astimezone(self._zone).date().isoformat()
            return day_document(self.site, facts.id, date, day)
        gaps = await self._feed.gaps(unit.meter_no, MOST_GAPS)
        document = gaps_document(self.site, facts.id, gaps)
        same = await self._feed.digest(document.path) == digest(document.fields)
        return None if same else document

    async def _minutes(self, unit: Unit, facts: MeterFacts) -> Document | None:
        span = unit.span or Span.QUARTER
        end_ms = unit.start_ms + span.ms
        minutes = await self._feed.minutes(unit.meter_no, unit.start_ms, end_ms)
        if span is not Span.QUARTER:
            codes = await self._feed.spans(unit.meter_no, unit.start_ms // DAY_MS)
            fresh = {entry.start_ms // QUARTER_MS for entry in unit.entries}
            # Quarters that stand in documents of their own stay there.
            minutes = {
                name: [
                    row for row in rows
                    if row.start_ms // QUARTER_MS in fresh
                    or codes[row.start_ms % DAY_MS // QUARTER_MS] == span
                ]
                for name, rows in minutes.items()
            }  # fmt: skip
        minutes = {name: rows for name, rows in minutes.items() if rows}
        if not minutes:
            unit.unchanged = await self._is_lost(unit)
            if unit.unchanged or not await self._is_there(unit):
                return None
        document = minutes_document(self.site, facts.id, (unit.start_ms, end_ms), minutes)
        if self._newest.get(facts.no) == (document.path, digest(document.fields)):
            unit.unchanged = True  # a meter that fell silent: its last quarter is looked at again
            return None
        return document

    async def _is_lost(self, unit: Unit) -> bool:
        """Tell whether the store has lost a unit's rows, just now perhaps, and the cloud has not.

        Ones that moved to another time are not lost.
        """
        await self.refresh()
        return await self._is_doubtful(unit.entries[0]) and await self._is_there(unit)

    def confirmed(self, unit: Unit, document: Document) -> None:
        """Remember the last document of each meter that the cloud has confirmed."""
        if unit.kind is DueKind.QUARTER:
            self._newest[unit.meter_no] = (document.path, digest(document.fields))

    async def _is_there(self, unit: Unit) -> bool:
        """Tell whether the cloud holds rows of a unit; ones that moved away must leave it."""
        for entry in unit.entries:
            codes = await self._feed.spans(unit.meter_no, entry.start_ms // DAY_MS)
            if codes[entry.start_ms % DAY_MS // QUARTER_MS] != WAITING:
                return True
        return False

    async def note_silent(self, kinds: Sequence[DueKind]) -> None:
        """Make the last minutes of silent meters due: no reading behind them has closed them."""
        if not self.clock.trusted():
            return
        now_ms = self.clock.wall_ms()
        for facts in await self.refresh():
            newest_ms = facts.newest_ms
            if not 0 < newest_ms < now_ms - SILENT_MS or self._silent.get(facts.no) == newest_ms:
                continue
            self._silent[facts.no] = newest_ms
            starts = {
                Due(kind, facts.no, self._start(kind, at_ms))
                for kind in kinds if kind is not DueKind.GAPS
                for at_ms in (newest_ms - MINUTE_MS, newest_ms)
            }  # fmt: skip
            await self._feed.note(sorted(starts))

    def _start(self, kind: DueKind, at_ms: int) -> int:
        if kind is DueKind.DAY:
            return self._calendar.start_of("1d", at_ms)
        span_ms = QUARTER_MS if kind is DueKind.QUARTER else 4 * QUARTER_MS
        return at_ms - at_ms % span_ms


def beside(codes: bytes, start_ms: int, span: Span) -> Span:
    """Return the least span from `span` on whose document over a quarter does not exist yet.

    What the cloud holds stays then, also of minutes that the store has lost, and readers take
    the others from the longer document.
    """
    while span is not Span.DAY:
        begin_ms = start_ms - start_ms % span.ms
        first = begin_ms % DAY_MS // QUARTER_MS
        if span not in codes[first : first + span.ms // QUARTER_MS]:
            break
        span = Span(span + 1)
    return span
