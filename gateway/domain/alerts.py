"""Alerts: what is wrong, how bad, since when, and what people did about it."""

from dataclasses import dataclass, field
from enum import StrEnum

Evidence = dict[str, float | int | str | None]


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class AlertKind(StrEnum):
    """Every kind of alert the wire contract names (section 5)."""

    OVER_VOLTAGE = "over_voltage"
    UNDER_VOLTAGE = "under_voltage"
    OUTAGE = "outage"
    OVER_CURRENT = "over_current"
    FREQUENCY = "frequency"
    LOW_POWER_FACTOR = "low_power_factor"
    OVER_CONSUMPTION = "over_consumption"
    ANOMALY = "anomaly"
    DEVICE_ANOMALY = "device_anomaly"
    REVERSE_CT = "reverse_ct"
    SENSOR_FAULT = "sensor_fault"
    METER_SILENT = "meter_silent"
    PV_UNDERPERFORMANCE = "pv_underperformance"
    MODEL_REJECTED = "model_rejected"
    DETECTOR_FAILED = "detector_failed"
    STORAGE = "storage"
    CLOCK = "clock"
    SECURITY = "security"


AlertKey = tuple[str, str, AlertKind]  # meter ("" = the gateway), channel ("" = whole), kind


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector says has changed, at the data's own time.

    `active` True: the condition holds (raise, or update what is open); False: it has cleared.
    `title` is a few words, `detail` one plain sentence with the numbers. `fresh`: the condition
    has just begun, so an alert opens even where one was resolved by hand within the hour.
    """

    key: AlertKey
    active: bool
    at_ms: int
    severity: Severity = Severity.WARNING
    title: str = ""
    detail: str = ""
    evidence: Evidence = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Who did what to an alert, and when."""

    at_ms: int
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert from open to resolved; `count` is how often its condition was reported."""

    id: str
    key: AlertKey
    severity: Severity
    state: AlertState
    opened_ms: int
    updated_ms: int
    resolved_ms: int | None
    count: int
    title: str
    detail: str
    evidence: Evidence
    snoozed_until_ms: int | None = None
    historic: bool = False  # judged from data that was already old: never news for a phone
    muted: bool = False  # somebody wants to hear nothing of this kind: never pushed

    @property
    def meter(self) -> str:
        """Return the meter's id, or "" for the gateway itself."""
        return self.key[0]
