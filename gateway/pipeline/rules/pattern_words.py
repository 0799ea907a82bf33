"""What a person is told of an unusual pattern: what moved, from what to what, since when."""

from typing import Final

from msgspec import Struct

from gateway.domain.alerts import Evidence
from gateway.pipeline.rules.condition import Words, lasting
from tinymodels.detect.contract import Explanation

PLAIN: Final = {
    "power": "Power",
    "base": "The base load (least power in 2 hours)",
    "floor": "The least power of the last day",
    "day": "The day's average power",
    "voltage": "Voltage",
    "voltage_max": "The highest voltage in 15 minutes",
    "voltage_given_power": "Voltage, for the power drawn,",
    "jump": "A sudden change of voltage",
    "reactive": "Reactive power",
    "reactive_given_power": "Reactive power, for the power drawn,",
    "reactive_base": "The least reactive power in 2 hours",
    "steps": "How much power changes from minute to minute",
    "cycling": "How often something switches on or off",
    "export": "Power that flows back",
    "power_factor": "Power factor",
    "slope_2h": "How far voltage falls under load (2 hours)",
    "slope_day": "How far voltage falls under load (a day)",
    "slope_week": "How far voltage falls under load (4 days)",
    "long_base": "The least power in 4 hours",
    "law": "How far voltage falls under load (as a bypass or a wrong clamp makes it)",
    "over_voltage": "Voltage",
}
LIKE: Final = {
    "stuck_heater": "a large load that does not switch off",
    "phantom_load": "a load of a hundred watts or two that stays on",
    "fridge": "a fridge that never stops",
    "swell": "a supply that rises, as after a fault of the neutral",
    "sensor_off": "a voltage sensor that reads wrong",
    "poor_pf": "a load with a poor power factor",
    "bypass": "power that goes past the clamp",
    "drift": "a clamp that reads less and less",
    "reversed": "a clamp that sits the wrong way round",
}
KEYS: Final = {
    "W": "power_w",
    "V": "voltage_v",
    "var": "reactive_var",
    "V/kW": "volts_per_kw",
    "W/min": "watts_per_min",
    "/h": "per_hour",
    "": "power_factor",
}
DIGITS: Final = {"V/kW": 2, "": 2}


class Why(Struct, array_like=True):
    """What a model said of its last score above the limit, and by how much."""

    feature: str = "power"
    value: float = 0.0
    expected: float = 0.0
    unit: str = "W"
    since_ms: int = 0
    sigmas: float = 0.0
    score: float = 0.0
    like: str = ""

    @classmethod
    def of(cls, told: Explanation, score: float) -> "Why":
        """Return it for the state."""
        feature, value, expected, unit, since_ms, sigmas, like = told
        return cls(feature, value, expected, unit, since_ms, sigmas, score, like)

    def evidence(self, limit: float | None) -> Evidence:
        """Return the numbers."""
        digits = DIGITS.get(self.unit, 1)
        key = KEYS.get(self.unit, "value")
        like: Evidence = {"like": self.like} if self.like else {}
        return {
            "feature": self.feature,
            key: round(self.value, digits),
            f"expected_{key}": round(self.expected, digits),
            "sigmas": round(self.sigmas, 1),
            "score": round(self.score, 2),
            "limit": None if limit is None else round(limit, 2),
            **like,
        }

    def replaced(self, limit: float | None) -> Words:
        """Return what to say where something else has come beside it."""
        text = "Something else has come beside it: a new alert tells of it."
        return Words("Something else has come", text, self.evidence(limit))

    def words(self, spot: str, lasted_ms: int, limit: float | None, *, over: bool) -> Words:
        """Return what to say while it lasts, or once it is `over`."""
        long = lasting(lasted_ms)
        if over:
            text = f"Consumption at {spot} is usual again after {long}."
            return Words("Usual again", text, self.evidence(limit))
        digits = DIGITS.get(self.unit, 1)
        now = f"{self.value:.{digits}f} {self.unit}".rstrip()
        usual = f"{self.expected:.{digits}f} {self.unit}".rstrip()
        text = (
            f"{PLAIN.get(self.feature, self.feature)} at {spot} has been unusual for {long}: {now},"
            f" where {usual} is usual at this time of day."
        )
        if self.like in LIKE:
            text += f" It looks most like {LIKE[self.like]}."
        return Words("Unusual consumption", text, self.evidence(limit))
