"""Rule T as readings come in: kept times, anchors, neighbours, and rows that must move."""

from typing import Protocol

from gateway.domain.readings import Mark, Reading
from gateway.pipeline import placement
from gateway.services.batches import Moved
from gateway.services.ledger import Boot, Meter

LATEST_MS = 2**46  # the year 4199: a recording's times beyond it are no times
WORTH_WRITING_MS = 1000


class Now(Protocol):
    """The gateway's clock."""

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""

    def mono_s(self) -> float:
        """Return monotonic seconds."""

    def trusted(self) -> bool:
        """Tell whether the wall clock may be believed."""


class Placer:
    """Places the readings of one batch; notes in `boots` which boots' rows must be written."""

    def __init__(self, now: Now, boots: dict[int, tuple[Meter, Boot]]) -> None:
        self._now = now
        self._boots = boots
        self.moved: dict[int, Moved] = {}

    def place(
        self, meter: Meter, boot: Boot, reading: Reading, received_ms: int
    ) -> tuple[int | None, int]:
        """Place a reading (rule T); (None, UNPLACED) while the gateway's clock is untrusted."""
        if meter.info.recorded and reading.t is not None and 0 <= reading.t <= LATEST_MS:
            return reading.t, 0
        if not self._now.trusted():
            return None, Mark.UNPLACED
        clock = boot.clock
        if boot is meter.newest and clock.state_anchor_ms is None:
            before = clock.reading_anchor_ms
            clock.heard_reading(reading.up, received_ms)
            self.anchor_changed(meter, boot, before, clock.reading_anchor_ms)
        offset_before = clock.offset_ms
        where = placement.place(clock, reading.t, reading.up, reading.flags, received_ms)
        if clock.offset_ms != offset_before and _far(clock.offset_ms, offset_before):
            self._boots[boot.no] = (meter, boot)
        if where.at_ms is not None:
            return where.at_ms, where.marks
        anchor = self._between(meter, boot, reading, received_ms)
        return min(anchor + reading.up, received_ms + placement.FUTURE_MS), Mark.NEIGHBOURED

    def _between(self, meter: Meter, boot: Boot, reading: Reading, received_ms: int) -> int:
        """Return the anchor of a boot that only its neighbours tell about."""
        earlier, later = meter.before(boot), meter.after(boot)
        previous_end = earlier.runs[-1].last_at_ms if earlier is not None and earlier.runs else None
        next_start = None if later is None else _start_of(later)
        anchor = placement.between_neighbours(
            max(reading.up, boot.last_up_ms), previous_end, next_start, received_ms
        )
        before = boot.neighbour_anchor_ms
        if before is not None and anchor >= before - placement.REPLACE_MS:
            return before
        boot.neighbour_anchor_ms = anchor
        if before is not None:
            self.moved[boot.no] = Moved(boot.no, meter.no, anchor, Mark.NEIGHBOURED)
        return anchor

    def anchor_changed(
        self, meter: Meter, boot: Boot, before: int | None, after: int | None
    ) -> None:
        """Note an anchor for the store, and move what it placed when it fell by over 5 s."""
        if before is None or after is None or _far(before, after):
            self._boots[boot.no] = (meter, boot)
        if before is not None and after is not None and after < before - placement.REPLACE_MS:
            self.moved[boot.no] = Moved(boot.no, meter.no, after, Mark.ANCHORED)


def _start_of(boot: Boot) -> int | None:
    """Return when a boot began, as well as it is known."""
    if boot.clock.offset_ms is not None:
        return boot.clock.offset_ms
    return boot.clock.anchor_ms


def _far(a: int | None, b: int | None) -> bool:
    """Tell whether an anchor or offset changed enough to be worth writing."""
    return a is None or b is None or abs(a - b) > WORTH_WRITING_MS
