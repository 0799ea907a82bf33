"""From scores to events: what an alarm makes of a series, and how events are counted."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from tinymodels.detect.contract import Model, Sources, sources_of
from tinymodels.detect.minutes import Floats, Times

CLEAR_MS = 3_600_000  # below the clear limit for so long, and an event is over
MERGE_MS = 6 * CLEAR_MS  # for counting: events closer than this are one


# An alarm that is on hides what comes beside it, unless that is told apart: a score of so many
# times what was reached some hours before is something new, and raised as such (chosen of 1.25,
# 1.5 and 2 on a month before those of the judgement). So is a family's that was usual until now.
# Within MERGE_MS of the last raise both are taken for effects of one cause: with two hours or none
# heaters in months before those of the judgement had a third more alerts, and no more were found.
AGAIN: Final = 1.5
BEFORE_MS: Final = (6 * CLEAR_MS, 2 * CLEAR_MS)  # from when to when it was reached
FINE_MS: Final = CLEAR_MS  # of steps as long as this or longer none is told apart
OFF: Final = -1  # instead of how long it has been quiet


class Event(NamedTuple):
    """A span in which a score was beyond its limit; `to_ms` is when it was told to be over.

    `anew`: it takes the place of one that was still on.
    """

    from_ms: int
    to_ms: int
    peak: float
    anew: bool = False


def before(step_ms: int) -> tuple[int, int]:
    """Return from and to how many steps ago a score is looked for, (0, 0): it is not."""
    if step_ms >= FINE_MS:
        return 0, 0
    return BEFORE_MS[0] // step_ms, BEFORE_MS[1] // step_ms


def grouped(sources: Sources, rows: Floats) -> Floats:
    """Return the loudest of each family, (step, source) -> (step, family).

    Rows of another width are by family already.
    """
    if rows.shape[1] != len(sources.names):
        return rows
    families = np.array(sources.families)
    parts = [rows[:, families == one].max(axis=1) for one in range(families.max() + 1)]
    return np.stack(parts, axis=1)


def reached_before(scores: Floats, step_ms: int) -> Floats:
    """Return of each step what `Alarm` knows of the hours before it: for `events`.

    In the shape of the scores: (step,) or (step, family).
    """
    first, last = before(step_ms)
    if not first or len(scores) <= last:
        return np.full(scores.shape, math.inf)
    unknown = np.full((first, *scores.shape[1:]), -math.inf)
    most = np.concatenate((unknown, scores[: len(scores) - last]))
    width, wanted = 1, first - last + 1
    while width < wanted:  # the greatest of so many, of twice as many, …
        more = min(width, wanted - width)
        most = np.maximum(most[more:], most[:-more])
        width += more
    return np.where(np.isneginf(most), math.inf, most)


def events(
    model: Model, start_ms: Times, scores: Floats, reached: Floats | None = None
) -> list[Event]:
    """Return the events of a series of scores, as an alarm raises and clears them whose pace stays.

    Scores are (step,) or (step, family), or (step, source) as `scored` gives them. An event begins
    at the END of the step that was above: that is when anybody can know. `reached` is
    `reached_before` of these scores by family, for who has it already. It gives what
    `tinymodels.detect.alarm.followed` gives at such a pace, in a sixth of the time: the search for
    a limit tries it some hundred times.
    """
    found: list[Event] = []
    if not len(scores):
        return found
    rows = grouped(sources_of(model), scores.reshape(len(scores), -1))
    most = rows.max(axis=1)
    above = np.flatnonzero(most > model.limit).tolist()
    if not above:
        return found
    known = reached_before(rows, model.step_ms) if reached is None else reached
    pair = (rows, known.reshape(rows.shape))
    end = 0
    for begin in above:
        if begin < end:
            continue
        begins, end = _spell(model, pair, begin)
        last = min(end, len(rows) - 1)  # still on at the end of the series: told of until there
        edges = [*begins, last]
        for first, until in pairwise(edges):
            from_ms, to_ms = (int(start_ms[at]) + model.step_ms for at in (first, until))
            peak = float(most[first : until + 1].max())
            found.append(Event(from_ms, to_ms, peak, anew=first != begin))
        end += 1
    return found


def _spell(model: Model, pair: tuple[Floats, Floats], begin: int) -> tuple[list[int], int]:
    """Return the steps at which an alarm is raised, once and anew, and the one at which it ends.

    `pair`: the scores, and what was reached before them.
    """
    begins, (rows, reached) = [begin], pair
    limit, clear, step_ms = model.limit, model.clear_limit, model.step_ms
    quiet = [0 if score > limit else OFF for score in rows[begin].tolist()]
    for number in range(begin + 1, len(rows)):
        aged, raised = (number - begins[-1]) * step_ms >= MERGE_MS, False
        for at, score in enumerate(rows[number].tolist()):
            if score > limit:
                new = aged and (quiet[at] == OFF or score > AGAIN * float(reached[number, at]))
                raised = raised or new
                quiet[at] = 0
            elif quiet[at] != OFF:
                quiet_ms = quiet[at] + step_ms if score < clear else 0
                quiet[at] = quiet_ms if quiet_ms < CLEAR_MS else OFF
        if raised:
            begins.append(number)
        elif max(quiet) == OFF:
            return begins, number
    return begins, len(rows)


def merged(found: Sequence[Event], within_ms: int = MERGE_MS) -> list[Event]:
    """Return events with those closer than `within_ms` made one: what a budget counts.

    One that took another's place counts by itself when it began so long after that one.
    """
    out: list[Event] = []
    begun_ms = 0
    for event in found:
        since_ms = begun_ms if event.anew else (out[-1].to_ms if out else 0)
        begun_ms = event.from_ms
        if out and event.from_ms - since_ms < within_ms:
            last = out.pop()
            peak = max(last.peak, event.peak)
            out.append(Event(last.from_ms, event.to_ms, peak, last.anew))
        else:
            out.append(event)
    return out
