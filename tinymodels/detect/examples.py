"""Known faults put into a channel's own history, for a fit to learn what they look like there."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tinymodels.detect.blocks import block_table
from tinymodels.detect.injector import HOME_FAULTS, LAWS, Event, FaultName, draw, inject
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Minutes, Times, block_of
from tinymodels.detect.signals import Signals
from tinymodels.detect.sweep import sweep

# One of each kind a week, or as often as the longest fits: eight in the weeks of a fit are enough
# (with thirty no more was found on months before those of the judgement).
SLOT_MS: Final = 7 * DAY_MS
SEED: Final = 16
BEFORE_MS: Final = 3 * STEP_MS
LEAST_PART: Final = 0.5  # of the blocks until the deadline that have data


class Example(NamedTuple):
    """One fault's features, from the block in which it begins to just past its deadline."""

    fault: FaultName
    starts: Times
    values: Floats


def span_of(minutes: Minutes) -> tuple[int, int]:
    """Return from and to when there are minutes, (0, 0) without any."""
    return (int(minutes.start_ms[0]), int(minutes.start_ms[-1])) if len(minutes) else (0, 0)


def begins(events: Collection[Event]) -> set[int]:
    """Return the blocks in which events begin: whose states `examples` needs."""
    return {block_of(event.start_ms) for event in events}


def planned(span_ms: tuple[int, int], left_out_ms: Sequence[tuple[int, int]] = ()) -> list[Event]:
    """Return the faults to be tried in a span, clear of what is left out of a fit.

    When each is, and how large, hangs on the calendar alone: spans that overlap share theirs.
    """
    found = []
    for fault in HOME_FAULTS:
        law = LAWS[fault]
        slot_ms = -(-law.limit_ms // SLOT_MS) * SLOT_MS
        for slot in range(span_ms[0] // slot_ms, span_ms[1] // slot_ms + 1):
            rng = np.random.default_rng([SEED, slot, *fault.encode()])
            event = draw(fault, slot * slot_ms, slot_ms - law.limit_ms, rng)
            inside = span_ms[0] <= event.start_ms and event.deadline_ms <= span_ms[1]
            if inside and not any(
                a < event.deadline_ms and event.start_ms < b for a, b in left_out_ms
            ):
                found.append(event)
    return found


def examples(
    minutes: Minutes, events: Collection[Event], states: Mapping[int, bytes], slope: float
) -> list[Example]:
    """Put each fault in by itself; `states` are of the clean series before `begins`.

    Those are left out of whose time less than half has data, and those that need what is unknown.
    """
    able = {fault for fault in HOME_FAULTS if known(minutes, LAWS[fault].needs)}
    found = []
    for event in events:
        if event.fault not in able:
            continue
        state = states[block_of(event.start_ms)]
        _, starts, values = faulty_features(minutes, event, state, slope)
        if len(starts) * STEP_MS >= LEAST_PART * (event.deadline_ms - event.start_ms):
            found.append(Example(event.fault, starts, values))
    return found


def faulty_features(
    minutes: Minutes, event: Event, state: bytes, slope: float
) -> tuple[Minutes, Times, Floats]:
    """Return the minutes around an event with it in them, and their features from its first block.

    `state` is of the clean series before that block (tinymodels.detect.signals).
    """
    faulty = inject(around(minutes, event), event, slope)
    found = block_table(faulty, int(np.searchsorted(faulty.start_ms, block_of(event.start_ms))))
    signals = msgspec.msgpack.decode(state, type=Signals)
    return faulty, found[:, 0].astype(np.int64), sweep(signals, found)


def around(minutes: Minutes, event: Event) -> Minutes:
    """Return the minutes from a little before an event to its deadline."""
    return minutes.between(block_of(event.start_ms) - BEFORE_MS, event.deadline_ms + 2 * STEP_MS)


def known(minutes: Minutes, needs: Sequence[str]) -> bool:
    """Return whether these columns are known for at least half of the minutes."""
    return all(np.isfinite(minutes[name]).sum() > LEAST_PART * len(minutes) for name in needs)
