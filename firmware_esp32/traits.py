"""Features of one channel that the self-check judges: exponential averages, nothing kept."""

from array import array
from math import asinh, exp, isnan, sinh

from micropython import const

NAMES = ("voltage", "frequency", "power", "reactive", "power_factor", "base", "step")
UNITS = {"voltage": "V", "frequency": "Hz", "power": "W", "reactive": "var", "base": "W"}
COUNT = const(7)

# Powers are compressed as in the gateway's models: linear below, logarithmic above.
POWER_SCALE_W = 50.0
REACTIVE_SCALE_VAR = 100.0
LEAST_VA = 20.0  # below this a power factor is mostly noise

# One kettle does not make an anomaly, half an hour's habit changes slowly, and a base load is
# what is still there hours later.
FAST_MS = const(120_000)
SLOW_MS = const(1_800_000)
RISE_MS = const(14_400_000)
# A feature is unknown until its average has seen this much.
SLOW_ENOUGH_MS = const(1_800_000)
BASE_ENOUGH_MS = const(7_200_000)
LONGEST_MS = const(60_000)  # of one row; longer ones count as this
DARK_V = 50.0  # below: an outage, of which the reading itself tells (nominal is 100 V at least)
MOST = 1e6  # W, var, VA: beyond is no measurement

FARTHEST = 12.0  # on the compressed scale: 4 MW; a limit further out means none

UNKNOWN = float("nan")


class Track:
    """Averages of one channel; `x` holds the features in the order of NAMES, NaN = unknown."""

    def __init__(self) -> None:
        self.x = array("f", [UNKNOWN] * COUNT)
        self.age_ms = 0
        self.power_w = 0.0
        self._slow_w = 0.0
        self._base_w = 0.0
        self._q_var = 0.0
        self._va = 0.0
        self._v = 0.0
        self._hz = 0.0

    def add(
        self,
        dt_ms: int,
        v: "float | None",
        hz: "float | None",
        load: "tuple[float, float, float]",
    ) -> bool:
        """Take one window: V and Hz (None = not measured), A, W and var; False if it is dark.

        Nothing is learnt of an outage, nor of values that no meter can measure.
        """
        i_a, p_w, q_var = load
        apparent_va = 0.0 if v is None else v * i_a
        if dt_ms <= 0 or (v is not None and not v >= DARK_V):
            return False
        if not (abs(p_w) < MOST and abs(q_var) < MOST and abs(apparent_va) < MOST):
            return False
        dt_ms = min(dt_ms, LONGEST_MS)
        self.age_ms += dt_ms
        # A plain mean until the average is as old as its time constant.
        fresh = dt_ms / self.age_ms
        fast = max(1.0 - exp(-dt_ms / FAST_MS), fresh)
        slow = max(1.0 - exp(-dt_ms / SLOW_MS), fresh)
        self.power_w += fast * (p_w - self.power_w)
        self._slow_w += slow * (p_w - self._slow_w)
        self._q_var += fast * (q_var - self._q_var)
        self._va += fast * (apparent_va - self._va)
        self._rise(1.0 - exp(-dt_ms / RISE_MS), fresh)
        x = self.x
        x[0] = x[1] = UNKNOWN
        if v is not None:
            self._v = x[0] = _mean(self._v, v, fast)
        if hz is not None and hz > 0.0:
            self._hz = x[1] = _mean(self._hz, hz, fast)
        self._tell(v is not None)
        return True

    def _rise(self, share: float, fresh: float) -> None:
        """Let the base load fall with the power at once and rise slowly."""
        if self.power_w < self._base_w or fresh >= 1.0:
            self._base_w = self.power_w
        else:
            self._base_w += share * (self.power_w - self._base_w)

    def _tell(self, has_v: bool) -> None:
        x = self.x
        x[2] = power = compress(self.power_w)
        x[3] = asinh(self._q_var / REACTIVE_SCALE_VAR)
        known = has_v and self._va >= LEAST_VA
        x[4] = min(abs(self.power_w) / self._va, 1.0) if known else UNKNOWN
        x[5] = compress(self._base_w) if self.age_ms >= BASE_ENOUGH_MS else UNKNOWN
        x[6] = power - compress(self._slow_w) if self.age_ms >= SLOW_ENOUGH_MS else UNKNOWN


def _mean(old: float, value: float, share: float) -> float:
    """Return the average moved towards a value; 0 = there is none yet."""
    return old + share * (value - old) if old else value


def compress(power_w: float) -> float:
    """Return a power in W on the models' compressed scale."""
    return asinh(power_w / POWER_SCALE_W)


def natural(name: str, value: float) -> float:
    """Return a feature in its natural unit (UNITS); a step and a power factor have none."""
    if isnan(value):
        return 0.0
    if name in ("power", "base", "reactive"):
        part = sinh(min(max(value, -FARTHEST), FARTHEST))
        return part * (REACTIVE_SCALE_VAR if name == "reactive" else POWER_SCALE_W)
    return value
