"""What the cloud and the archive still lack, as the store hands it out."""

from enum import StrEnum
from typing import NamedTuple

from gateway.domain.alerts import Alert, HistoryEntry
from gateway.domain.readings import GapSpan
from gateway.pipeline.rollups import Bucket

QUARTER_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
QUARTERS_A_DAY = 96
# A local day may have 25 hours (the clocks go back), and every interval's last minute is
# written only when a reading behind it has come: windows of up to two minutes need so long.
LONGEST_LOCAL_DAY_MS = 25 * HOUR_MS
SETTLED_MS = 90_000
SILENT_MS = 120_000  # an interval is over for a silent meter too, by the wall clock


class DueKind(StrEnum):
    """What kinds of intervals and lists may be due; the store notes them as rows change."""

    QUARTER = "quarter"  # 1-minute rows of a UTC quarter hour
    DAY = "day"  # a local day's sums
    GAPS = "gaps"  # a meter's missing windows; start_ms is 0
    HOUR = "hour"  # raw readings of a UTC hour, for the archive


LENGTH_MS = {
    DueKind.QUARTER: QUARTER_MS,
    DueKind.DAY: LONGEST_LOCAL_DAY_MS,
    DueKind.GAPS: 0,
    DueKind.HOUR: HOUR_MS,
}


class Due(NamedTuple):
    """One thing that changed and was not confirmed since."""

    kind: DueKind
    meter_no: int
    start_ms: int


class DueQuery(NamedTuple):
    """Which of them to hand out: over by `now_ms` or by the meter's own data, oldest first.

    `now_ms` None where the wall clock cannot be believed; `quiet_ms`: changed no later than so
    long ago, so that a backlog's late readings lead to one rewriting and not to many.
    """

    kind: DueKind
    limit: int
    now_ms: int | None
    wall_ms: int
    quiet_ms: int = 0


class AlertEntry(NamedTuple):
    """An alert that changed; `body` tells whether it changed again before it was confirmed."""

    no: int
    body: str
    alert: Alert
    history: list[HistoryEntry]


class MeterFacts(NamedTuple):
    """Who a meter is, for its documents."""

    no: int
    id: str
    label: str
    channels: dict[str, str]  # name -> role
    newest_ms: int  # the end of its newest judged reading, 0 for none
    online: bool = False
    # Of the time before this the cloud may hold rows that the store has lost: a damaged database
    # was taken over, or a backup restored.
    doubtful_until_ms: int = 0
    removed: bool = False


Minutes = dict[str, list[Bucket]]  # channel -> 1-minute buckets in time order


class DayFacts(NamedTuple):
    """A local day's rollup of every channel, and the registers before it."""

    start_ms: int
    end_ms: int
    channels: dict[str, Bucket]
    before: dict[str, Bucket]


class GapFacts(NamedTuple):
    """A meter's newest gaps, and how many windows are missing in all."""

    spans: list[GapSpan]
    provisional: int
    final: int


class Usage(NamedTuple):
    """What was written on one UTC day, by kind of document. `day` counts from 1970-01-01."""

    day: int
    kind: str
    writes: int
    bytes: int
    unknown: int = 0  # sent without an answer: the cloud may have counted them too


class DeadDocument(NamedTuple):
    """A document that the cloud refuses for ever."""

    no: int
    at_ms: int
    path: str
    reason: str
    bytes: int


class Backlog(NamedTuple):
    """What waits, by kind, and since when the oldest of it is due (0 for none)."""

    waiting: dict[str, int]
    oldest_ms: int
