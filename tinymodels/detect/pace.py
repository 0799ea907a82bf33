"""How loud each source of scores must be by now: who raised an alarm must be louder for the next.

A limit that a history asks for is not what the months after it ask for. So what was raised is fed
back, as in adaptive conformal inference (Gibbs and Candès, NeurIPS 2021): after each alarm more is
asked, of its source above all, and while none comes a little less from step to step, so that in
the long run about as many come as are allowed, as far as LEAST and MOST let them.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from tinymodels.detect.contract import Sources
from tinymodels.detect.limits import DAYS_PER_MONTH
from tinymodels.detect.minutes import DAY_MS, Floats

# All of it was chosen on months before those of the judgement (docs/detection.md), on which steps
# of 1.15 to 1.3 and shares of 0 to 0.7 differ little; a small one is better where a home changes.
LOUDER: Final = math.log(1.2)  # after an alarm, its source must be so much louder for the next
SHARE: Final = 0.3  # of that for the others, which share one budget with it
SPEND: Final = 0.9  # of the alarms that are allowed
# A home where nothing happens is not to be asked about less and less, nor a wild one left alone.
LEAST, MOST = math.log(0.5), math.log(4.0)
MONTH_MS: Final = DAYS_PER_MONTH * DAY_MS


class Pace(Struct, frozen=True, array_like=True):
    """Of each source by name how much louder it must be, as a logarithm, and what fell since."""

    louder: dict[str, float] = {}
    fallen: float = 0.0

    def of(self, sources: Sources) -> "Pace":
        """Return the pace for these sources, of which those that are new begin at their first."""
        if not sources.alarms_per_month or self.louder.keys() == set(sources.names):
            return self
        return Pace(
            {
                name: self._now(name) if name in self.louder else sources.first.get(name, 0.0)
                for name in sources.names
            }
        )

    def aged(self, sources: Sources, span_ms: int) -> "Pace":
        """Return the pace after a time without an alarm."""
        if not sources.alarms_per_month:
            return self
        return Pace(self.louder, self.fallen + _fall(sources) * span_ms)

    def raised(self, sources: Sources, source: str) -> "Pace":
        """Return the pace after an alarm; rules neither are louder after it nor make others so."""
        return self._moved(sources, source, LOUDER)

    def forgiven(self, sources: Sources, source: str) -> "Pace":
        """Return the pace as if an alarm had not been counted: it was right."""
        return self._moved(sources, source, -LOUDER)

    def _moved(self, sources: Sources, source: str, by: float) -> "Pace":
        """Return the pace after a step of a source, of which the others take their share."""
        pace = self.of(sources)
        if not sources.alarms_per_month or source in sources.fixed:
            return pace
        steps = {name: by * (1.0 if name == source else SHARE) for name in sources.names}
        return Pace(
            {
                name: min(max(pace._now(name) + step, LEAST), MOST)  # noqa: SLF001 - its own
                for name, step in steps.items()
            }
        )

    def heard(self, sources: Sources, scores: Sequence[float]) -> list[float]:
        """Return one step's scores by source as they count now."""
        if not sources.alarms_per_month:
            return list(scores)
        return [
            score if name in sources.fixed else score * math.exp(-self._now(name))
            for name, score in zip(sources.names, scores, strict=True)
        ]

    def heard_ahead(self, sources: Sources, scores: Floats, step_ms: int) -> Floats:
        """Return the scores (step, source) of steps to come, if no alarm is raised in them."""
        if not sources.alarms_per_month:
            return scores
        louder = np.array([self.louder.get(name, 0.0) for name in sources.names])
        fallen = self.fallen + _fall(sources) * step_ms * np.arange(len(scores))
        now = np.maximum(louder - fallen[:, None], LEAST)
        now[:, [name in sources.fixed for name in sources.names]] = 0.0
        found: Floats = scores * np.exp(-now)
        return found

    def _now(self, name: str) -> float:
        return max(self.louder[name] - self.fallen, LEAST) if name in self.louder else 0.0


def _fall(sources: Sources) -> float:
    """Return how much less is asked a millisecond: what the alarms allowed bring up on average."""
    count = len(sources.names) - len(sources.fixed)
    of_one = LOUDER * (1 + SHARE * (count - 1)) / count
    return SPEND * sources.alarms_per_month / MONTH_MS * of_one
