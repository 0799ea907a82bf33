"""What the cloud reads and confirms, in memory: the twin of the SQL one."""

from collections.abc import Callable, Sequence

from gateway.domain.alerts import Alert, HistoryEntry
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import (
    DAY_MS,
    LENGTH_MS,
    QUARTER_MS,
    QUARTERS_A_DAY,
    SETTLED_MS,
    SILENT_MS,
    AlertEntry,
    Backlog,
    DayFacts,
    DeadDocument,
    Due,
    DueKind,
    DueQuery,
    GapFacts,
    MeterFacts,
    Minutes,
    Usage,
)

AHEAD_MS = 3_600_000


class MemoryCloudFeed:
    """Satisfies `Feed`. `add_minutes` and `add_alert` do what the database's triggers do."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self.meter_facts: dict[int, MeterFacts] = {}
        self.days: dict[tuple[int, int], DayFacts] = {}
        self.gap_facts: dict[int, GapFacts] = {}
        self._minutes: dict[int, Minutes] = {}
        self._due: dict[Due, tuple[int, bool]] = {}  # noted when, and whether taken
        self._alerts: dict[str, AlertEntry] = {}
        self._renewed_ms: dict[str, int] = {}  # of those that are no news: noted when
        self._spans: dict[tuple[int, int], bytearray] = {}
        self._usage: dict[tuple[int, str], Usage] = {}
        self._dead: list[DeadDocument] = []
        self._digests: dict[str, bytes] = {}
        self._next = 1

    def add_minutes(self, meter_no: int, channel: str, buckets: Sequence[Bucket]) -> None:
        """Store 1-minute buckets, in place of those of the same minutes."""
        own = self._minutes.setdefault(meter_no, {}).setdefault(channel, [])
        for bucket in buckets:
            own[:] = [known for known in own if known.start_ms != bucket.start_ms]
            own.append(bucket)
            start_ms = bucket.start_ms - bucket.start_ms % QUARTER_MS
            self.note_change(Due(DueKind.QUARTER, meter_no, start_ms))
        own.sort(key=lambda bucket: bucket.start_ms)

    def note_change(self, due: Due) -> None:
        """Note that rows of an entry have changed."""
        if due not in self._due or self._due[due][1]:
            self._due[due] = (self._wall_ms(), False)

    def add_alert(
        self, alert: Alert, history: Sequence[HistoryEntry] = (), *, renewal: bool = False
    ) -> None:
        """Store an alert's change; a `renewal` only says that it lasts on."""
        known = self._alerts.get(alert.id)
        if not renewal:
            self._renewed_ms.pop(alert.id, None)
        elif known is None:
            self._renewed_ms[alert.id] = self._wall_ms()
        number = self._next if known is None else known.no
        self._next += known is None
        self._alerts[alert.id] = AlertEntry(number, repr(alert), alert, list(history))

    async def alerts(self, limit: int) -> list[AlertEntry]:
        """Return alerts that changed, oldest change first."""
        news = [e for key, e in self._alerts.items() if key not in self._renewed_ms]
        return sorted(news, key=lambda entry: entry.no)[:limit]

    async def renewals(self, limit: int, wall_ms: int, wait_ms: int) -> list[AlertEntry]:
        """Return alerts that only last on and were noted so long ago, oldest first."""
        old = [
            self._alerts[key] for key, noted_ms in self._renewed_ms.items()
            if not wall_ms - wait_ms < noted_ms <= wall_ms + AHEAD_MS
        ]  # fmt: skip
        return sorted(old, key=lambda entry: entry.no)[:limit]

    async def due(self, query: DueQuery) -> list[Due]:
        """Return what is due, oldest first."""
        found = [
            due
            for due, (noted_ms, _) in self._due.items()
            if due.kind is query.kind and self._is_over(due, query)
            and not query.wall_ms - query.quiet_ms < noted_ms <= query.wall_ms + AHEAD_MS
        ]  # fmt: skip
        return sorted(found, key=lambda due: (due.start_ms, due.meter_no))[: query.limit]

    def _is_over(self, due: Due, query: DueQuery) -> bool:
        end_ms = due.start_ms + LENGTH_MS[due.kind]
        if query.now_ms is not None and end_ms <= query.now_ms - SILENT_MS:
            return True
        facts = self.meter_facts.get(due.meter_no)
        settled_ms = 0 if due.kind is DueKind.GAPS else SETTLED_MS
        return facts is not None and 0 < facts.newest_ms >= end_ms + settled_ms

    async def due_between(self, kind: DueKind, meter_no: int, span: tuple[int, int]) -> list[Due]:
        """Return what is due of one meter with a start in [from, to)."""
        return sorted(
            due
            for due in self._due
            if due.kind is kind and due.meter_no == meter_no and span[0] <= due.start_ms < span[1]
        )

    async def take(self, entries: Sequence[Due]) -> None:
        """Mark entries as being sent."""
        for due in entries:
            if due in self._due:
                self._due[due] = (self._due[due][0], True)

    async def note(self, entries: Sequence[Due]) -> None:
        """Make entries due."""
        for due in entries:
            if due not in self._due or self._due[due][1]:
                self._due[due] = (self._due.get(due, (0, False))[0], False)

    async def spans(self, meter_no: int, day: int) -> bytes:
        """Return for each quarter of a UTC day in which kind of document it is."""
        return bytes(self._spans.get((meter_no, day), bytes(QUARTERS_A_DAY)))

    async def confirm(
        self, entries: Sequence[tuple[Due, int]], alerts: Sequence[AlertEntry],
        usage: Sequence[Usage],
    ) -> None:  # fmt: skip
        """Forget what is safe now, and count it."""
        for due, code in entries:
            if due.kind is DueKind.QUARTER:
                key = (due.meter_no, due.start_ms // DAY_MS)
                spans = self._spans.setdefault(key, bytearray(QUARTERS_A_DAY))
                spans[due.start_ms % DAY_MS // QUARTER_MS] = code
        self._forget([due for due, _ in entries], alerts)
        await self.count(usage)

    def _forget(self, entries: Sequence[Due], alerts: Sequence[AlertEntry]) -> None:
        for due in entries:
            if self._due.get(due, (0, False))[1]:
                del self._due[due]
        for entry in alerts:
            known = self._alerts.get(entry.alert.id)
            if known is not None and known.body == entry.body:
                del self._alerts[entry.alert.id]
                self._renewed_ms.pop(entry.alert.id, None)

    async def bury(
        self, entries: Sequence[Due], alerts: Sequence[AlertEntry], dead: DeadDocument
    ) -> None:
        """Set a document aside that the cloud refuses for ever."""
        self._forget(entries, alerts)
        self._dead = [known for known in self._dead if known.path != dead.path]
        self._next += 1
        self._dead.append(dead._replace(no=self._next))

    async def digest(self, path: str) -> bytes:
        """Return what was last confirmed of a document that is only sent when it changed."""
        return self._digests.get(path, b"")

    async def digests(self, prefix: str) -> dict[str, bytes]:
        """Return what was last confirmed of such documents, by path, below a prefix."""
        return {path: kept for path, kept in self._digests.items() if path.startswith(prefix)}

    async def keep_digest(self, path: str, digest: bytes) -> None:
        """Remember what was confirmed of such a document."""
        self._digests[path] = digest

    async def usage(self, from_day: int, to_day: int) -> list[Usage]:
        """Return what was written on days from … to, both included."""
        return sorted(u for u in self._usage.values() if from_day <= u.day <= to_day)

    async def count(self, usage: Sequence[Usage]) -> None:
        """Add to what was written."""
        for used in usage:
            key = (used.day, used.kind)
            known = self._usage.get(key, Usage(*key, 0, 0, 0))
            sums = (known.writes + used.writes, known.bytes + used.bytes)
            self._usage[key] = Usage(*key, *sums, known.unknown + used.unknown)

    async def backlog(self) -> Backlog:
        """Return what waits."""
        waiting = {"alert": len(self._alerts) - len(self._renewed_ms)}
        starts = []
        for due in self._due:
            if due.kind is not DueKind.GAPS:
                waiting[due.kind] = waiting.get(due.kind, 0) + 1
                starts.append(due.start_ms)
        return Backlog(waiting, min(starts, default=0))

    async def dead(self, limit: int) -> list[DeadDocument]:
        """Return the newest documents that were set aside."""
        return self._dead[::-1][:limit]

    async def meters(self) -> list[MeterFacts]:
        """Return all meters."""
        return [self.meter_facts[no] for no in sorted(self.meter_facts)]

    async def minutes(self, meter_no: int, start_ms: int, end_ms: int) -> Minutes:
        """Return a meter's 1-minute buckets in [start, end)."""
        found = {
            name: [bucket for bucket in own if start_ms <= bucket.start_ms < end_ms]
            for name, own in self._minutes.get(meter_no, {}).items()
        }
        return {name: own for name, own in found.items() if own}

    async def day(self, meter_no: int, start_ms: int) -> DayFacts:
        """Return the rollups of the local day that begins at `start_ms`."""
        nothing = DayFacts(start_ms, start_ms + DAY_MS, {}, {})
        return self.days.get((meter_no, start_ms), nothing)

    async def gaps(self, meter_no: int, limit: int) -> GapFacts:
        """Return a meter's newest gaps."""
        known = self.gap_facts.get(meter_no, GapFacts([], 0, 0))
        return known._replace(spans=known.spans[-limit:])
