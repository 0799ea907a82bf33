"""What is known of a clamp: plain values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.domain.meters import Role


@dataclass(frozen=True, slots=True)
class Quarter:
    """Means of a quarter-hour: W, var (None: not measured), V, A; `hour` is the local one."""

    start_ms: int
    hour: int
    p_w: float
    q_var: float | None
    v: float
    i_a: float

    @property
    def s_va(self) -> float:
        """Apparent power."""
        return self.v * self.i_a

    @property
    def angle_deg(self) -> float | None:
        """The angle from voltage to current, -180 to 180; None without reactive power."""
        return None if self.q_var is None else math.degrees(math.atan2(self.q_var, self.p_w))


@dataclass(frozen=True, slots=True)
class ClampFacts:
    """One channel's newest quarter-hours."""

    name: str
    role: Role
    quarters: Sequence[Quarter] = ()
