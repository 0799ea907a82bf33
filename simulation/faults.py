"""Faults that can be injected and that announce themselves in one sentence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class FaultKind(StrEnum):
    """What can go wrong in a simulated home."""

    VOLTAGE_SWELL = "voltage_swell"
    UNDER_VOLTAGE = "under_voltage"
    VOLTAGE_SENSOR_OFF = "voltage_sensor_off"
    OUTAGE = "outage"
    FREQUENCY_SHIFT = "frequency_shift"
    STUCK_HEATER = "stuck_heater"
    PHANTOM_LOAD = "phantom_load"
    POOR_POWER_FACTOR = "poor_power_factor"
    FRIDGE_RUNNING = "fridge_running"
    PV_STRING_LOST = "pv_string_lost"
    REVERSED_CLAMP = "reversed_clamp"
    CLAMP_DRIFT = "clamp_drift"
    CLIPPED_SENSOR = "clipped_sensor"
    BYPASS = "bypass"
    METER_SILENT = "meter_silent"


class _Law(NamedTuple):
    """Default and range of a magnitude, and how it is said."""

    default: float
    least: float
    most: float
    sentence: str


# Ranges hold those that DETECTION.md names for realistic faults.
_LAWS = {
    FaultKind.VOLTAGE_SWELL: _Law(
        1.2, 1.0, 1.6, "the mains voltage rises to {m:.2f} times nominal"
    ),
    FaultKind.UNDER_VOLTAGE: _Law(
        0.85, 0.0, 1.0, "the mains voltage falls to {m:.2f} times nominal"
    ),
    FaultKind.VOLTAGE_SENSOR_OFF: _Law(
        1.03, 0.5, 1.5, "the voltage sensor reads {m:.3f} times the truth"
    ),
    FaultKind.OUTAGE: _Law(1.0, 1.0, 1.0, "the mains fail"),
    FaultKind.FREQUENCY_SHIFT: _Law(-1.5, -5.0, 5.0, "the mains frequency moves by {m:+.2f} Hz"),
    FaultKind.STUCK_HEATER: _Law(1500.0, 0.0, 50_000.0, "a heater of {m:.0f} W sticks on"),
    FaultKind.PHANTOM_LOAD: _Law(
        140.0, 0.0, 5000.0, "an unknown load of {m:.0f} W draws day and night"
    ),
    FaultKind.POOR_POWER_FACTOR: _Law(300.0, 0.0, 50_000.0, "{m:.0f} var of reactive power appear"),
    FaultKind.FRIDGE_RUNNING: _Law(1.0, 1.0, 1.0, "the fridge stops switching off"),
    FaultKind.PV_STRING_LOST: _Law(0.4, 0.0, 1.0, "{p:.0f} % of the solar generation is lost"),
    FaultKind.REVERSED_CLAMP: _Law(
        1.0, 1.0, 1.0, "the clamp of '{c}' is put on the wrong way round"
    ),
    FaultKind.CLAMP_DRIFT: _Law(-0.2, -0.9, 1.0, "the clamp of '{c}' drifts by {p:+.0f} %"),
    FaultKind.CLIPPED_SENSOR: _Law(
        10.0, 0.01, 1000.0, "the sensor of '{c}' clips at a peak of {m:.1f} A"
    ),
    FaultKind.BYPASS: _Law(
        0.5, 0.0, 1.0, "the clamp of '{c}' sees only {m:.2f} of the current: a bypass"
    ),
    FaultKind.METER_SILENT: _Law(1.0, 1.0, 1.0, "the meter falls silent"),
}

# Those that act on one clamp; the others act on the whole home.
CLAMP_KINDS = frozenset(
    {
        FaultKind.REVERSED_CLAMP,
        FaultKind.CLAMP_DRIFT,
        FaultKind.CLIPPED_SENSOR,
        FaultKind.BYPASS,
    }
)
# Those that add a load of their own, and whether the magnitude is in var.
LOAD_KINDS = frozenset(
    {FaultKind.STUCK_HEATER, FaultKind.PHANTOM_LOAD, FaultKind.POOR_POWER_FACTOR}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in all windows that start in `[start_ms, start_ms + duration_ms)`.

    `magnitude` is what the kind's sentence says (times nominal, W, var, A, Hz or a
    share); None takes the kind's default. ValueError for one out of range.
    """

    kind: FaultKind
    start_ms: int
    duration_ms: int
    magnitude: float | None = None
    channel: str = "grid"

    def __post_init__(self) -> None:
        law = _LAWS[self.kind]
        if not law.least <= self.size <= law.most:
            msg = f"{self.kind}: magnitude {self.size} is not in {law.least} to {law.most}"
            raise ValueError(msg)
        if self.duration_ms <= 0 or self.start_ms < 0:
            msg = f"{self.kind}: a fault needs start_ms >= 0 and duration_ms > 0"
            raise ValueError(msg)

    @property
    def size(self) -> float:
        """Return the magnitude, or the kind's default."""
        return _LAWS[self.kind].default if self.magnitude is None else self.magnitude

    @property
    def end_ms(self) -> int:
        """Return the instant it is over."""
        return self.start_ms + self.duration_ms

    def sentence(self) -> str:
        """Return what happens and for how long, for people to read."""
        what = _LAWS[self.kind].sentence.format(m=self.size, p=self.size * 100, c=self.channel)
        return f"{what} for {_span(self.duration_ms)}"


def _span(duration_ms: int) -> str:
    """Return a duration in its largest fitting unit."""
    for unit, length in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if duration_ms >= 2 * length:
            return f"{duration_ms / length:.3g} {unit}"
    return f"{duration_ms / 1000:.3g} seconds"
