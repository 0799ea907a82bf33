"""What every rule shares: persistence, hysteresis, and when to tell of it."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from gateway.domain.alerts import AlertKey, Evidence, Finding, Severity
from gateway.domain.meters import ChannelInfo, Role
from gateway.domain.readings import Stored

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# While a condition lasts its evidence is renewed this often, no oftener.
UPDATE_MS = 5 * MINUTE_MS
# After a hole this long nothing is known of how far a clearing had come.
HOLE_MS = 5 * MINUTE_MS

GOOD, BETWEEN, BAD = -1, 0, 1  # of a value: within its clear limit, in the band, beyond the limit
CLEAR, WARNING, CRITICAL = 0, 1, 2
SEVERITIES = (Severity.WARNING, Severity.WARNING, Severity.CRITICAL)  # a clearing's is not read


class Moment:
    """The reading being judged and the time it adds (one object, reused).

    `span_ms` is the part of `dt` not covered by earlier readings, so that no time counts twice.
    """

    __slots__ = ("at_ms", "reading", "span_ms")

    reading: Stored
    at_ms: int
    span_ms: int


class Hold(NamedTuple):
    """How long a value must be beyond its limit to count, and within it to have cleared."""

    raise_ms: int
    clear_ms: int


class Latch(Struct, array_like=True, gc=False):
    """Time-weighted m-of-n with hysteresis.

    Time beyond the limit fills, any other time drains; full, it stays on until the value has
    been within its clear limit for `clear_ms` without a break.
    """

    on: bool = False
    bad_ms: int = 0
    good_ms: int = 0

    def step(self, verdict: int, span_ms: int, hold: Hold) -> bool:
        """Count `span_ms` of GOOD, BETWEEN or BAD; return whether the condition holds."""
        if self.on:
            if verdict == GOOD:
                self.good_ms += span_ms
                if self.good_ms >= hold.clear_ms:
                    self.on, self.bad_ms, self.good_ms = False, 0, 0
            else:
                self.good_ms = 0
        elif verdict == BAD:
            self.bad_ms += span_ms
            if self.bad_ms >= hold.raise_ms:
                self.on = True
        elif self.bad_ms:
            self.bad_ms = max(0, self.bad_ms - span_ms)
        return self.on

    def gap(self, hole_ms: int) -> None:
        """Note a hole in the data: it is no proof of anything, so it only drains."""
        if not self.on:
            self.bad_ms = max(0, self.bad_ms - hole_ms)
        elif hole_ms >= HOLE_MS:
            self.good_ms = 0

    @property
    def idle(self) -> bool:
        """Return whether a GOOD value would change nothing."""
        return not self.on and not self.bad_ms


class Edge(Struct, array_like=True, gc=False):
    """What was last told of one alert key."""

    severity: int = CLEAR
    since_ms: int = 0
    told_ms: int = 0

    def turn(self, severity: int, at_ms: int) -> bool:
        """Return whether to tell now: raised, worse, cleared, or due for an update."""
        told = self.severity
        if told == severity == CLEAR:
            return False
        if CLEAR < severity <= told and at_ms - self.told_ms < UPDATE_MS:
            return False
        # An alert keeps its worst severity until it clears.
        self.severity = max(severity, told) if severity else CLEAR
        self.told_ms = at_ms
        return True


class Words(NamedTuple):
    """A finding's text and numbers."""

    title: str
    detail: str
    evidence: Mapping[str, float | int | str | None]


class Rule:
    """One alert key under watch: turns a severity into findings at its edges."""

    def __init__(self, key: AlertKey) -> None:
        self.key = key
        # Set by the rule: the value is good just now, though it has not cleared yet.
        self.calm = False

    def words(self, edge: Edge, at_ms: int) -> Words:
        """Return what to say now; `edge.severity` CLEAR means: it is over."""
        raise NotImplementedError

    def tell(self, edge: Edge, severity: int, at_ms: int, lasted_ms: int = 0) -> Finding | None:
        """Return a finding if there is news; `lasted_ms` is how long it held before a raise."""
        before = edge.severity
        if self.calm and CLEAR < severity <= before:
            return None  # nothing new can be shown of a condition that is going away
        if not edge.turn(severity, at_ms):
            return None
        if not before:
            edge.since_ms = at_ms - lasted_ms
        title, detail, numbers = self.words(edge, at_ms)
        evidence: Evidence = dict(numbers)
        evidence["since_ms"] = edge.since_ms
        evidence["duration_s"] = round((at_ms - edge.since_ms) / SECOND_MS, 1)
        return Finding(
            key=self.key,
            active=severity > CLEAR,
            at_ms=at_ms,
            severity=SEVERITIES[edge.severity or before],
            title=title,
            detail=detail,
            evidence=evidence,
            fresh=not before,
        )


def place(channel: ChannelInfo | None) -> str:
    """Return what a homeowner calls the place a channel measures; None = the meter's supply."""
    if channel is None or channel.role is Role.GRID:
        return "the grid connection"
    if channel.role is Role.SOLAR:
        return "the solar panels"
    return f"circuit {channel.name}"


def lasting(duration_ms: int) -> str:
    """Return a duration in words: "5 s", "12 min", "3.5 h", "2.1 days"."""
    if duration_ms < 2 * MINUTE_MS:
        return f"{duration_ms / SECOND_MS:.0f} s"
    if duration_ms < 2 * HOUR_MS:
        return f"{duration_ms / MINUTE_MS:.0f} min"
    if duration_ms < 2 * DAY_MS:
        return f"{duration_ms / HOUR_MS:.1f} h"
    return f"{duration_ms / DAY_MS:.1f} days"
