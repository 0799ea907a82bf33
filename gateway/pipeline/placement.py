"""Rule T: where on the wall clock a reading belongs, whatever the meter's own clock says."""

from collections import deque
from statistics import median_low
from typing import NamedTuple

from gateway.domain.readings import Mark

FUTURE_MS = 120_000  # a `t` further ahead of its receipt is not believed
OLDEST_MS = 45 * 86_400_000
OUT_OF_STEP_MS = 120_000
STEP_WINDOW_MS = 3_600_000  # the boot's last hour
STEP_SAMPLE_MS = 10_000  # one offset in ten seconds tells the median as well as all
SEED_WEIGHT = 30
REPLACE_MS = 5_000  # an anchor that falls by more moves the rows it placed


class Place(NamedTuple):
    """Where a reading goes: `at_ms` None = nowhere yet; `marks` say how it was found."""

    at_ms: int | None
    marks: int


class BootClock:
    """What is known of one boot's clock: anchors, and the offset t - up of its last hour.

    An anchor is the wall time at which the boot's `up` was 0, never later than it really was:
    receive - up only errs by what the message was under way.
    """

    __slots__ = ("_median", "_offsets", "_sampled_up_ms", "reading_anchor_ms", "state_anchor_ms")

    def __init__(
        self,
        state_anchor_ms: int | None = None,
        reading_anchor_ms: int | None = None,
        offset_ms: int | None = None,
    ) -> None:
        self.state_anchor_ms = state_anchor_ms
        self.reading_anchor_ms = reading_anchor_ms
        self._offsets: deque[tuple[int, int]] = deque()
        self._median = offset_ms
        self._sampled_up_ms = -STEP_SAMPLE_MS

    @property
    def anchor_ms(self) -> int | None:
        """Return the anchor from `state` messages, else from readings, else None."""
        return self.reading_anchor_ms if self.state_anchor_ms is None else self.state_anchor_ms

    @property
    def offset_ms(self) -> int | None:
        """Return the median of t - up over the boot's last hour, None before the first."""
        return self._median

    def heard_state(self, up_ms: int, received_ms: int) -> None:
        """Take a non-retained `state` message into account."""
        anchor = received_ms - up_ms
        if anchor < 0:
            return  # no meter has run since before 1970
        if self.state_anchor_ms is None or anchor < self.state_anchor_ms:
            self.state_anchor_ms = anchor

    def heard_reading(self, up_ms: int, received_ms: int) -> None:
        """Take a reading that came while its boot was running into account."""
        anchor = received_ms - up_ms
        if anchor < 0:
            return
        if self.reading_anchor_ms is None or anchor < self.reading_anchor_ms:
            self.reading_anchor_ms = anchor

    def believes(self, t_ms: int, up_ms: int, received_ms: int) -> bool:
        """Tell whether `t` is in step with its boot, and remember its offset."""
        offset = t_ms - up_ms
        known = self._median
        in_step = known is None or abs(offset - known) <= OUT_OF_STEP_MS
        if not in_step and known is not None and _corrects(t_ms, known + up_ms, received_ms):
            # The meter's first synchronisation: from wrong to right, and so no fault.
            self._offsets.clear()
            self._median = offset
            in_step = True
        self._sample(up_ms, offset)
        return in_step

    def _sample(self, up_ms: int, offset: int) -> None:
        if self._median is not None and abs(up_ms - self._sampled_up_ms) < STEP_SAMPLE_MS:
            return
        self._sampled_up_ms = up_ms
        if not self._offsets and self._median is not None:
            # After a restart the stored median stands for the samples it came from.
            self._offsets.extend([(up_ms, self._median)] * SEED_WEIGHT)
        self._offsets.append((up_ms, offset))
        while self._offsets and up_ms - self._offsets[0][0] > STEP_WINDOW_MS:
            self._offsets.popleft()
        self._median = median_low([value for _, value in self._offsets])


def _corrects(t_ms: int, expected_ms: int, received_ms: int) -> bool:
    """Tell whether a step leads from a wrong time to the right one."""
    return abs(t_ms - received_ms) <= FUTURE_MS < abs(expected_ms - received_ms)


def is_plausible(t_ms: int | None, flags: tuple[str, ...], received_ms: int) -> bool:
    """Tell whether `t` may be kept as far as it can be told without its boot."""
    return (
        t_ms is not None
        and "nosync" not in flags
        and received_ms - OLDEST_MS <= t_ms <= received_ms + FUTURE_MS
    )


def place(
    clock: BootClock, t_ms: int | None, up_ms: int, flags: tuple[str, ...], received_ms: int
) -> Place:
    """Place one reading of a boot while the gateway's own clock is trusted (rule T).

    `at_ms` is None only when `t` is not kept and the boot has no anchor: its neighbours
    must tell.
    """
    if (
        t_ms is not None
        and is_plausible(t_ms, flags, received_ms)
        and clock.believes(t_ms, up_ms, received_ms)
    ):
        return Place(t_ms, 0)
    anchor = clock.anchor_ms
    if anchor is None:
        return Place(None, Mark.NEIGHBOURED)
    return Place(min(anchor + up_ms, received_ms + FUTURE_MS), Mark.ANCHORED)


def between_neighbours(
    last_up_ms: int, previous_end_ms: int | None, next_start_ms: int | None, received_ms: int
) -> int:
    """Return an anchor for a boot that has none: it ended when the next one began.

    `last_up_ms` is the highest `up` seen of the boot; without a later boot it ended, at the
    latest, when it was received. It never begins before the previous boot's last window.
    """
    end_ms = received_ms if next_start_ms is None else min(next_start_ms, received_ms)
    anchor = max(0, end_ms - last_up_ms)
    return anchor if previous_end_ms is None else max(anchor, previous_end_ms)
